//! Runs that end too soon, one for each way in which apt and dpkg are known to. A program runs while it is upgraded: two
//! seconds after apt has gone /usr is read-only, no session is left, and what was replaced in use is kept, and only that.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bare_dpkg::offer;
use super::mishaps::wait_until;
use crate::support::debian::{Debian, Terminal};
use crate::support::sandbox::Access::{ReadOnly, Writable};
use crate::support::status::SessionStatus;

// ── apt stops, and calls no Post-Invoke ─────────────────────────────────────────────────────────────────────────────

/// Before ours, nothing is opened for it.
#[test]
fn a_pre_invoke_hook_of_another_package_fails() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    for (name, opens) in [("20etckeeper", false), ("zzz-etckeeper", true)] {
        let made_writable = upgrade.debian.times_made_writable()?;
        upgrade.neighbour(name, "DPkg::Pre-Invoke", "exit 7")?;

        let run = upgrade.debian.apt(&["-y", "install", &upgrade.new])?;

        assert_eq!(run.code, 100, "{name}: {run:?}");
        upgrade.is_closed()?;
        assert_eq!(upgrade.debian.times_made_writable()? > made_writable, opens, "{name}: {run:?}");
        assert_eq!(upgrade.debian.aliases()?, Vec::<String>::new());
        upgrade.without_neighbour(name)?;
    }
    Ok(())
}

/// For more than a few archives apt makes a directory of links to them, after all hooks have run.
#[test]
fn apt_gives_up_before_it_starts_dpkg() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    let others = ["a", "b", "c", "d", "e", "f", "g"];
    let others = others.map(|name| upgrade.debian.package(&format!("other-{name}"), "1")?.build());
    let others: Vec<String> = others.into_iter().collect::<Result<_>>()?;
    upgrade.neighbour("zzz-full", "DPkg::Pre-Install-Pkgs", "mount -t tmpfs -o ro tmpfs /tmp")?;

    let arguments = [&["-y", "install", &upgrade.new][..], &others.iter().map(String::as_str).collect::<Vec<_>>()];
    let run = upgrade.debian.apt(&arguments.concat())?;

    assert!(run.code == 100 && run.stderr.contains("mkdtemp"), "{run:?}");
    upgrade.is_closed()?;
    upgrade.nothing_was_replaced()
}

// ── something fails after dpkg has started ──────────────────────────────────────────────────────────────────────────

#[test]
fn a_postinst_fails() -> Result<()> {
    let upgrade = Upgrade::ready("exit 7")?;
    let run = upgrade.debian.apt(&["-y", "install", &upgrade.new])?;
    assert_eq!(run.code, 100, "{run:?}");
    assert_eq!(upgrade.debian.usr()?, ReadOnly, "{run:?}");
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

/// apt calls none of those after it.
#[test]
fn a_post_invoke_hook_of_another_package_fails_before_ours() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    upgrade.neighbour("20etckeeper", "DPkg::Post-Invoke", "exit 7")?;
    let run = upgrade.debian.apt(&["-y", "install", &upgrade.new])?;
    assert_eq!(run.code, 100, "{run:?}");
    assert_eq!(upgrade.hooks_named("/post-invoke")?, 0, "{run:?}");
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

#[test]
fn dpkg_is_killed() -> Result<()> {
    let upgrade = Upgrade::ready(WAIT)?;
    let mut terminal = upgrade.apt_waits(&[])?;
    upgrade.debian.kill(upgrade.process("^dpkg$")?)?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, 100, "{seen}");
    assert_eq!(upgrade.debian.usr()?, ReadOnly, "{seen}");
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

/// Without a terminal of dpkg's own it is not told.
#[test]
fn dpkg_is_killed_and_its_postinst_is_not() -> Result<()> {
    let upgrade = Upgrade::ready(WAIT)?;
    let mut terminal = upgrade.apt_waits(&["-o", "Dpkg::Use-Pty=0"])?;
    upgrade.debian.kill(upgrade.process("^dpkg$")?)?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, 100, "{seen}");
    assert_eq!(upgrade.debian.usr()?, ReadOnly, "{seen}");
    upgrade.is_closed()?;
    upgrade.go_on().context("the postinst is gone too")?;
    upgrade.what_was_replaced_is_kept()
}

// ── Ctrl-C ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The mounts are open, and nothing is protected.
#[test]
fn by_a_person_during_pre_invoke() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    upgrade.neighbour("zzz-etckeeper", "DPkg::Pre-Invoke", WAIT)?;
    let mut terminal = upgrade.apt_waits(&[])?;
    terminal.interrupt()?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, OF_SIGINT, "{seen}");
    upgrade.is_closed()?;
    assert_eq!(upgrade.debian.aliases()?, Vec::<String>::new());
    upgrade.nothing_was_replaced()
}

