//! rokeep's units, under a real systemd: as a container has it, with a journal, and confined as the units say.

use std::time::Duration;

use anyhow::{Context, Result};

use super::mishaps::wait_until;
use crate::support::debian::Debian;
use crate::support::sandbox::Access::{ReadOnly, ReadOnlyMount, Writable};

const TOOL: &str = "/usr/bin/tool";

/// How long the watcher may take.
const MOMENT: Duration = Duration::from_secs(2);

/// More than whatever is waited for takes on a busy machine.
const A_WHILE: Duration = Duration::from_secs(30);

/// Enough for a service to end up with a mount namespace of its own, in which /usr is another mount.
const OF_ITS_OWN: &str = "PrivateTmp=yes\nProtectHome=yes";

/// A package that waits in its postinst, until a file is there.
const WAIT: &str = "touch /run/waiting; while [ ! -e /run/go ]; do sleep 0.02; done";

struct Booted {
    debian: Debian,
    archives: [String; 2],
}

/// The first version of a program is installed, and the second is at hand; /usr is read-only.
fn booted(postinst: &str) -> Result<Booted> {
    let debian = Debian::bookworm_with_systemd()?.with_rokeep()?;
    let first = debian.package("tool", "1")?.program(TOOL)?.build()?;
    let second = debian.package("tool", "2")?.program(TOOL)?.script("postinst", postinst)?.build()?;
    debian.must("dpkg", &["--install", &first])?;
    Ok(Booted { debian: debian.read_only()?, archives: [first, second] })
}

impl Booted {
    fn upgrade(&self) -> Result<()> {
        let [_, second] = &self.archives;
        self.debian.must("apt-get", &["-y", "install", second]).map(drop)
    }

    /// An upgrade that waits in its postinst: apt's process, and the unit that watches it.
    fn upgrade_half_way(&self) -> Result<(u32, String)> {
        let [_, second] = &self.archives;
        let apt = self.debian.spawn("apt-get", &["-y", "install", second])?;
        wait_until(A_WHILE, || Ok(self.debian.outside("/run/waiting").exists()))?;
        assert_eq!(self.debian.usr()?, Writable);
        Ok((apt, format!("rokeep-watch@{apt}.service")))
    }

    fn kill_apt_and_dpkg(&self, apt: u32) -> Result<()> {
        self.debian.must("pkill", &["-KILL", "-x", "dpkg"])?;
        self.debian.must("kill", &["-KILL", &apt.to_string()]).map(drop)
    }

    fn is_closed(&self) -> Result<()> {
        let closed = || Ok(self.debian.usr()? == ReadOnly && self.debian.status()?.session.is_none());
        wait_until(A_WHILE, closed)
    }

    fn units_are_content(&self) -> Result<()> {
        let failed = self.debian.must("systemctl", &["list-units", "--plain", "--no-legend", "--failed", "rokeep*"])?;
        assert_eq!(failed, "", "{}", self.debian.journal_of("SYSLOG_IDENTIFIER=rokeep")?);
        Ok(())
    }
}

#[test]
fn the_watch_unit_ends_the_session_of_an_apt_that_was_killed() -> Result<()> {
    let booted = booted(WAIT)?;
    let debian = &booted.debian;
    let holder = debian.service("tool", &format!("{TOOL} infinity"), OF_ITS_OWN)?;
    let (apt, unit) = booted.upgrade_half_way()?;
    assert_eq!(debian.state_of(&unit)?, "active");

    booted.kill_apt_and_dpkg(apt)?;
    std::thread::sleep(MOMENT);

    assert_eq!(debian.usr()?, ReadOnly, "{}", debian.journal_of("SYSLOG_IDENTIFIER=rokeep")?);
    booted.is_closed()?;
    assert_eq!(debian.status()?.mount("/usr").aliases.held, 1, "the service {holder} runs the old one");
    assert_eq!(debian.state_of(&unit)?, "inactive");
    booted.units_are_content()
}

