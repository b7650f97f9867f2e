//! Whether everything is in place, asked in a real Debian: of the real apt-config, dpkg's own configuration, and systemd.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use crate::support::check::Check;
use crate::support::debian::Debian;
use crate::support::sandbox::Access::{ReadOnly, Writable};

impl Debian {
    /// What `rokeep check --json` says, in the documented form, and whether its exit code is what it says.
    fn check_up(&self) -> Result<Check> {
        let run = self.run("rokeep", &["check", "--json"])?;
        let check = Check::read(&run.stdout).map_err(|error| anyhow!("not what check promises: {error}: {run:?}"))?;
        ensure!(run.code == i32::from(check.verdict != "in-place"), "{run:?}");
        Ok(check)
    }

    #[track_caller]
    fn assert_in_place(&self) -> Result<()> {
        let check = self.check_up()?;
        assert_eq!(check.wrong(), [""; 0]);
        assert_eq!(check.verdict, "in-place");
        Ok(())
    }
}

/// As somebody has it right after the install.
fn installed() -> Result<Debian> {
    let debian = Debian::bookworm()?.with_rokeep_as_it_is()?.read_only()?;
    debian.assert_in_place()?;
    Ok(debian)
}

#[test]
fn without_systemd_and_cron_nobody_tries_again() -> Result<()> {
    let debian = installed()?;
    debian.must("rm", &["/etc/cron.d/rokeep"])?;
    debian.check_up()?.assert_only("units", "attention", &["there is no systemd here", "/etc/cron.d/rokeep"]);
    let command = debian.check_up()?.only_command().to_owned();
    debian.must("sh", &["-c", &command])?;
    debian.assert_in_place()
}

#[test]
fn right_after_the_install_everything_is_in_place() -> Result<()> {
    let debian = installed()?;
    let text = debian.must("rokeep", &["check"])?;
    assert!(text.ends_with("\n\neverything is in place\n"), "{text}");
    let times = [(); 5].map(|()| debian.run("rokeep", &["check"]).map(|run| run.took));
    // Other tests may have the processors meanwhile.
    let is_quick = |took: &Result<Duration>| took.as_ref().is_ok_and(|took| *took < Duration::from_secs(1));
    assert!(times.iter().any(is_quick), "{times:?}");
    for installed in ["PackageKit", "unattended-upgrades"] {
        assert!(text.contains(installed), "{text}");
    }
    Ok(())
}

const PAIR: &str = "DPkg::Pre-Invoke  { \"mount -o remount,rw /usr\"; };\n\
    DPkg::Post-Invoke { \"mount -o remount,ro /usr\"; };\n";

/// What is said of the pair is what happens; and what is advised helps.
#[test]
fn the_pair_is_named_with_what_comes_of_it_and_the_line_to_remove() -> Result<()> {
    let debian = installed()?;
    debian.write("/etc/apt/apt.conf.d/00remount", PAIR)?;
    let check = debian.check_up()?;
    for (line, says) in [("line 1", "DPkg::Pre-Invoke"), ("line 2", "DPkg::Post-Invoke")] {
        let place = format!("in {line} of /etc/apt/apt.conf.d/00remount");
        check.assert_finds("apt", "broken", &[&place, says, &format!("remove the hook {place}")]);
    }
    assert_eq!(check.wrong().len(), 2, "{check:#?}");
    let [first, second] = tools(&debian)?;
    debian.must("dpkg", &["--install", &first])?;
    debian.spawn("/usr/bin/tool", &["infinity"])?;
    assert_eq!(debian.apt(&["-y", "install", &second])?.code, 100, "as it says");
    assert_eq!(debian.usr()?, Writable, "as it says");

    debian.must("pkill", &["tool"])?;
    debian.must("rm", &["/etc/apt/apt.conf.d/00remount"])?;
    debian.must("mount", &["-o", "remount,ro", "/usr"])?;
    debian.assert_in_place()?;
    debian.spawn("/usr/bin/tool", &["infinity"])?;
    assert_eq!(debian.apt(&["-y", "install", "--reinstall", &second])?.code, 0);
    assert_eq!(debian.usr()?, ReadOnly);
    Ok(())
}

fn tools(debian: &Debian) -> Result<[String; 2]> {
    let version = |version| debian.package("tool", version)?.program("/usr/bin/tool")?.build();
    Ok([version("1")?, version("2")?])
}

/// Each of them in apt's own spelling, and put right by the command that is given.
#[test]
fn what_comes_after_our_hooks_is_moved_before_them() -> Result<()> {
    let debian = installed()?;
    for (name, hook, state) in [
        (
            "zzz-localepurge",
            "DPkg::Post-Invoke { \"if [ -x /usr/sbin/localepurge ]; then /usr/sbin/localepurge; fi\"; };",
            "broken",
        ),
        ("zzz-local", "DPkg { Post-Invoke { \"echo \\\"done\\\" >&2\"; }; };", "attention"),
        ("zzz-ask", "DPkg::Pre-Install-Pkgs:: \"/bin/true\";", "attention"),
    ] {
        debian.write(&format!("/etc/apt/apt.conf.d/{name}"), &format!("{hook}\n"))?;
        let check = debian.check_up()?;
        check.assert_only("apt", state, &["comes after rokeep's", &format!("mv -n /etc/apt/apt.conf.d/{name} ")]);
        debian.must("sh", &["-c", check.only_command()])?;
        debian.assert_in_place()?;
    }
    Ok(())
}

