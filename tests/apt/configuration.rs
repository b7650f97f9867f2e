//! What apt sees of rokeep.

use anyhow::Result;

use crate::support::debian::Debian;

/// Each entry has a name, so that it can be left out for one run, and comes after those of other packages.
#[test]
fn apt_lists_our_hooks_by_name_and_last() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let lists = ["DPkg::Pre-Invoke", "DPkg::Pre-Install-Pkgs", "DPkg::Post-Invoke"];
    let others: String = lists.iter().map(|list| format!("{list}:: \"true\";\n")).collect();
    debian.write("/etc/apt/apt.conf.d/99localepurge", &others)?;

    let dump = debian.must("apt-config", &["dump"])?;

    for list in lists {
        let entries: Vec<&str> = dump.lines().filter(|line| line.starts_with(&format!("{list}::"))).collect();
        assert!(entries.len() > 1, "{entries:?}");
        let ours = format!("{list}::rokeep ");
        assert!(entries.last().is_some_and(|entry| entry.starts_with(&ours)), "{entries:?}");
        assert_eq!(entries.iter().filter(|entry| entry.contains("rokeep")).count(), 1, "{entries:?}");
    }
    Ok(())
}

/// "man rokeep" is there for whoever has the package, and so is what their shell completes.
#[test]
fn the_package_brings_the_manual() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep_as_it_is()?;
    let listed = debian.must("dpkg", &["--listfiles", "rokeep"])?;
    for path in [
        "/usr/share/man/man8/rokeep.8.gz",
        "/usr/share/man/man5/rokeep.toml.5.gz",
        "/usr/share/bash-completion/completions/rokeep",
        "/usr/share/zsh/vendor-completions/_rokeep",
        "/usr/share/fish/vendor_completions.d/rokeep.fish",
        "/usr/share/doc/rokeep/README.md.gz",
    ] {
        assert!(listed.lines().any(|line| line == path), "{path} is not in\n{listed}");
    }
    Ok(())
}

/// The package can be removed; its hooks stay, as conffiles do, and let apt work.
#[test]
fn hooks_without_their_program_let_apt_work() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    debian.must("rm", &["/usr/sbin/rokeep"])?;

    for arguments in
        [&["-y", "install", &package][..], &["-y", "install", "--reinstall", &package], &["-y", "remove", "tool"]]
    {
        let run = debian.apt(arguments)?;
        assert_eq!(run.code, 0, "{run:?}");
    }
    // They did run, and had nothing to say against it.
    let hooks = debian.hooks()?;
    assert!(hooks.0.len() >= 9 && hooks.0.iter().all(|hook| hook.code == 0), "{hooks:?}");
    Ok(())
}