#[test]
fn after_an_upgrade_the_watch_unit_waits_for_apt_to_exit_and_is_gone() -> Result<()> {
    let booted = booted("")?;
    booted.upgrade()?;
    assert_eq!(booted.debian.usr()?, ReadOnly);
    let watching = || booted.debian.must("systemctl", &["list-units", "--plain", "--no-legend", "rokeep-watch@*"]);
    wait_until(A_WHILE, || Ok(watching()?.is_empty()))?;
    booted.is_closed()?;
    let log = booted.debian.journal_of("ROKEEP_MOUNT=/usr")?;
    assert!(log.contains("writable") && log.contains("read-only"), "{log}");
    booted.units_are_content()
}

/// The service has a mount namespace of its own, and is in nobody's way.
#[test]
fn the_cleanup_unit_drops_what_a_restarted_service_has_let_go() -> Result<()> {
    let booted = booted("")?;
    let debian = &booted.debian;
    debian.service("tool", &format!("{TOOL} infinity"), OF_ITS_OWN)?;
    booted.upgrade()?;
    assert_eq!(debian.usr()?, ReadOnly);
    let status = debian.must("rokeep", &["status"])?;
    assert!(status.contains("systemctl restart tool.service"), "{status}");
    wait_until(A_WHILE, || Ok(debian.aliases()?.len() == 1))?;

    debian.must("systemctl", &["start", "rokeep-cleanup.service"])?;
    assert_eq!(debian.aliases()?.len(), 1, "the old one is in use");
    debian.must("systemctl", &["restart", "tool.service"])?;
    debian.must("systemctl", &["start", "rokeep-cleanup.service"])?;
    assert!(!debian.has_store());
    assert_eq!(debian.usr()?, ReadOnly);
    booted.units_are_content()
}

/// A writer keeps the mount as it is, and the unit fails for as long as it does.
#[test]
fn the_cleanup_unit_shows_what_is_wrong_and_puts_it_right() -> Result<()> {
    let booted = booted("exec 3>/usr/local/log; sleep infinity >/dev/null 2>&1 & echo $! > /run/writer")?;
    let debian = &booted.debian;
    booted.upgrade()?;
    assert_eq!(debian.usr()?, Writable);
    // Not by the unit's name: of a process that has ended journald may not know any more which unit it was.
    let times_said = || -> Result<usize> {
        Ok(debian.journal_of("SYSLOG_IDENTIFIER=rokeep")?.matches("/usr is still WRITABLE").count())
    };
    let before = times_said()?;
    assert_ne!(debian.run("systemctl", &["start", "rokeep-cleanup.service"])?.code, 0);
    assert_eq!(debian.state_of("rokeep-cleanup.service")?, "failed");
    wait_until(A_WHILE, || Ok(times_said()? > before))?;

    debian.must("sh", &["-c", "kill $(cat /run/writer)"])?;
    debian.must("systemctl", &["start", "rokeep-cleanup.service"])?;
    booted.is_closed()?;
    booted.units_are_content()
}

/// In the namespace of a service that has one, too.
#[test]
fn the_units_close_each_mount_where_the_file_system_cannot_be_and_open_it_again() -> Result<()> {
    let booted = booted(&format!(
        "cp {TOOL} /usr/bin/short-lived; systemctl start short-lived; rm /usr/bin/short-lived; {WAIT}"
    ))?;
    let debian = &booted.debian;
    let bystander = debian.service("tool", &format!("{TOOL} infinity"), OF_ITS_OWN)?;
    debian.write(
        "/etc/systemd/system/short-lived.service",
        "[Service]\nType=exec\nExecStart=/usr/bin/short-lived infinity\n",
    )?;
    let (apt, _) = booted.upgrade_half_way()?;
    booted.kill_apt_and_dpkg(apt)?;
    wait_until(A_WHILE, || Ok(debian.usr()? == ReadOnlyMount))?;
    let elsewhere = || debian.read(&format!("/proc/{bystander}/mountinfo"));
    let line = |table: &str| table.lines().find(|line| line.contains(" /usr ")).map(str::to_owned);
    let closed = line(&elsewhere()?).context("the service has a /usr")?;
    assert!(closed.contains(" ro,"), "{closed}");
    assert_ne!(debian.run("systemctl", &["start", "rokeep-cleanup.service"])?.code, 0, "as long as it is so");

    debian.must("systemctl", &["stop", "short-lived"])?;
    debian.must("systemctl", &["start", "rokeep-cleanup.service"])?;
    booted.is_closed()?;
    booted.units_are_content()
}

