//! dpkg without apt: a person calls it, or a program that does not go through apt. Its own hooks do what apt's would.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::mishaps::{usr_is_read_only_and_nothing_is_left, wait_until};
use super::scene::{Scene, scene};
use crate::support::debian::{Debian, Run};
use crate::support::sandbox::Access::{ReadOnly, Writable};

// ── with files in use ───────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn an_installation_a_removal_and_a_purge() -> Result<()> {
    scene(|scene| {
        let (old, new) = (tool(scene, "1")?, tool(scene, "2")?);
        scene.installed(&[&old])?;
        let files = ["/usr/bin/tool", "/usr/share/data-of-tool"];

        scene.when_dpkg(&["-i", &new]).frees(&files)?;
        scene.when_dpkg(&["--install", "--force-downgrade", "-D1", &old]).frees(&files)?;
        scene.when_dpkg(&["-E", "-i", &old]).leaves(&files).frees_nothing()?;
        scene.when_dpkg(&["-R", "-i", directory_of(&new)?]).frees(&files)?;
        scene.when_dpkg(&["-r", "tool"]).frees(&files)?;
        // Only its settings are there any more.
        scene.when_dpkg(&["-P", "tool"]).frees_nothing()?;
        scene.installed(&[&new])?;
        scene.when_dpkg(&["--purge", "tool"]).frees(&files)
    })
}

#[test]
fn in_two_steps() -> Result<()> {
    scene(|scene| {
        let (old, new) = (tool(scene, "1")?, tool(scene, "2")?);
        scene.installed(&[&old])?;
        let files = ["/usr/bin/tool", "/usr/share/data-of-tool"];

        scene.when_dpkg(&["--unpack", &new]).frees(&files)?;
        scene.when_dpkg(&["--configure", "-a"]).leaves(&files).frees_nothing()?;
        scene.must("sh", &["-c", "echo tool deinstall | dpkg --set-selections"])?;
        scene.when_dpkg(&["--remove", "--pending"]).frees(&files)
    })
}

/// A trigger builds a cache anew that was in use before.
#[test]
fn what_is_generated_while_it_configures() -> Result<()> {
    const CACHE: &str = "/usr/share/cache-of-tool";
    scene(|scene| {
        let build_anew = format!("date > {CACHE}.new; mv {CACHE}.new {CACHE}");
        let build = |version| scene.package("tool", version)?.script("postinst", &build_anew)?.build();
        scene.installed(&[&build("1")?])?;
        let new = build("2")?;
        scene.when_dpkg(&["--unpack", &new]).frees_nothing()?;
        scene.when_dpkg(&["--configure", "-a"]).mapped_before().frees(&[CACHE])
    })
}

fn tool(scene: &Scene, version: &str) -> Result<String> {
    let tool = scene.package("tool", version)?.program("/usr/bin/tool")?.file("/usr/share/data-of-tool")?;
    tool.conffile("/etc/tool.conf")?.build()
}

fn directory_of(archive: &str) -> Result<&str> {
    Path::new(archive).parent().and_then(Path::to_str).context("an archive has a directory")
}

// ── when it goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────

/// What the others are for.
#[test]
fn control_without_our_hook_it_breaks_the_package() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let build = |version| debian.package("tool", version)?.program("/usr/bin/tool")?.build();
    debian.must("dpkg", &["-i", &build("1")?])?;
    let new = build("2")?;
    debian.must("rm", &["/etc/dpkg/dpkg.cfg.d/rokeep"])?;
    let debian = debian.read_only()?;
    let run = debian.run("dpkg", &["-i", &new])?;
    assert!(run.code != 0 && run.stderr.contains("Read-only file system"), "{run:?}");
    assert_eq!(debian.installed_version("tool")?, None, "{run:?}");
    Ok(())
}

#[test]
fn in_the_directory_of_the_archive() -> Result<()> {
    let debian = ready(|debian| debian.package("tool", "1")?.program("/usr/bin/tool")?.build())?;
    let script = "cd \"${1%/*}\" && exec dpkg -i \"./${1##*/}\"";
    debian.must("sh", &["-c", script, "sh", &archive(&debian)?])?;
    assert_eq!(debian.installed_version("tool")?.as_deref(), Some("1"));
    usr_is_read_only_and_nothing_is_left(&debian)
}

#[test]
fn a_postinst_that_fails() -> Result<()> {
    let debian = ready(|debian| debian.package("tool", "1")?.script("postinst", "exit 7")?.build())?;
    let run = debian.run("dpkg", &["-i", &archive(&debian)?])?;
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(debian.usr()?, ReadOnly);
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// It gives up, and calls no hook at its end.
#[test]
fn an_archive_that_is_missing() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?.read_only()?;
    let run = debian.run("dpkg", &["-i", "/tmp/missing.deb"])?;
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("/tmp/missing.deb"), "{run:?}");
    usr_is_read_only_and_nothing_is_left(&debian)
}

