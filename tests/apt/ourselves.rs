//! rokeep's own package: installed, upgraded, removed, purged and installed again, on a read-only /usr. Each of these runs
//! ends as any other does.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use super::mishaps::wait_until;
use crate::support::debian::{Debian, Run};
use crate::support::sandbox::Access::{ReadOnly, Writable};

const TOOL: &str = "/usr/bin/tool";

/// Where [`Debian::with_rokeep_as_it_is`] has it.
const PACKAGE: &str = "/var/tmp/rokeep.deb";

/// The copy that stands in.
const STAND_IN: &str = "/var/lib/rokeep/rokeep";

/// More than whatever is waited for takes on a busy machine.
const A_WHILE: Duration = Duration::from_secs(30);

/// A system as a container has it, with systemd or without an init.
fn each(play: impl Fn(Debian) -> Result<()>) -> Result<()> {
    play(Debian::bookworm()?).context("without systemd")?;
    play(Debian::bookworm_with_systemd()?).context("with systemd")
}

/// rokeep is installed, and a program whose first version runs; /usr is read-only.
struct Ready {
    debian: Debian,
    tool: u32,
    next_tool: String,
}

impl Ready {
    fn on(debian: Debian) -> Result<Ready> {
        let debian = debian.with_rokeep_as_it_is()?;
        let first = debian.package("tool", "1")?.program(TOOL)?.build()?;
        let next_tool = debian.package("tool", "2")?.program(TOOL)?.build()?;
        debian.must("dpkg", &["--install", &first])?;
        let tool = debian.spawn(TOOL, &["infinity"])?;
        Ok(Ready { debian: debian.read_only()?, tool, next_tool })
    }

    /// The tool is upgraded while it runs.
    fn with_something_held(self) -> Result<Ready> {
        well(&self.debian, &["install", &self.next_tool])?;
        assert_eq!(self.debian.settled()?.aliases()?.len(), 1);
        Ok(self)
    }
}

/// A run of apt-get that has to succeed, and leaves /usr read-only, with nobody of ours at work.
fn well(debian: &Debian, arguments: &[&str]) -> Result<Run> {
    let run = debian.apt(&[&["-y"], arguments].concat())?;
    assert_eq!(run.code, 0, "{run:?}");
    is_read_only_soon(debian)?;
    Ok(run)
}

/// Where the package is purged its hooks are gone before apt is, and it is the watcher that puts /usr back.
fn is_read_only_soon(debian: &Debian) -> Result<()> {
    wait_until(A_WHILE, || Ok(debian.usr()? == ReadOnly))?;
    debian.settled_without(&["rokeep"]).map(drop)
}

/// Before it can notice that its dpkg was, and call its last hook.
fn apt_is_killed(debian: &Debian, apt: u32) -> Result<()> {
    debian.must("kill", &["-STOP", &apt.to_string()])?;
    debian.must("pkill", &["-KILL", "-x", "dpkg"])?;
    debian.kill(apt)?;
    debian.must("pkill", &["-KILL", "-x", "sleep"]).map(drop)
}

/// The package in a later version, whose program is another file.
fn next_version(debian: &Debian) -> Result<String> {
    let script = format!(
        "dpkg-deb --raw-extract {PACKAGE} /var/tmp/next
         sed -i 's/^Version: .*/&+next/' /var/tmp/next/DEBIAN/control
         rm /var/tmp/next/DEBIAN/md5sums
         printf next >> /var/tmp/next/usr/sbin/rokeep
         echo '# of the next version' >> /var/tmp/next/etc/rokeep/hooks/pre-invoke
         dpkg-deb --root-owner-group --build /var/tmp/next /var/tmp/next.deb"
    );
    debian.must("sh", &["-euc", &script])?;
    Ok("/var/tmp/next.deb".to_owned())
}

fn installed_by_hand(debian: &Debian, package: &str) -> Result<()> {
    debian.must("mount", &["-o", "remount,rw", "/usr"])?;
    debian.must("dpkg", &["--install", package])?;
    debian.must("mount", &["-o", "remount,ro", "/usr"]).map(drop)
}

/// Files of ours outside of where the test has put its own. What is in /run goes with the machine.
fn left_over(debian: &Debian) -> Vec<String> {
    let root = debian.outside("/");
    let is_ours = |path: &Path| path.to_string_lossy().contains("rokeep");
    let places = ["etc", "usr", "var/lib"].map(|place| root.join(place));
    let entries = places.iter().flat_map(|place| WalkDir::new(place).follow_links(false)).filter_map(Result::ok);
    let names = entries.filter_map(|entry| Some(entry.path().strip_prefix(&root).ok()?.to_owned()));
    names.filter(|name| is_ours(name)).map(|name| name.display().to_string()).collect()
}