/// Everything is protected, and dpkg does not start.
#[test]
fn by_a_person_during_pre_install_pkgs() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    upgrade.neighbour("zzz-listchanges", "DPkg::Pre-Install-Pkgs", WAIT)?;
    let mut terminal = upgrade.apt_waits(&[])?;
    terminal.interrupt()?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, 100, "{seen}");
    upgrade.is_closed()?;
    assert_eq!(upgrade.debian.aliases()?, [upgrade.inode.to_string()]);
    upgrade.nothing_was_replaced()
}

/// apt lets the dpkg that it has started finish.
#[test]
fn by_a_person_while_dpkg_works() -> Result<()> {
    let upgrade = Upgrade::ready(WAIT)?;
    let mut terminal = upgrade.apt_waits(&[])?;
    terminal.interrupt()?;
    upgrade.go_on()?;
    let (code, seen) = terminal.ended()?;
    assert!(code == 0 && seen.contains("interrupted"), "{code}: {seen}");
    assert_eq!(upgrade.debian.usr()?, ReadOnly, "{seen}");
    assert_eq!(upgrade.debian.installed_version("tool")?.as_deref(), Some("2"), "{seen}");
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

#[test]
fn by_a_person_during_post_invoke_before_ours() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    upgrade.neighbour("20localepurge", "DPkg::Post-Invoke", WAIT)?;
    let mut terminal = upgrade.apt_waits(&[])?;
    terminal.interrupt()?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, OF_SIGINT, "{seen}");
    assert_eq!(upgrade.hooks_named("/post-invoke")?, 0, "{seen}");
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

/// Ours is not to be interrupted.
#[test]
fn by_a_person_during_our_post_invoke() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    let (mut terminal, hook) = upgrade.our_hook_waits("DPkg::Post-Invoke", "post-invoke")?;
    terminal.interrupt()?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, OF_SIGINT, "{seen}");
    assert!(upgrade.debian.outside(&format!("/proc/{hook}")).exists(), "our hook was interrupted: {seen}");
    upgrade.go_on()?;
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

// ── the terminal, apt, or our own hook goes ─────────────────────────────────────────────────────────────────────────

/// apt goes on without it.
#[test]
fn the_terminal_is_lost() -> Result<()> {
    let upgrade = Upgrade::ready(WAIT)?;
    drop(upgrade.apt_waits(&[])?);
    assert_eq!(upgrade.debian.usr()?, Writable);
    upgrade.go_on()?;
    upgrade.is_gone("apt-get")?;
    assert_eq!(upgrade.debian.installed_version("tool")?.as_deref(), Some("2"));
    assert_eq!(upgrade.hooks_named("/post-invoke")?, 1);
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

/// dpkg does not end with its terminal, as apt has it ignore that, but when it has something to say.
#[test]
fn apt_is_terminated_while_dpkg_works() -> Result<()> {
    apt_ends_by("TERM", 128 + 15)
}

/// As by a kernel that is out of memory.
#[test]
fn apt_is_killed_while_dpkg_works() -> Result<()> {
    apt_ends_by("KILL", 128 + 9)
}

fn apt_ends_by(signal: &str, expected: i32) -> Result<()> {
    let upgrade = Upgrade::ready(&format!("{WAIT}; touch /usr/share/written-late"))?;
    let debian = &upgrade.debian;
    let mut terminal = upgrade.apt_waits(&[])?;
    let (apt, dpkg) = (upgrade.process("^apt-get$")?, upgrade.process("^dpkg$")?);
    debian.must("kill", &[&format!("-{signal}"), &apt.to_string()])?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, expected, "{seen}");
    let is_of_dpkg = |session: SessionStatus| session.frontends.iter().map(|frontend| frontend.pid).eq([dpkg]);
    wait_until(Duration::from_secs(2), || Ok(debian.status()?.session.is_some_and(is_of_dpkg)))?;
    assert_eq!(debian.usr()?, Writable);
    upgrade.go_on()?;
    upgrade.is_gone("dpkg")?;
    upgrade.is_closed()?;
    assert!(debian.outside("/usr/share/written-late").exists(), "its postinst could not write: {seen}");
    // It could not tell apt that it was done.
    assert_eq!(debian.installed_version("tool")?, None, "{seen}");
    upgrade.what_was_replaced_is_kept()
}

/// apt does not survive that, and our hook does.
#[test]
fn the_terminal_is_lost_during_our_post_invoke() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    let (terminal, hook) = upgrade.our_hook_waits("DPkg::Post-Invoke", "post-invoke")?;
    drop(terminal);
    upgrade.is_gone("apt-get")?;
    assert!(upgrade.debian.outside(&format!("/proc/{hook}")).exists(), "our hook has ended");
    upgrade.go_on()?;
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

