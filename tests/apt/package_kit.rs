//! PackageKit, by which GNOME Software and others install: a daemon that stays, and a child of it for each package run.
//!
//! The child calls apt's hooks, and dpkg. It ends too soon where somebody cancels what it does, and with the daemon.

use std::time::Duration;

use anyhow::{Context, Result};

use super::bare_dpkg::offer;
use super::interrupted::{PATIENCE, Upgrade, WAIT, WAITING};
use super::mishaps::wait_until;
use crate::support::debian::{Debian, Terminal};
use crate::support::sandbox::Access::{ReadOnly, Writable};

/// It is over when the child has ended, though the daemon is there all the while.
#[test]
fn the_session_is_that_of_its_child() -> Result<()> {
    let upgrade = ready(WAIT)?;
    let debian = &upgrade.debian;
    let (mut terminal, daemon, child) = package_kit_waits(&upgrade)?;
    assert_eq!(frontends(debian)?.first(), Some(&child), "and dpkg, which it has started");
    upgrade.go_on()?;
    let (_, seen) = terminal.ended()?;
    assert_eq!(debian.usr()?, ReadOnly, "{seen}");
    assert_eq!(debian.installed_version("tool")?.as_deref(), Some("2"), "{seen}");
    assert_eq!(upgrade.hooks_named("/post-invoke")?, 1, "{seen}");
    assert_eq!(debian.package_kit()?, (daemon, None));
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()?;
    assert_eq!(debian.package_kit()?, (daemon, None));
    Ok(())
}

/// As when its libraries are upgraded.
#[test]
fn what_it_uses_itself_is_kept_as_long_as_it_stays() -> Result<()> {
    let upgrade = ready("")?;
    let debian = &upgrade.debian;
    let backend = debian.must("sh", &["-c", "ls /usr/lib/*/packagekit-backend/libpk_backend_apt.so"])?;
    let (backend, other) = (backend.trim(), debian.package("other", "1")?.field("Replaces", "packagekit"));
    let other = other.file(backend)?.build()?;

    let run = debian.run("pkcon", &["-y", "install-local", &other])?;

    assert_eq!(debian.usr()?, ReadOnly, "{run:?}");
    assert_eq!(debian.installed_version("other")?.as_deref(), Some("1"), "{run:?}");
    upgrade.is_closed()?;
    let (status, (daemon, _)) = (debian.status()?, debian.package_kit()?);
    assert_eq!(status.uses(backend, daemon), ["mapped"], "{status:#?}");
    debian.kill(daemon)?;
    debian.must("rokeep", &["cleanup"])?;
    assert!(!debian.has_store(), "{:?}", debian.aliases()?);
    assert_eq!(debian.usr()?, ReadOnly);
    Ok(())
}

// ── the child ends too soon ─────────────────────────────────────────────────────────────────────────────────────────

/// PackageKit says itself that it is too late for that, and sends SIGTERM to its child all the same.
#[test]
fn cancelled_while_dpkg_works() -> Result<()> {
    dpkg_is_left_by(cancel)
}

/// Its child asked the kernel for SIGKILL then.
#[test]
fn its_daemon_is_killed_while_dpkg_works() -> Result<()> {
    dpkg_is_left_by(kill_the_daemon)
}