// ── installed ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// The lines that the README has for the first time.
#[test]
fn the_first_installation_takes_two_lines_more() -> Result<()> {
    each(|debian| {
        let debian = debian.with_rokeep_as_it_is()?;
        debian.must("dpkg", &["--purge", "rokeep"])?;
        let debian = debian.read_only()?;
        ensure!(debian.apt(&["-y", "install", PACKAGE])?.code != 0, "without those lines it would do");
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))?;
        let [opens, closes] = ["mount -o remount,rw /usr", "rokeep remount ro /usr"];
        assert!(readme.contains(opens) && readme.contains(closes));

        debian.must("sh", &["-c", opens])?;
        debian.must("apt-get", &["-y", "install", PACKAGE])?;
        debian.must("sh", &["-c", closes])?;

        is_read_only_soon(&debian)?;
        let package = debian.package("tool", "1")?.program(TOOL)?.build()?;
        well(&debian, &["install", &package])?;
        debian.must("rokeep", &["status"]).map(drop)
    })
}

/// Its apt, its dpkg and their hooks are later ones; what the package needs is there, which is nothing.
#[test]
fn on_debian_13() -> Result<()> {
    let ready = Ready::on(Debian::trixie()?)?.with_something_held()?;
    let debian = &ready.debian;
    let needs = debian.must("dpkg-query", &["--show", "--showformat", "${Pre-Depends}${Depends}", "rokeep"])?;
    assert_eq!(needs, "");
    well(debian, &["install", "--reinstall", PACKAGE])?;
    debian.kill(ready.tool)?;
    debian.must("rokeep", &["cleanup"])?;
    assert!(!debian.has_store());
    well(debian, &["purge", "rokeep"])?;
    assert_eq!(without_dpkgs(&left_over(debian)), Vec::<&String>::new());
    Ok(())
}

/// At the start of the machine and every ten minutes somebody looks, whoever starts programs there.
#[test]
fn who_looks_again_later() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?.with_something_held()?;
    let debian = &ready.debian;
    debian.must("sh", &["-c", "ls /etc/rc2.d/S*rokeep-boot"])?;
    let line = debian.read("/etc/cron.d/rokeep")?;
    let line = line.lines().find(|line| !line.starts_with('#')).context("a line")?;
    let [times @ .., user, command] = &line.splitn(7, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert_eq!((times, *user), (&["*/10", "*", "*", "*", "*"][..], "root"));

    // What cron gives to its jobs on Debian.
    let cron = ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", command];
    let looks: [&[&str]; 2] = [&cron, &["/etc/init.d/rokeep-boot", "start"]];
    let again = debian.package("tool", "3")?.program(TOOL)?.build()?;
    let holders = [ready.tool, debian.spawn(TOOL, &["infinity"])?];
    for ((look, holder), upgrade) in looks.iter().zip(holders).zip([Some(&again), None]) {
        let (program, arguments) = look.split_first().context("a program")?;
        debian.must(program, arguments)?;
        assert_eq!(debian.aliases()?.len(), 1, "it is in use");
        debian.kill(holder)?;
        debian.must(program, arguments)?;
        assert!(debian.aliases()?.is_empty() && debian.usr()? == ReadOnly, "{look:?}");
        upgrade.map(|upgrade| well(debian, &["install", upgrade])).transpose()?;
    }

    let debian = Debian::bookworm_with_systemd()?;
    debian.must("rm", &["/usr/sbin/policy-rc.d"])?;
    let debian = debian.with_rokeep_as_it_is()?;
    for unit in ["rokeep-boot.service", "rokeep-cleanup.timer"] {
        assert_eq!(debian.must("systemctl", &["is-enabled", unit])?.trim(), "enabled");
        let file = debian.must("systemctl", &["show", "--value", "--property=FragmentPath", unit])?;
        assert_eq!(file.trim(), format!("/usr/lib/systemd/system/{unit}").replacen("/usr/lib", "/lib", 1));
    }
    assert_eq!(debian.state_of("rokeep-cleanup.timer")?, "active");
    Ok(())
}