/// What calls the hooks lives on, and calls ours when nothing is left to do.
#[test]
fn apt_is_terminated_during_post_invoke() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    upgrade.neighbour("20localepurge", "DPkg::Post-Invoke", WAIT)?;
    let mut terminal = upgrade.apt_waits(&[])?;
    upgrade.debian.must("kill", &["-TERM", &upgrade.process("^apt-get$")?.to_string()])?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, 128 + 15, "{seen}");
    upgrade.is_closed()?;
    upgrade.go_on().context("the hook of the other package is gone too")?;
    wait_until(PATIENCE, || Ok(upgrade.hooks_named("/post-invoke")? == 1))?;
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

#[test]
fn our_hook_is_killed_during_pre_install_pkgs() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    let (mut terminal, hook) = upgrade.our_hook_waits("DPkg::Pre-Install-Pkgs", "pre-install-pkgs")?;
    upgrade.debian.kill(hook)?;
    upgrade.go_on()?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, 100, "{seen}");
    upgrade.is_closed()?;
    upgrade.nothing_was_replaced()
}

/// That does not fail a good upgrade.
#[test]
fn our_hook_is_killed_during_post_invoke() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    let (mut terminal, hook) = upgrade.our_hook_waits("DPkg::Post-Invoke", "post-invoke")?;
    upgrade.debian.kill(hook)?;
    upgrade.go_on()?;
    let (code, seen) = terminal.ended()?;
    assert_eq!(code, 0, "{seen}");
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

// ── many small runs ─────────────────────────────────────────────────────────────────────────────────────────────────

/// It stops at the first that fails: none does, though a file that one of them replaces stays in use.
#[test]
fn unattended_upgrade_takes_small_steps() -> Result<()> {
    let upgrade = Upgrade::ready("")?;
    let Upgrade { debian, new, .. } = &upgrade;
    let others = ["other-a", "other-b"];
    let build = |name: &str, version| debian.package(name, version)?.file(&format!("/usr/share/{name}"))?.build();
    let mut offered = vec![new.clone()];
    for name in others {
        debian.must("dpkg", &["--install", &build(name, "1")?])?;
        offered.push(build(name, "2")?);
    }
    offer(debian, &offered.iter().map(String::as_str).collect::<Vec<_>>())?;
    debian.write("/etc/apt/apt.conf.d/zz-offered", "Unattended-Upgrade::Origins-Pattern:: \"origin=*\";\n")?;

    let run = debian.run("unattended-upgrade", &["--verbose"])?;

    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(debian.usr()?, ReadOnly, "{run:?}");
    for name in ["tool", "other-a", "other-b"] {
        assert_eq!(debian.installed_version(name)?.as_deref(), Some("2"), "{name}: {run:?}");
    }
    assert_eq!(upgrade.hooks_named("/post-invoke")?, offered.len(), "{run:?}");
    upgrade.is_closed()?;
    upgrade.what_was_replaced_is_kept()
}

// ── the system ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// A system with rokeep, in which a program runs that can be upgraded.
pub struct Upgrade {
    pub debian: Debian,
    /// The archive of its next version.
    pub new: String,
    /// The process that runs it.
    user: u32,
    /// The file that it runs.
    pub inode: u64,
}

impl Upgrade {
    /// `postinst` is what the next version does once it is unpacked.
    pub fn ready(postinst: &str) -> Result<Upgrade> {
        let debian = Debian::bookworm()?.with_rokeep()?;
        let old = debian.package("tool", "1")?.program(TOOL)?.build()?;
        let new = debian.package("tool", "2")?.program(TOOL)?.script("postinst", postinst)?.build()?;
        debian.must("dpkg", &["--install", &old])?;
        debian.must("mkfifo", &[GO_ON])?;
        let debian = debian.read_only()?;
        let user = debian.spawn(TOOL, &["1000000"])?;
        let inode = debian.outside(TOOL).metadata()?.ino();
        Ok(Upgrade { debian, new, user, inode })
    }

    /// Adds a hook of another package. Ours are in a file called `zz-rokeep`.
    pub fn neighbour(&self, name: &str, list: &str, command: &str) -> Result<()> {
        self.debian.write(&format!("/etc/apt/apt.conf.d/{name}"), &format!("{list}:: \"{command}\";\n"))
    }

    fn without_neighbour(&self, name: &str) -> Result<()> {
        self.debian.must("rm", &[&format!("/etc/apt/apt.conf.d/{name}")])?;
        Ok(())
    }