fn dpkg_is_left_by(end: fn(&Debian, &mut Terminal) -> Result<()>) -> Result<()> {
    let wait_once = format!("[ -e {WAITING} ] || {{ {WAIT}; }}");
    let upgrade = ready(&format!("{wait_once}; touch /usr/share/written-late"))?;
    let debian = &upgrade.debian;
    let (mut terminal, _, child) = package_kit_waits(&upgrade)?;
    let dpkg = upgrade.process("^dpkg$")?;

    end(debian, &mut terminal)?;

    let (_, seen) = terminal.ended()?;
    is_gone(debian, child)?;
    wait_until(Duration::from_secs(2), || Ok(frontends(debian)? == [dpkg]))?;
    assert_eq!(debian.usr()?, Writable);
    upgrade.go_on()?;
    is_gone(debian, dpkg)?;
    upgrade.is_closed()?;
    assert_eq!(upgrade.hooks_named("/post-invoke")?, 0, "{seen}");
    assert!(debian.outside("/usr/share/written-late").exists(), "its postinst could not write: {seen}");
    is_said(&upgrade, child)?;
    // It could not tell that it was done, and whoever is told of that finishes it.
    assert_eq!(debian.installed_version("tool")?, None, "{seen}");
    debian.must("dpkg", &["--configure", "-a"])?;
    assert_eq!(debian.must("dpkg", &["--audit"])?, "");
    assert_eq!(debian.installed_version("tool")?.as_deref(), Some("2"));
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

#[test]
fn cancelled_before_dpkg_starts() -> Result<()> {
    no_dpkg_starts_after(cancel)
}

#[test]
fn its_daemon_is_killed_before_dpkg_starts() -> Result<()> {
    no_dpkg_starts_after(kill_the_daemon)
}

/// Everything is protected by then.
fn no_dpkg_starts_after(end: fn(&Debian, &mut Terminal) -> Result<()>) -> Result<()> {
    let upgrade = ready("")?;
    let debian = &upgrade.debian;
    upgrade.neighbour("zzz-listchanges", "DPkg::Pre-Install-Pkgs", WAIT)?;
    let (mut terminal, _, child) = package_kit_waits(&upgrade)?;
    assert_eq!(frontends(debian)?.first(), Some(&child), "and dpkg, which it has started");

    end(debian, &mut terminal)?;

    is_gone(debian, child)?;
    upgrade.is_closed()?;
    upgrade.is_gone("cat").context("the hook is there without its terminal")?;
    let (_, seen) = terminal.ended()?;
    assert_eq!(upgrade.hooks_named("/post-invoke")?, 0, "{seen}");
    assert_eq!(debian.must("dpkg", &["--audit"])?, "");
    assert_eq!(debian.installed_version("tool")?.as_deref(), Some("1"), "{seen}");
    assert_eq!(debian.aliases()?, [upgrade.inode.to_string()]);
    wait_until(PATIENCE, || Ok(debian.logged()?.contains("/usr is read-only again")))?;
    upgrade.nothing_was_replaced()
}

// ── the system ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// The program's next version is where PackageKit can fetch it, and does `postinst` once it is unpacked.
fn ready(postinst: &str) -> Result<Upgrade> {
    let upgrade = Upgrade::ready(postinst)?;
    offer(&upgrade.debian, &[&upgrade.new])?;
    upgrade.debian.start_log()?;
    upgrade.debian.start_bus()?;
    Ok(upgrade)
}

/// A person has it upgrade the program, and it comes to where it [waits](WAIT); with its daemon and the daemon's child.
fn package_kit_waits(upgrade: &Upgrade) -> Result<(Terminal<'_>, u32, u32)> {
    let terminal = upgrade.waits("pkcon", &["-y", "update", "tool"])?;
    let (daemon, child) = upgrade.debian.package_kit()?;
    Ok((terminal, daemon, child.context("it does all by itself")?))
}

/// By Ctrl-C, on which pkcon asks for it as the button of a graphical program does. The daemon stays.
fn cancel(debian: &Debian, terminal: &mut Terminal) -> Result<()> {
    let (daemon, _) = debian.package_kit()?;
    terminal.interrupt()?;
    wait_until(PATIENCE, || Ok(debian.package_kit()? == (daemon, None)))
}

fn kill_the_daemon(debian: &Debian, _: &mut Terminal) -> Result<()> {
    debian.kill(debian.package_kit()?.0)
}

/// For whom the mounts are writable.
fn frontends(debian: &Debian) -> Result<Vec<u32>> {
    let frontends = debian.status()?.session.map(|session| session.frontends).unwrap_or_default();
    Ok(frontends.iter().map(|frontend| frontend.pid).collect())
}

/// However it ended.
fn is_gone(debian: &Debian, pid: u32) -> Result<()> {
    wait_until(PATIENCE, || Ok(!debian.outside(&format!("/proc/{pid}")).exists()))
}

/// In the system's log: for whom /usr was opened, that it was closed, and what is kept.
fn is_said(upgrade: &Upgrade, child: u32) -> Result<()> {
    let log = || upgrade.debian.logged();
    let child = format!("({child})");
    let is_said = |log: &str| {
        log.lines().any(|line| line.contains("/usr is writable for ") && line.ends_with(&child))
            && log.contains("/usr is read-only again")
            && log.contains("kept while in use: 1 replaced file")
    };
    wait_until(PATIENCE, || Ok(is_said(&log()?))).with_context(|| format!("{:?}", log()))
}