// ── upgraded ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The watcher runs the old program until apt has ended; what it has then is let go by the new one.
#[test]
fn upgraded_in_the_run_that_it_looks_after() -> Result<()> {
    each(|debian| {
        let ready = Ready::on(debian)?;
        let debian = &ready.debian;
        let next = next_version(debian)?;

        let run = well(debian, &["install", &next, &ready.next_tool])?;

        assert!(!run.stderr.contains("rokeep ("), "the watcher is not worth a word: {run:?}");
        let status = debian.status()?;
        assert!(status.session.is_none() && status.problems.is_empty(), "{status:?}");
        let held: Vec<_> = status.held.iter().flat_map(|file| &file.names).collect();
        assert_eq!(held, [TOOL]);
        assert_eq!(debian.aliases()?.len(), 1);
        assert!(debian.read("/etc/rokeep/hooks/pre-invoke")?.ends_with("# of the next version\n"));

        debian.kill(ready.tool)?;
        debian.must("rokeep", &["cleanup"])?;
        assert!(!debian.has_store());
        Ok(())
    })
}

/// apt is killed in the middle: the watcher that ends the run is of the old version, and everything else of the new one.
#[test]
fn upgraded_in_a_run_that_is_killed() -> Result<()> {
    each(|debian| {
        let ready = Ready::on(debian)?;
        let debian = &ready.debian;
        let waits = debian.package("waits", "1")?.script("preinst", "touch /run/waiting; sleep infinity")?;
        let waits = waits.field("Pre-Depends", "rokeep (>= 0.1.0+)").build()?;
        let next = next_version(debian)?;
        let apt = debian.spawn("apt-get", &["-y", "install", &next, &waits])?;
        wait_until(A_WHILE, || Ok(debian.outside("/run/waiting").exists()))?;
        assert_eq!(debian.usr()?, Writable);

        apt_is_killed(debian, apt)?;

        is_read_only_soon(debian)?;
        wait_until(A_WHILE, || Ok(debian.aliases()?.is_empty()))?;
        assert!(debian.status()?.session.is_none());
        Ok(())
    })
}

#[test]
fn what_the_administrator_changed_in_a_hook_stays_and_works() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?;
    let debian = &ready.debian;
    let hook = debian.read("/etc/rokeep/hooks/pre-invoke")?;
    let changed = hook.replacen("export PATH", "echo of mine >> /var/log/mine\nexport PATH", 1);
    debian.write_script("/etc/rokeep/hooks/pre-invoke", &changed)?;
    let next = next_version(debian)?;

    well(debian, &["-o", "Dpkg::Options::=--force-confold", "install", &next])?;
    assert_eq!(debian.read("/etc/rokeep/hooks/pre-invoke")?, changed);
    well(debian, &["install", &ready.next_tool])?;
    assert_eq!(debian.read("/var/log/mine")?, "of mine\nof mine\n");

    well(debian, &["remove", "rokeep"])?;
    assert_eq!(debian.read("/etc/rokeep/hooks/pre-invoke")?, changed);
    Ok(())
}

// ── removed ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The hooks stay, being configuration, and stop nobody.
#[test]
fn removed_and_nothing_of_it_is_on_usr() -> Result<()> {
    each(|debian| {
        let ready = Ready::on(debian.with_witnesses()?)?;
        let debian = &ready.debian;

        let run = well(debian, &["remove", "rokeep"])?;

        assert_eq!(debian.usr_after_hooks()?, ReadOnly, "apt's own last hook closes it: {run:?}");
        debian.settled()?;
        let left = left_over(debian);
        let is_known =
            |name: &String| ["etc/", "var/lib/dpkg/", "var/lib/systemd/"].iter().any(|of| name.starts_with(of));
        let unknown: Vec<_> = left.iter().filter(|name| !is_known(name) && *name != "var/lib/rokeep").collect();
        assert_eq!(unknown, Vec::<&String>::new());
        assert!(left.contains(&"etc/rokeep/hooks/pre-invoke".to_owned()));

        let elsewhere = debian.package("elsewhere", "1")?.file("/etc/elsewhere")?.build()?;
        well(debian, &["install", &elsewhere])?;
        debian.must("mount", &["-o", "remount,rw", "/usr"])?;
        debian.must("apt-get", &["-y", "install", PACKAGE])?;
        debian.must("rokeep", &["remount", "ro", "/usr"])?;
        well(debian, &["install", &ready.next_tool])?;
        assert_eq!(debian.aliases()?.len(), 1, "it works as before");
        Ok(())
    })
}

