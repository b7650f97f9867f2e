//! Without rokeep: what the others' claims are measured against.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::support::debian::Debian;
use crate::support::sandbox::Access::{ReadOnly, Writable};

/// The pair of remounts that every guide gives: after real upgrades apt fails, and /usr stays writable.
#[test]
fn the_pair_of_remounts_ends_busy_and_writable() -> Result<()> {
    let debian = Debian::bookworm()?.with_remount_pair()?.read_only()?;
    let daemons = debian.start_daemons()?;
    assert_eq!(debian.usr()?, ReadOnly);
    assert_eq!(debian.deleted_files()?.len(), 0);

    let run = debian.apt(&["-y", "dist-upgrade"])?;

    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("busy"), "{run:?}");
    assert_eq!(debian.usr()?, Writable);
    let deleted = debian.deleted_files()?;
    let holders: BTreeSet<u32> = deleted.iter().flat_map(|file| file.holders.keys().copied()).collect();
    assert!(deleted.len() > 5 && holders.len() > 5, "{deleted:#?}");
    for upgrade in debian.upgrades()? {
        assert_eq!(debian.installed_version(&upgrade.package)?, Some(upgrade.to), "{}", upgrade.package);
    }
    assert_eq!(debian.ended(&daemons)?, []);
    Ok(())
}

/// The same pair, when a hook of another package stops apt before dpkg starts: nobody remounts anything back.
#[test]
fn the_pair_of_remounts_stays_writable_when_another_hook_fails() -> Result<()> {
    let debian = Debian::bookworm()?.with_remount_pair()?.read_only()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    debian.write("/etc/apt/apt.conf.d/20listbugs", "DPkg::Pre-Install-Pkgs:: \"exit 10\";\n")?;

    let run = debian.apt(&["-y", "install", &package])?;

    assert_ne!(run.code, 0, "{run:?}");
    assert_eq!(debian.usr()?, Writable);
    Ok(())
}

/// The same pair, when a package is removed whose program runs.
#[test]
fn the_pair_of_remounts_ends_busy_after_a_removal() -> Result<()> {
    let debian = Debian::bookworm()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    debian.must("apt-get", &["-y", "install", &package])?;
    let debian = debian.with_remount_pair()?.read_only()?;
    debian.spawn("/usr/bin/tool", &["1000"])?;

    let run = debian.apt(&["-y", "remove", "tool"])?;

    assert!(run.stderr.contains("busy"), "{run:?}");
    assert_eq!(debian.usr()?, Writable);
    Ok(())
}