/// As after a power cut: nobody is left to end the session.
#[test]
fn the_boot_unit_finishes_what_is_left() -> Result<()> {
    let booted = booted(WAIT)?;
    let debian = &booted.debian;
    let (apt, unit) = booted.upgrade_half_way()?;
    debian.must("systemctl", &["mask", "--runtime", "rokeep-watch@.service"])?;
    debian.must("systemctl", &["kill", "--signal=KILL", &unit])?;
    booted.kill_apt_and_dpkg(apt)?;
    std::thread::sleep(MOMENT);
    assert_eq!(debian.usr()?, Writable, "nobody watches");

    debian.must("systemctl", &["start", "rokeep-boot.service"])?;
    booted.is_closed()?;
    assert!(!debian.has_store(), "nobody uses what was replaced");
    assert_eq!(debian.state_of("rokeep-boot.service")?, "inactive");
    Ok(())
}

#[test]
fn a_boot_with_nothing_to_finish_starts_no_process() -> Result<()> {
    let debian = Debian::bookworm_with_systemd()?.with_rokeep()?;
    debian.must("systemctl", &["start", "rokeep-boot.service"])?;
    let show = |property| debian.must("systemctl", &["show", "--value", "--property", property, "rokeep-boot.service"]);
    assert_eq!(show("ConditionResult")?.trim(), "no");
    assert_eq!(show("ExecMainStartTimestampMonotonic")?.trim(), "0");

    // Of a store that no journal knows.
    debian.must("mkdir", &["--mode=700", "/usr/.rokeep"])?;
    debian.must("systemctl", &["start", "rokeep-boot.service"])?;
    assert_eq!(show("ConditionResult")?.trim(), "yes");
    assert_eq!(show("Result")?.trim(), "success");
    Ok(())
}

/// What a unit closes is the machine's; and that is all it may do to it.
#[test]
fn the_units_share_the_mounts_of_the_machine_and_have_few_rights() -> Result<()> {
    let debian = Debian::bookworm_with_systemd()?.with_rokeep()?;
    for unit in ["rokeep-boot", "rokeep-cleanup", "rokeep-watch@"] {
        let look = format!("/etc/systemd/system/{unit}.service.d/look.conf");
        debian.write(&look, LOOK)?;
        debian.must("systemctl", &["daemon-reload"])?;
        let instance = if unit.ends_with('@') { format!("{unit}1.service") } else { format!("{unit}.service") };
        debian.must("systemctl", &["start", &instance])?;
        assert_eq!(debian.read("/run/namespace")?, debian.must("readlink", &["/proc/1/ns/mnt"])?, "{instance}");
        let status = debian.read("/run/status")?;
        let has = |line: &str| status.lines().any(|found| found.split_whitespace().eq(line.split(' ')));
        assert!(has("Seccomp: 2") && has("NoNewPrivs: 1") && has(RIGHTS), "{instance}: {status}");
        debian.must("rm", &["/run/namespace", "/run/status"])?;
    }
    Ok(())
}

const LOOK: &str = "[Unit]
ConditionPathExists=
[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart=/bin/sh -c 'readlink /proc/self/ns/mnt > /run/namespace; cat /proc/self/status > /run/status'
";

/// CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_LEASE.
const RIGHTS: &str = "CapEff: 00000000102c000e";