/// What would be deleted in use stays, and so does the program that can let it go.
#[test]
fn removed_while_something_is_held() -> Result<()> {
    each(|debian| {
        let ready = Ready::on(debian)?.with_something_held()?;
        let debian = &ready.debian;
        let tool = format!("tool ({})", ready.tool);

        let run = well(debian, &["remove", "rokeep"])?;

        for part in ["kept while in use: 1 replaced file", &tool, "rokeep was removed", &format!("{STAND_IN} cleanup")]
        {
            assert!(run.stderr.contains(part), "{part}: {run:?}");
        }
        assert_eq!(debian.aliases()?.len(), 1);
        debian.must(STAND_IN, &["cleanup"])?;
        assert_eq!(debian.aliases()?.len(), 1);

        debian.kill(ready.tool)?;
        debian.must(STAND_IN, &["cleanup"])?;
        is_read_only_soon(debian)?;
        assert!(!debian.has_store() && !debian.outside(STAND_IN).exists());
        Ok(())
    })
}

/// dpkg deletes what has come into use since it began.
#[test]
fn removed_and_usr_cannot_go_back() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?;
    let debian = &ready.debian;
    let deletes = "[ \"$1\" != remove ] || { cp /usr/bin/sleep /usr/bin/late; \
        /usr/bin/late infinity >/dev/null 2>&1 </dev/null & sleep 0.2; rm /usr/bin/late; }";
    installed_by_hand(debian, &debian.package("zz-late", "1")?.script("postrm", deletes)?.build()?)?;

    let run = debian.apt(&["-y", "remove", "rokeep", "zz-late"])?;

    assert_eq!(run.code, 0, "{run:?}");
    for part in ["/usr is degraded", "late (", "rokeep was removed", &format!("{STAND_IN} cleanup")] {
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    }
    debian.settled()?.must("pkill", &["-KILL", "-x", "late"])?;
    debian.must(STAND_IN, &["cleanup"])?;
    assert_eq!(debian.usr()?, ReadOnly);
    assert!(!debian.has_store() && !debian.outside(STAND_IN).exists());
    Ok(())
}

/// Whoever waits for that runs the program that is removed.
#[test]
fn removed_while_usr_is_held_by_hand_for_a_time() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?;
    let debian = &ready.debian;
    debian.must("rokeep", &["remount", "rw", "/usr", "--for", "15s"])?;

    debian.must("apt-get", &["-y", "remove", "rokeep"])?;

    assert_eq!(debian.usr()?, Writable);
    is_read_only_soon(debian)?;
    assert!(!debian.has_store() && !debian.outside(STAND_IN).exists());
    Ok(())
}

/// Another system's package is none of this one's business: dpkg --root with scripts that are not run in there.
#[test]
fn what_is_removed_elsewhere_changes_nothing_here() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?.with_something_held()?;
    let debian = &ready.debian;
    debian.write("/etc/rokeep/config.toml", "mounts = ['/usr']\n")?;
    let before = left_over(debian);
    for (script, action) in [("prerm", "remove"), ("postrm", "remove"), ("postrm", "purge"), ("postinst", "configure")]
    {
        // The helpers that debhelper calls find nothing there.
        let script = format!("DPKG_ROOT=/srv/image /var/lib/dpkg/info/rokeep.{script} {action} 2>/dev/null || true");
        debian.must("sh", &["-c", &script])?;
    }
    assert_eq!(left_over(debian), before);
    assert_eq!(debian.aliases()?.len(), 1);
    Ok(())
}

/// dpkg changes its mind.
#[test]
fn not_removed_after_all() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?;
    let debian = &ready.debian;
    debian.must("/var/lib/dpkg/info/rokeep.prerm", &["remove"])?;
    debian.write("/var/lib/rokeep/purged", "")?;
    assert!(debian.outside(STAND_IN).exists());
    debian.must("/var/lib/dpkg/info/rokeep.postinst", &["abort-remove"])?;
    for file in [STAND_IN, "/var/lib/rokeep/purged"] {
        assert!(!debian.outside(file).exists(), "{file}");
    }
    well(debian, &["install", &ready.next_tool])?;
    assert_eq!(debian.aliases()?.len(), 1, "it works as before");
    Ok(())
}