    /// A person upgrades the program, and apt comes to where it [waits](WAIT).
    fn apt_waits(&self, options: &[&str]) -> Result<Terminal<'_>> {
        self.waits("apt-get", &[options, &["-y", "install", &self.new]].concat())
    }

    /// The same, by another program.
    pub fn waits(&self, program: &str, arguments: &[&str]) -> Result<Terminal<'_>> {
        let mut terminal = self.debian.on_a_terminal(program, arguments)?;
        let waits = wait_until(PATIENCE, || Ok(self.debian.outside(WAITING).exists()));
        waits.with_context(|| format!("{program} does not come that far: {:?}", terminal.seen()))?;
        // Who is only on the way there may not hear of a Ctrl-C.
        wait_until(PATIENCE, || Ok(self.process(WAITS).is_ok()))?;
        assert_eq!(self.debian.usr()?, Writable);
        Ok(terminal)
    }

    /// The same, and it comes to our hook in that list, which waits for another rokeep; with its process id.
    fn our_hook_waits(&self, list: &str, hook: &str) -> Result<(Terminal<'_>, u32)> {
        self.debian.write_script(ANOTHER_ROKEEP, ANOTHER_ROKEEP_AT_WORK)?;
        self.neighbour("20another-rokeep", list, ANOTHER_ROKEEP)?;
        let terminal = self.apt_waits(&[])?;
        let command = format!("^/usr/sbin/rokeep hook {hook}$");
        wait_until(PATIENCE, || Ok(self.process(&command).is_ok()))?;
        Ok((terminal, self.process(&command)?))
    }

    /// Lets go on what waits.
    pub fn go_on(&self) -> Result<()> {
        self.debian.must("timeout", &["10", "sh", "-c", &format!(": >{GO_ON}")])?;
        Ok(())
    }

    /// The oldest process whose name, or command line if that has spaces, is like this.
    pub fn process(&self, like: &str) -> Result<u32> {
        let full: &[&str] = if like.contains(' ') { &["--full"] } else { &[] };
        Ok(self.debian.must("pgrep", &[full, &["--oldest", like]].concat())?.trim().parse()?)
    }

    pub fn is_gone(&self, name: &str) -> Result<()> {
        wait_until(PATIENCE, || Ok(self.debian.run("pgrep", &["--exact", name])?.code == 1))
    }

    /// How many of our hooks of this name have ended by themselves.
    pub fn hooks_named(&self, name: &str) -> Result<usize> {
        Ok(self.debian.hooks()?.0.iter().filter(|hook| hook.command.ends_with(name)).count())
    }

    /// In the time that the watch has for it, and it stays so.
    pub fn is_closed(&self) -> Result<()> {
        let debian = &self.debian;
        wait_until(Duration::from_secs(2), || Ok(debian.usr()? == ReadOnly && debian.status()?.session.is_none()))?;
        let status = debian.settled()?.status()?;
        assert_eq!(debian.usr()?, ReadOnly, "{status:#?}");
        assert!(status.session.is_none() && status.problems.is_empty(), "{status:#?}");
        Ok(())
    }

    /// Its user is named, and once that has ended nothing is left.
    pub fn what_was_replaced_is_kept(&self) -> Result<()> {
        let debian = &self.debian;
        assert_ne!(debian.outside(TOOL).metadata()?.ino(), self.inode);
        let status = debian.status()?;
        assert_eq!(debian.aliases()?, [self.inode.to_string()], "{status:#?}");
        assert!(!status.uses(TOOL, self.user).is_empty(), "{status:#?}");
        debian.kill(self.user)?;
        debian.must("rokeep", &["cleanup"])?;
        assert!(!debian.has_store(), "{:?}", debian.aliases()?);
        assert_eq!(debian.usr()?, ReadOnly);
        Ok(())
    }

    /// And the upgrade goes well when it is tried again.
    pub fn nothing_was_replaced(&self) -> Result<()> {
        let debian = &self.debian;
        assert_eq!(debian.outside(TOOL).metadata()?.ino(), self.inode);
        debian.must("dpkg", &["--install", &self.new])?;
        self.is_closed()?;
        self.what_was_replaced_is_kept()
    }
}

const TOOL: &str = "/usr/bin/tool";

/// For what has to happen, on a machine that has much to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Says that it is there and waits to be let go, in a hook or a maintainer script.
pub const WAIT: &str = "touch /run/waiting; cat /run/go-on";
pub const WAITING: &str = "/run/waiting";
const WAITS: &str = "^cat /run/go-on$";
const GO_ON: &str = "/run/go-on";

/// What a shell says of a program that ended by Ctrl-C.
const OF_SIGINT: i32 = 128 + 2;

/// Has the lock for as long as it waits.
const ANOTHER_ROKEEP: &str = "/etc/another-rokeep";
const ANOTHER_ROKEEP_AT_WORK: &str = r#"#!/bin/sh
setsid flock /run/rokeep/lock sh -c 'touch /run/waiting; cat /run/go-on' </dev/null >/dev/null 2>&1 &
until [ -e /run/waiting ]; do sleep 0.05; done
"#;
