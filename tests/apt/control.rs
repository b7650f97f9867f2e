//! Without rokeep.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::support::debian::Debian;
use crate::support::sandbox::Access::{ReadOnly, Writable};

/// The pair of remounts that every guide gives leaves /usr writable after real upgrades, and apt fails.
#[test]
fn the_remount_pair_ends_busy_and_writable() -> Result<()> {
    let debian = Debian::bookworm()?.with_remount_pair()?.read_only()?;
    let daemons = debian.start_daemons()?;
    assert_eq!(debian.superblock("/usr")?, ReadOnly);
    assert_eq!(debian.deleted_files()?.len(), 0);

    let run = debian.apt(&["-y", "dist-upgrade"])?;

    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("busy"), "{run:?}");
    assert_eq!(debian.superblock("/usr")?, Writable);
    let deleted = debian.deleted_files()?;
    let holders: BTreeSet<u32> = deleted.iter().flat_map(|file| file.holders.keys().copied()).collect();
    assert!(deleted.len() > 5 && holders.len() > 5, "{deleted:#?}");
    for upgrade in debian.upgrades()? {
        assert_eq!(debian.installed_version(&upgrade.package)?, Some(upgrade.to), "{}", upgrade.package);
    }
    assert_eq!(debian.ended(&daemons)?, []);
    Ok(())
}