#[test]
fn removed_in_a_run_that_is_killed() -> Result<()> {
    each(|debian| {
        let ready = Ready::on(debian)?;
        let debian = &ready.debian;
        let postrm = "if [ \"$1\" = remove ]; then touch /run/waiting; sleep infinity; fi";
        // dpkg removes it after ours.
        installed_by_hand(debian, &debian.package("zz-slow", "1")?.script("postrm", postrm)?.build()?)?;
        let apt = debian.spawn("apt-get", &["-y", "remove", "rokeep", "zz-slow"])?;
        wait_until(A_WHILE, || Ok(debian.outside("/run/waiting").exists()))?;
        ensure!(!debian.outside("/usr/sbin/rokeep").exists(), "it is removed first");
        assert_eq!(debian.usr()?, Writable);

        apt_is_killed(debian, apt)?;

        is_read_only_soon(debian)?;
        wait_until(A_WHILE, || Ok(!debian.has_store()))?;
        assert!(!debian.outside(STAND_IN).exists());
        Ok(())
    })
}

#[test]
fn removed_and_purged_by_dpkg_alone() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?;
    let debian = &ready.debian;
    debian.must("dpkg", &["--remove", "rokeep"])?;
    is_read_only_soon(debian)?;
    assert!(!debian.has_store() && !debian.outside(STAND_IN).exists());
    debian.must("dpkg", &["--purge", "rokeep"])?;
    assert_eq!(without_dpkgs(&left_over(debian)), Vec::<&String>::new());
    Ok(())
}

#[test]
fn removed_where_everything_is_writable() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep_as_it_is()?;
    for arguments in [["-y", "remove", "rokeep"], ["-y", "install", PACKAGE], ["-y", "purge", "rokeep"]] {
        debian.must("apt-get", &arguments)?;
        assert_eq!(debian.usr()?, Writable);
        assert!(!debian.outside(STAND_IN).exists(), "{arguments:?}");
    }
    assert_eq!(without_dpkgs(&left_over(&debian)), Vec::<&String>::new());
    Ok(())
}

// ── purged ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn purged_and_nothing_is_left() -> Result<()> {
    each(|debian| {
        let ready = Ready::on(debian)?;
        let debian = &ready.debian;
        debian.write("/etc/rokeep/config.toml", "mounts = ['/usr']\n")?;

        well(debian, &["purge", "rokeep"])?;

        wait_until(A_WHILE, || Ok(without_dpkgs(&left_over(debian)).is_empty()))
            .with_context(|| format!("{:?}", left_over(debian)))?;
        let elsewhere = debian.package("elsewhere", "1")?.file("/etc/elsewhere")?.build()?;
        well(debian, &["install", &elsewhere]).map(drop)
    })
}

#[test]
fn purged_while_something_is_held() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?.with_something_held()?;
    let debian = &ready.debian;

    well(debian, &["purge", "rokeep"])?;

    assert_eq!(debian.aliases()?.len(), 1);
    debian.kill(ready.tool)?;
    debian.must(STAND_IN, &["cleanup"])?;
    is_read_only_soon(debian)?;
    assert_eq!(without_dpkgs(&left_over(debian)), Vec::<&String>::new());
    Ok(())
}

/// It is in use when the package is removed, and no more when that is purged.
#[test]
fn purged_once_nothing_is_held_any_more() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?.with_something_held()?;
    let debian = &ready.debian;
    well(debian, &["remove", "rokeep"])?;
    debian.kill(ready.tool)?;
    debian.must("apt-get", &["-y", "purge", "rokeep"])?;
    is_read_only_soon(debian)?;
    assert!(!debian.has_store());
    assert_eq!(without_dpkgs(&left_over(debian)), Vec::<&String>::new());
    Ok(())
}

/// No hook is left to end the run, and somebody has killed the watcher.
#[test]
fn purged_and_nobody_watches() -> Result<()> {
    let ready = Ready::on(Debian::bookworm()?)?;
    let debian = &ready.debian;
    let kills = "DPkg::Pre-Install-Pkgs:: \"pkill -KILL -x rokeep || true\";\n";
    debian.write("/etc/apt/apt.conf.d/zzz-kills", kills)?;
    well(debian, &["purge", "rokeep"])?;
    assert!(!debian.has_store());
    assert_eq!(without_dpkgs(&left_over(debian)), Vec::<&String>::new());
    Ok(())
}

/// What dpkg knows of a package that it had once, apt of what it has downloaded, and systemd of a timer.
fn without_dpkgs(left: &[String]) -> Vec<&String> {
    let of_others = ["var/lib/dpkg/", "var/lib/systemd/timers/"];
    left.iter().filter(|name| !of_others.iter().any(|of| name.starts_with(of))).collect()
}