#[test]
fn killed_in_the_middle() -> Result<()> {
    let slow = "touch /run/started; sleep 60";
    let debian = ready(|debian| debian.package("tool", "1")?.script("postinst", slow)?.build())?;
    let dpkg = debian.spawn("dpkg", &["-i", &archive(&debian)?])?;
    wait_until(Duration::from_secs(30), || Ok(debian.outside("/run/started").exists()))?;
    assert_eq!(debian.usr()?, Writable);
    debian.kill(dpkg)?;
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// dpkg would meet the read-only file system in the middle of a package and leave it broken; so it must not start.
#[test]
fn on_a_write_protected_disk_it_is_stopped_before_it_starts() -> Result<()> {
    let debian = ready(|debian| debian.package("tool", "1")?.program("/usr/bin/tool")?.build())?.write_protected()?;
    let status = debian.read("/var/lib/dpkg/status")?;
    let run = debian.run("dpkg", &["-i", &archive(&debian)?])?;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("rokeep: ") && run.stderr.contains("write-protected"), "{run:?}");
    assert!(debian.read("/var/lib/dpkg/status")? == status, "dpkg has done something");
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// The binary cannot run: nobody knows whether dpkg could write.
#[test]
fn a_broken_binary_stops_it_and_a_missing_one_does_not() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    for (breaking, code) in
        [(": > /usr/sbin/rokeep", 2), ("echo hello > /usr/sbin/rokeep", 2), ("rm /usr/sbin/rokeep", 0)]
    {
        debian.must("sh", &["-c", breaking])?;
        let run = debian.run("dpkg", &["--configure", "-a"])?;
        assert_eq!(run.code, code, "{breaking}: {run:?}");
    }
    Ok(())
}

/// In the middle of somebody's run, dpkg can write; that run may go well without.
#[test]
fn a_binary_that_breaks_or_is_killed_in_the_middle_of_a_run_does_not_stop_it() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    debian.write("/run/rokeep/session.json", "{}")?;
    for breaking in [": >", "echo hello >", "printf '#!/bin/sh\\nkill -KILL $$\\n' >"] {
        debian.must("sh", &["-c", &format!("{breaking} /usr/sbin/rokeep")])?;
        let run = debian.run("dpkg", &["--configure", "-a"])?;
        assert_eq!(run.code, 0, "{breaking}: {run:?}");
    }
    Ok(())
}

