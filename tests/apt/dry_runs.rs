//! Runs that only say what they would do: nothing is made writable for them, and nothing is protected.

use anyhow::Result;

use crate::support::debian::Debian;
use crate::support::sandbox::Access::ReadOnly;

#[test]
fn of_apt_touch_nothing() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?.read_only()?;
    for arguments in [
        &["-o", "Debug::pkgDPkgPM=1", "-y", "dist-upgrade"][..],
        &["-oDebug::pkgDPkgPM=1", "-y", "dist-upgrade"],
        &["-s", "dist-upgrade"],
        &["-y", "-d", "dist-upgrade"],
        &["-y", "--print-uris", "dist-upgrade"],
    ] {
        touches_nothing(&debian, "apt-get", arguments)?;
    }
    // The hooks do run in the first two.
    assert!(debian.hooks()?.0.iter().all(|hook| hook.code == 0), "{:?}", debian.hooks()?);
    assert_eq!(debian.hooks()?.0.len(), 6);
    Ok(())
}

/// It calls the hooks for each of its small steps.
#[test]
fn of_unattended_upgrade_touch_nothing() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?.read_only()?;
    touches_nothing(&debian, "unattended-upgrade", &["--dry-run", "--verbose"])?;
    let hooks = debian.hooks()?;
    assert!(hooks.0.len() > 3 && hooks.0.iter().all(|hook| hook.code == 0), "{hooks:?}");
    Ok(())
}

/// Before dpkg would start, nobody is told of a setting like this; and nobody has one but for once.
#[test]
fn that_the_settings_ask_for_protect_nothing() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?.with_witnesses()?.read_only()?;
    debian.write("/etc/apt/apt.conf.d/dry", "Debug::pkgDPkgPM \"true\";\n")?;
    let run = debian.apt(&["-y", "dist-upgrade"])?;
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(debian.aliases_before_dpkg()?, 0);
    assert_eq!(debian.settled()?.usr()?, ReadOnly);
    nothing_is_left(&debian)
}

fn touches_nothing(debian: &Debian, program: &str, arguments: &[&str]) -> Result<()> {
    let made_writable = debian.times_made_writable()?;
    let status = debian.read("/var/lib/dpkg/status")?;

    let run = debian.run(program, arguments)?;

    assert_eq!(run.code, 0, "{program} {arguments:?}: {run:?}");
    assert_eq!(debian.settled()?.times_made_writable()?, made_writable, "{program} {arguments:?}: {run:?}");
    assert_eq!(debian.usr()?, ReadOnly);
    assert!(debian.read("/var/lib/dpkg/status")? == status, "{program} {arguments:?} was not dry");
    nothing_is_left(debian)
}

fn nothing_is_left(debian: &Debian) -> Result<()> {
    assert!(!debian.has_store());
    assert!(!debian.outside("/var/lib/rokeep/journal.jsonl").exists());
    assert!(debian.status()?.session.is_none());
    Ok(())
}
