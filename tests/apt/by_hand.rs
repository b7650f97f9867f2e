//! What a person does around apt and dpkg: a session of one's own, and a run that leaves /usr writable.

use anyhow::{Result, ensure};

use crate::support::debian::Debian;
use crate::support::sandbox::Access::{ReadOnly, Writable};

#[test]
fn rokeep_run_around_dpkg_and_around_apt() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    let debian = debian.read_only()?;

    debian.must("rokeep", &["run", "--", "dpkg", "-i", &package])?;
    ensure!(debian.usr()? == ReadOnly, "/usr is still writable");
    assert_eq!(debian.installed_version("tool")?.as_deref(), Some("1"));

    debian.must("rokeep", &["run", "--", "apt-get", "-y", "remove", "tool"])?;
    assert_eq!(debian.installed_version("tool")?, None);

    // apt's own exit status, from a run that cannot go well.
    let run = debian.run("rokeep", &["run", "--", "apt-get", "-y", "install", "surely-not-there"])?;
    assert_eq!(run.code, 100, "{run:?}");

    debian.settled()?;
    ensure!(debian.usr()? == ReadOnly, "/usr is still writable");
    ensure!(!debian.has_store(), "aliases are left: {:?}", debian.aliases()?);
    Ok(())
}

/// apt hands its environment on to its hooks.
#[test]
fn an_apt_that_is_asked_to_leaves_usr_writable() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    let debian = debian.read_only()?;

    debian.must("env", &["NO_APT_REMOUNT=yes", "apt-get", "-y", "install", &package])?;

    ensure!(debian.usr()? == Writable, "/usr is not writable");
    debian.must("apt-get", &["-y", "remove", "tool"])?;
    ensure!(debian.usr()? == Writable, "the next run closed it");
    debian.must("rokeep", &["remount", "ro"])?;
    debian.settled()?;
    ensure!(debian.usr()? == ReadOnly, "/usr is still writable");
    ensure!(!debian.has_store(), "aliases are left: {:?}", debian.aliases()?);
    Ok(())
}