// ── beside apt ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// It cannot get the lock, and calls no hook at its end.
#[test]
fn while_apt_is_at_work() -> Result<()> {
    let slow = "touch /run/started; while [ ! -e /run/go-on ]; do sleep 0.1; done; touch /usr/share/written-late";
    let debian = ready(|debian| debian.package("slow", "1")?.script("postinst", slow)?.build())?;
    let other = debian.package("other", "1")?.program("/usr/bin/other")?.build()?;
    debian.spawn("apt-get", &["-y", "install", &archive(&debian)?])?;
    wait_until(Duration::from_secs(30), || Ok(debian.outside("/run/started").exists()))?;

    let run = debian.run("dpkg", &["-i", &other])?;

    assert_eq!(run.code, 2, "{run:?}");
    let only_apt_is_left = || {
        let session = debian.status()?.session.context("apt's session")?;
        let mut people: Vec<String> = session.frontends.into_iter().map(|frontend| frontend.command).collect();
        people.sort();
        Ok(people == ["apt-get", "dpkg"])
    };
    wait_until(Duration::from_secs(2), only_apt_is_left)?;
    assert_eq!(debian.usr()?, Writable);
    debian.write("/run/go-on", "")?;
    wait_until(Duration::from_secs(20), || Ok(debian.installed_version("slow")?.is_some()))?;
    wait_until(Duration::from_secs(20), || Ok(debian.usr()? == ReadOnly))?;
    assert!(debian.outside("/usr/share/written-late").exists());
    assert_eq!(debian.installed_version("other")?, None);
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// Of all the hooks of dpkg that apt's own dpkgs call, none opens or closes anything.
#[test]
fn the_dpkgs_of_apt_open_nothing() -> Result<()> {
    let debian = ready(|debian| debian.package("tool", "1")?.program("/usr/bin/tool")?.build())?;
    let made_writable = debian.times_made_writable()?;
    let run = debian.apt(&["-y", "install", &archive(&debian)?])?;
    assert_eq!(run.code, 0, "{run:?}");
    usr_is_read_only_and_nothing_is_left(&debian)?;
    let hooks = debian.hooks()?.0;
    let of_dpkg = |name: &str| hooks.iter().filter(|hook| hook.command.ends_with(name)).count();
    assert!(of_dpkg("dpkg-pre-invoke") >= 2, "{hooks:?}");
    assert_eq!(of_dpkg("dpkg-pre-invoke"), of_dpkg("dpkg-post-invoke"), "{hooks:?}");
    // Once for apt; once more, it may be, to drop what apt itself held.
    assert!(debian.times_made_writable()? <= made_writable + 2);
    Ok(())
}

/// It has what went wrong finished by a dpkg that it starts after apt's last hook.
#[test]
fn aptitude_finishes_what_went_wrong() -> Result<()> {
    let once = "[ -e /var/lib/tried ] || { touch /var/lib/tried; exit 1; }; touch /usr/share/written-late";
    let debian = ready(|debian| debian.package("tool", "1")?.script("postinst", once)?.build())?;
    offer(&debian, &[&archive(&debian)?])?;
    let run = debian.run("aptitude", &["--assume-yes", "install", "tool"])?;
    assert!(debian.outside("/usr/share/written-late").exists(), "{run:?}");
    assert_eq!(debian.installed_version("tool")?.as_deref(), Some("1"), "{run:?}");
    let hooks = debian.hooks()?.0;
    let last = |name: &str| hooks.iter().rposition(|hook| hook.command.ends_with(name));
    assert!(last("/dpkg-post-invoke") > last("/post-invoke"), "no dpkg came after apt's last hook: {hooks:?}");
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// gdebi and others install by it.
#[test]
fn python_apt_installs_an_archive() -> Result<()> {
    let debian = ready(|debian| debian.package("tool", "1")?.program("/usr/bin/tool")?.build())?;
    let script = "import sys, apt.debfile\narchive = apt.debfile.DebPackage(sys.argv[1])\n\
                  assert archive.check()\nsys.exit(archive.install())\n";
    let run = debian.run("python3", &["-c", script, &archive(&debian)?])?;
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(debian.installed_version("tool")?.as_deref(), Some("1"), "{run:?}");
    usr_is_read_only_and_nothing_is_left(&debian)
}

/// unattended-upgrades has the outer lock while it has a dpkg finish what was left.
#[test]
fn of_a_caller_that_has_the_outer_lock() -> Result<()> {
    let debian = ready(|debian| {
        let tool = debian.package("tool", "1")?.program("/usr/bin/tool")?;
        tool.script("postinst", "touch /usr/share/written-late")?.build()
    })?;
    debian.must("dpkg", &["--unpack", &archive(&debian)?])?;
    let configure = "import apt_pkg, os, subprocess, sys\napt_pkg.init()\napt_pkg.pkgsystem_lock()\n\
                     apt_pkg.pkgsystem_unlock_inner()\nos.environ['DPKG_FRONTEND_LOCKED'] = '1'\n\
                     sys.exit(subprocess.call(['dpkg', '--force-confold', '--configure', '-a']))\n";
    let run = debian.run("python3", &["-c", configure])?;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(debian.outside("/usr/share/written-late").exists(), "{run:?}");
    usr_is_read_only_and_nothing_is_left(&debian)
}

// ── when it has nothing to do ───────────────────────────────────────────────────────────────────────────────────────

/// Debian 12's dpkg calls its hooks for all of them.
#[test]
fn pretences_and_other_systems_open_nothing() -> Result<()> {
    let debian = ready(|debian| debian.package("tool", "1")?.program("/usr/bin/tool")?.build())?;
    debian.must("mkdir", &["-p", "/srv/x/var/lib/dpkg/info", "/srv/x/var/lib/dpkg/updates"])?;
    debian.write("/srv/x/var/lib/dpkg/status", "")?;
    let (archive, made_writable) = (archive(&debian)?, debian.times_made_writable()?);
    for arguments in [
        &["--no-act", "-i", &archive][..],
        &["--dry-run", "--install", &archive],
        &["--simulate", "--purge", "cron"],
        &["--root=/srv/x", "--configure", "-a"],
        &["--admindir=/srv/x/var/lib/dpkg", "--configure", "-a"],
        &["--instdir=/srv/x", "--configure", "-a"],
    ] {
        let before = debian.hooks()?.0.len();
        let run = debian.run("dpkg", arguments)?;
        assert_eq!(run.code, 0, "{arguments:?}: {run:?}");
        assert!(debian.hooks()?.0.len() > before, "{arguments:?} called no hook");
        assert_eq!(debian.settled()?.times_made_writable()?, made_writable, "{arguments:?}: {run:?}");
        assert!(debian.status()?.session.is_none());
    }
    usr_is_read_only_and_nothing_is_left(&debian)
}

// ── the system ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// With rokeep and a package that is not installed yet.
fn ready(package: impl Fn(&Debian) -> Result<String>) -> Result<Debian> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let archive = package(&debian)?;
    debian.write(WHERE, &archive)?;
    debian.read_only()
}

/// The package's archive.
fn archive(debian: &Debian) -> Result<String> {
    debian.read(WHERE)
}

const WHERE: &str = "/run/archive";

/// Makes these archives the ones that apt can fetch.
pub fn offer(debian: &Debian, archives: &[&str]) -> Result<Run> {
    let script = r#"
        mkdir /srv/offered
        cp "$@" /srv/offered/
        cd /srv/offered
        for file in *.deb; do
            dpkg-deb --field "$file"
            echo "Filename: ./$file"
            echo "Size: $(stat -c %s "$file")"
            echo "SHA256: $(sha256sum "$file" | cut -d ' ' -f 1)"
            echo
        done > Packages
        echo 'deb [trusted=yes] file:/srv/offered ./' > /etc/apt/sources.list
        apt-get update
    "#;
    let run = debian.run("sh", &[&["-euc", script, "sh"], archives].concat())?;
    ensure!(run.code == 0, "they cannot be offered: {run:?}");
    Ok(run)
}