#[test]
fn what_apt_cannot_read_or_was_told_to_leave_out_is_found() -> Result<()> {
    let debian = installed()?;
    let file = "/etc/apt/apt.conf.d/zzz-local";
    for (text, state, says) in [
        ("DPkg::Pre-Invoke::rokeep \"\";\n", "broken", "switched DPkg::Pre-Invoke::rokeep off"),
        ("#clear DPkg::Post-Invoke;\n", "broken", "a setting has removed it"),
        ("DPkg::Post-Invoke:: \"/etc/rokeep/hooks/post-invoke\";\n", "attention", "2 times"),
        ("Debug::pkgDPkgPM \"1\";\n", "attention", "apt only prints"),
        (
            "DPkg::Tools::Options::hook=/etc/rokeep/hooks/pre-install-pkgs::Version \"2\";\n",
            "broken",
            "version 2, not 3",
        ),
        ("DPkg::Pre-Invoke \"x\n", "broken", "apt cannot read its own configuration"),
    ] {
        debian.write(file, text)?;
        debian.check_up()?.assert_only("apt", state, &[says]);
    }
    debian.must("rm", &[file])?;
    debian.assert_in_place()
}

/// The command that is given is typed as it is: apt brings back what was deleted.
#[test]
fn a_conffile_that_was_deleted_comes_back_by_what_is_advised() -> Result<()> {
    let debian = installed()?;
    for (file, topic) in [
        ("/etc/rokeep/hooks/pre-install-pkgs", "hooks"),
        ("/etc/apt/apt.conf.d/zz-rokeep", "apt"),
        ("/etc/dpkg/dpkg.cfg.d/rokeep", "dpkg"),
    ] {
        debian.must("rm", &[file])?;
        let check = debian.check_up()?;
        check.assert_only(topic, "broken", &[file]);
        let advice = check.only_advice();
        let command =
            advice.split('"').nth(1).expect("a command").replace("./rokeep_VERSION_ARCH.deb", "/var/tmp/rokeep.deb");
        debian.must("mount", &["-o", "remount,rw", "/usr"])?;
        debian.must("sh", &["-c", &format!("{command} -y")])?;
        debian.must("mount", &["-o", "remount,ro", "/usr"])?;
        debian.assert_in_place()?;
    }
    Ok(())
}

/// The same with systemd, whose units the package enables.
#[test]
fn units_that_are_off_or_confined_are_found() -> Result<()> {
    let debian = Debian::bookworm_with_systemd()?.with_rokeep_as_it_is()?.read_only()?;
    // No service is started in this world by its package.
    debian.check_up()?.assert_only("units", "broken", &["rokeep-cleanup.timer does not run"]);
    debian.must("sh", &["-c", debian.check_up()?.only_command()])?;
    debian.assert_in_place()?;

    debian.must("systemctl", &["disable", "rokeep-boot.service"])?;
    let check = debian.check_up()?;
    check.assert_only("units", "broken", &["rokeep-boot.service is not enabled"]);
    debian.must("sh", &["-c", check.only_command()])?;
    debian.assert_in_place()?;

    for (unit, setting, state, says) in [
        (
            "rokeep-watch@.service",
            "PrivateTmp=yes",
            "broken",
            "rokeep-watch@.service has mounts of its own (PrivateTmp=)",
        ),
        ("rokeep-cleanup.service", "ProtectSystem=full", "broken", "ProtectSystem="),
        ("rokeep-boot.service", "ReadOnlyPaths=/usr", "broken", "ReadOnlyPaths="),
        ("apt-daily-upgrade.service", "CapabilityBoundingSet=~CAP_SYS_ADMIN", "broken", "without CAP_SYS_ADMIN"),
        ("apt-daily-upgrade.service", "ProtectSystem=full", "attention", "ProtectSystem=full"),
        ("apt-daily-upgrade.service", "ExecStartPre=/bin/mount -o remount,rw /", "broken", "ReadonlyRoot"),
    ] {
        let file = format!("/etc/systemd/system/{unit}.d/local.conf");
        debian.write(&file, &format!("[Service]\n{setting}\n"))?;
        debian.must("systemctl", &["daemon-reload"])?;
        debian.check_up()?.assert_only("units", state, &[says, &file, "systemctl daemon-reload"]);
        debian.must("rm", &[&file])?;
    }
    debian.must("systemctl", &["daemon-reload"])?;
    debian.must("systemctl", &["mask", "rokeep-watch@.service"])?;
    let check = debian.check_up()?;
    check.assert_only("units", "broken", &["rokeep-watch@.service is masked"]);
    debian.must("sh", &["-c", check.only_command()])?;
    debian.assert_in_place()
}
