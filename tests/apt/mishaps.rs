//! Runs that cannot go well: nothing is half-installed, and /usr is read-only again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::support::debian::Debian;
use crate::support::sandbox::Access::ReadOnly;

/// dpkg would meet the read-only file system in the middle of a package and leave it broken; so it must not start.
#[test]
fn on_a_write_protected_disk_apt_stops_before_dpkg_starts() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    let debian = debian.read_only()?.write_protected()?;
    let state = || Ok::<_, anyhow::Error>((debian.read("/var/lib/dpkg/status")?, debian.read("/var/log/dpkg.log")?));
    let before = state()?;

    let run = debian.apt(&["-y", "install", &package])?;

    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("rokeep: ") && run.stderr.contains("/usr"), "{run:?}");
    assert!(run.stderr.contains("write-protected"), "it does not say why: {}", run.stderr);
    assert_eq!(debian.must("dpkg", &["--audit"])?, "");
    assert!(state()? == before, "dpkg has run");
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// apt-listbugs says no: apt stops, and runs no Post-Invoke. It may come before our hook or after it.
#[test]
fn a_failing_hook_of_another_package_leaves_usr_read_only() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    let debian = debian.read_only()?;
    for name in ["20listbugs", "zzz-listbugs"] {
        let file = format!("/etc/apt/apt.conf.d/{name}");
        debian.write(&file, "DPkg::Pre-Install-Pkgs:: \"exit 10\";\n")?;

        let run = debian.apt(&["-y", "install", &package])?;

        assert_ne!(run.code, 0, "{name}: {run:?}");
        usr_is_read_only_and_nothing_is_left(&debian)?;
        assert_eq!(debian.installed_version("tool")?, None);
        debian.must("rm", &[&file])?;
    }
    Ok(())
}

/// apt is killed; the dpkg that it started lives on, and so must its right to write.
#[test]
fn when_apt_is_killed_usr_is_read_only_as_soon_as_dpkg_is_done() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let slow = "touch /run/started; sleep 3; touch /usr/share/written-late";
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.script("postinst", slow)?.build()?;
    let debian = debian.read_only()?;
    let exists = |path: &str| debian.outside(path).exists();

    let apt = debian.spawn("apt-get", &["-y", "install", &package])?;
    wait_until(Duration::from_secs(30), || Ok(exists("/run/started")))?;
    debian.kill(apt)?;

    wait_until(Duration::from_secs(10), || Ok(exists("/usr/share/written-late")))?;
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// At most two seconds after apt and dpkg have ended.
pub fn usr_is_read_only_and_nothing_is_left(debian: &Debian) -> Result<()> {
    wait_until(Duration::from_secs(2), || Ok(debian.usr()? == ReadOnly && debian.status()?.session.is_none()))?;
    assert_eq!(debian.settled()?.aliases()?, Vec::<String>::new());
    Ok(())
}

pub fn wait_until(limit: Duration, so: impl Fn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit;
    while !so()? {
        ensure!(Instant::now() < end, "not so after {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
