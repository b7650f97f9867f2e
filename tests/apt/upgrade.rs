//! The upgrade that [`super::control`] fails, with rokeep. One system serves all that can be said about it, because
//! each takes most of a minute.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::support::debian::Debian;
use crate::support::sandbox::Access::ReadOnly;

/// What any hook may have in memory. How long they take is for the demo to show: a busy machine must fail no test.
const MIB: f64 = 40.0;

#[test]
fn real_upgrades_end_read_only_with_every_daemon_running() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?.with_witnesses()?.read_only()?;
    let daemons = debian.start_daemons()?;
    a_simulation_touches_nothing(&debian)?;

    let made_writable = debian.times_made_writable()?;
    let run = debian.apt(&["-y", "dist-upgrade"])?;

    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(debian.usr_after_hooks()?, ReadOnly);
    assert_eq!(debian.settled()?.usr()?, ReadOnly);
    assert!(debian.times_made_writable()? > made_writable);
    assert_eq!(debian.ended(&daemons)?, []);
    everything_is_installed(&debian)?;
    thousands_of_files_were_protected_in_little_memory(&debian)?;
    only_what_is_held_is_kept_and_its_holders_are_named(&debian)?;

    a_run_with_nothing_to_do_touches_nothing(&debian)?;
    nothing_is_kept_once_nobody_holds_it(&debian)
}

fn a_simulation_touches_nothing(debian: &Debian) -> Result<()> {
    let made_writable = debian.times_made_writable()?;
    assert_eq!(debian.apt(&["-s", "dist-upgrade"])?.code, 0);
    assert_eq!(debian.times_made_writable()?, made_writable);
    assert_eq!(debian.hooks()?.0.len(), 0, "{:?}", debian.hooks()?);
    Ok(())
}

fn everything_is_installed(debian: &Debian) -> Result<()> {
    let upgrades = debian.upgrades()?;
    assert!(upgrades.len() > 30, "{upgrades:?}");
    for upgrade in upgrades {
        assert_eq!(debian.installed_version(&upgrade.package)?, Some(upgrade.to), "{}", upgrade.package);
    }
    assert_eq!(debian.must("dpkg", &["--audit"])?, "");
    Ok(())
}

fn thousands_of_files_were_protected_in_little_memory(debian: &Debian) -> Result<()> {
    let protected = debian.aliases_before_dpkg()?;
    assert!(protected > 1000, "{protected}");
    let hooks = debian.hooks()?;
    assert!(hooks.0.len() >= 3 && hooks.0.iter().all(|hook| hook.code == 0), "{hooks:?}");
    assert!(hooks.peak_mib() < MIB, "{hooks:?}");
    Ok(())
}

fn only_what_is_held_is_kept_and_its_holders_are_named(debian: &Debian) -> Result<()> {
    let used = debian.used_files()?;
    assert!(used.values().all(|file| file.links > 0), "{used:#?}");
    let kept: BTreeSet<u64> = debian.aliases()?.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    assert!(!kept.is_empty());
    for inode in &kept {
        assert!(used.contains_key(inode), "nobody uses inode {inode}");
    }

    let status = debian.status()?;
    assert_eq!(status.held.iter().map(|file| file.inode).collect::<BTreeSet<_>>(), kept);
    for file in &status.held {
        let named: BTreeSet<u32> = file.holders.iter().filter_map(|holder| holder.pid).collect();
        let holders: BTreeSet<u32> =
            used.get(&file.inode).into_iter().flat_map(|used| used.holders.keys().copied()).collect();
        assert_eq!(named, holders, "{file:?}");
        assert!(file.holders.iter().all(|holder| !status.group(holder).remedy.text.is_empty()), "{file:?}");
    }
    Ok(())
}

fn a_run_with_nothing_to_do_touches_nothing(debian: &Debian) -> Result<()> {
    let (made_writable, hooks) = (debian.times_made_writable()?, debian.hooks()?.0.len());
    assert_eq!(debian.apt(&["-y", "dist-upgrade"])?.code, 0);
    assert_eq!(debian.times_made_writable()?, made_writable);
    assert_eq!(debian.hooks()?.0.len(), hooks);
    Ok(())
}

fn nothing_is_kept_once_nobody_holds_it(debian: &Debian) -> Result<()> {
    debian.stop_everything()?;
    let cleanup = debian.run("rokeep", &["cleanup"])?;
    assert_eq!(cleanup.code, 0, "{cleanup:?}");
    assert_eq!(debian.aliases()?, Vec::<String>::new());
    assert!(!debian.has_store());
    assert_eq!(debian.usr()?, ReadOnly);
    Ok(())
}
