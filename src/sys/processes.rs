//! Processes: who called us, who still lives, and what a person calls them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use nix::fcntl::FcntlArg;
use nix::libc;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use procfs::ProcError;
use procfs::process::Process;

use super::files::Root;
use super::kernel::{self, LastLink};
use super::mounts;
use crate::core::cgroup;
use crate::core::holder;
use crate::core::inode::Inode;
use crate::core::session::Frontend;

/// Programs that stand between a package manager and its hook.
const SHELLS: [&str; 5] = ["sh", "dash", "bash", "busybox", "zsh"];

/// Processes end and their ids are given anew while one looks: nothing may send us round in circles.
const LONGEST_DESCENT: usize = 100;

/// How apt runs a hook (apt-pkg/contrib/fileutl.cc RunScripts, apt-pkg/deb/dpkgpm.cc RunScriptsWithPkgs), and how dpkg does
/// (src/main/main.c run_invoke_hooks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledBy {
    /// Pre-Invoke and Post-Invoke: by a forked copy of itself, which is gone when the hook is.
    ForkedCopy,
    /// Pre-Install-Pkgs: by itself.
    Itself,
    /// dpkg's hooks: by dpkg, which is the package manager where nobody else called it.
    Dpkg,
}

/// The package manager that called this hook: upwards past the shells, and past its forked copy.
///
/// No further, though the program may stay the same: a daemon that forks a child for each package run is not the run.
///
/// # Errors
/// Where /proc cannot be read.
pub fn frontend(called_by: CalledBy) -> Result<Frontend> {
    if called_by == CalledBy::Dpkg {
        return dpkg_above_me().context("no dpkg called this hook");
    }
    let mut caller = parent_of(&Process::myself()?)?;
    while is_shell(&caller) {
        match parent_of(&caller) {
            Ok(parent) => caller = parent,
            Err(_) => break,
        }
    }
    let orphaned = caller.pid == 1 && called_by == CalledBy::ForkedCopy;
    ensure!(!orphaned, "the package manager that called this hook is gone");
    let copied = match called_by {
        CalledBy::Itself | CalledBy::Dpkg => None,
        CalledBy::ForkedCopy => parent_of(&caller).ok().filter(|parent| {
            let program = program_of(&caller);
            program.is_some() && program_of(parent) == program
        }),
    };
    describe(copied.as_ref().unwrap_or(&caller))
}

/// The nearest one above this process.
fn dpkg_above_me() -> Option<Frontend> {
    let is_dpkg = |process: &Frontend| process.command == "dpkg" || program_is(process.pid, &["dpkg"]);
    let mut next = describe_by(nix::unistd::getppid().as_raw());
    for _ in 0..LONGEST_DESCENT {
        let (process, parent) = next?;
        if is_dpkg(&process) {
            return Some(process);
        }
        next = describe_by(parent);
    }
    None
}

/// Whether its command line says that a package manager only pretends, see [`crate::core::frontend::only_pretends`].
pub fn only_pretends(frontend: &Frontend) -> bool {
    let line = command_line(frontend);
    let arguments: Vec<&[u8]> = line.split(|b| *b == 0).collect();
    crate::core::frontend::only_pretends(&arguments)
}

/// Its command line, each word ended by NUL; nothing where it cannot be read.
///
/// For the caller only, which waits for us: a command line is read from the memory of a process, and one that does not let
/// go of that keeps its readers waiting for ever. What else is read here by process id is the kernel's own.
pub fn command_line(caller: &Frontend) -> Vec<u8> {
    fs::read(format!("/proc/{}/cmdline", caller.pid)).unwrap_or_default()
}

/// The directory in which its relative paths are meant.
///
/// # Errors
/// Where it is gone.
pub fn directory(caller: &Frontend) -> Result<PathBuf> {
    fs::read_link(format!("/proc/{}/cwd", caller.pid)).context("cannot tell in which directory dpkg was started")
}

/// This process, where a person is the frontend.
///
/// # Errors
/// Where /proc cannot be read.
pub fn myself() -> Result<Frontend> {
    describe(&Process::myself()?)
}

/// Whether that very process still runs. A zombie does not. Where it cannot be told, it does.
pub fn is_alive(frontend: &Frontend) -> bool {
    match Process::new(frontend.pid).and_then(|process| process.stat()) {
        Ok(stat) => stat.starttime == frontend.started && !matches!(stat.state, 'Z' | 'X' | 'x'),
        Err(ProcError::NotFound(_)) => false,
        Err(_) => true,
    }
}

/// Whether it stands still until somebody lets it go on: after Ctrl-Z, SIGSTOP, or under a debugger.
pub fn is_stopped(pid: i32) -> bool {
    let stat = Process::new(pid).and_then(|process| process.stat());
    stat.is_ok_and(|stat| matches!(stat.state, 'T' | 't'))
}

/// How long a process has run, all of its threads together, those that have ended too: nanoseconds on a processor (CPU-time
/// clock, clock_getcpuclockid(3)). `None` where it is gone.
///
/// The kernel counts when a task stops running, and at every tick while it runs (fs/posix-cpu-timers.c takes the sum of
/// `sum_exec_runtime`): what has not changed for longer than a tick is that of a process that has not run.
pub fn ran(pid: i32) -> Option<u64> {
    let time = clock_getcpuclockid(Pid::from_raw(pid)).and_then(ClockId::now).ok()?;
    u64::try_from(time.num_nanoseconds()).ok()
}

/// The dpkg that has the package database locked now.
///
/// dpkg holds a record lock on the whole of this file while it works (dpkg lib/dpkg/db-ctrl-access.c). apt holds it too
/// between its dpkg runs, so the holder must be a dpkg.
pub fn dpkg_at_work(root: &Root) -> Option<Frontend> {
    let holder = holder_of(root, "/var/lib/dpkg/lock")?;
    by_pid(holder).ok().filter(|holder| holder.command == "dpkg")
}

/// Whether somebody has locked the package database, so that a dpkg that starts now gives up: it waits for nobody. A dpkg
/// whose caller has the outer one of the two locks is told so in its environment.
pub fn packages_are_locked(root: &Root) -> bool {
    let by_our_caller = std::env::var_os("DPKG_FRONTEND_LOCKED").is_some();
    let outer = || !by_our_caller && holder_of(root, "/var/lib/dpkg/lock-frontend").is_some();
    outer() || holder_of(root, "/var/lib/dpkg/lock").is_some()
}

/// The process that has a record lock on this file.
fn holder_of(root: &Root, file: &str) -> Option<i32> {
    let file = fs::File::open(root.path(file)).ok()?;
    let mut lock =
        libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
    nix::fcntl::fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
}

/// The process's command name; nothing where it is gone.
pub fn command(root: &Root, pid: i32) -> String {
    let name = fs::read(root.path(&format!("/proc/{pid}/comm"))).unwrap_or_default();
    String::from_utf8_lossy(name.trim_ascii_end()).into_owned()
}

/// Whether there may be processes that /proc does not show to us: `hidepid` (proc(5)) shows one only to who may trace it.
///
/// # Errors
/// Where /proc cannot be read.
pub fn may_be_hidden(root: &Root) -> Result<bool> {
    const CAP_SYS_PTRACE: u32 = 19;
    let path = root.path("/proc/thread-self/status");
    let cannot_read = || format!("cannot read {}", path.display());
    let proc = root.open_dir(Path::new("/proc"))?.with_context(cannot_read)?;
    let id = proc.stat()?.mount_id;
    if !mounts::table(root)?.iter().any(|mount| mount.id == id && mount.hides_processes) {
        return Ok(false);
    }
    let status = fs::read_to_string(&path).with_context(cannot_read)?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    let capabilities = u64::from_str_radix(capabilities.trim(), 16).unwrap_or(0);
    Ok(capabilities & (1 << CAP_SYS_PTRACE) == 0)
}

/// A process that holds something, as a person knows it. In which ways is for the caller to say.
pub fn describe_holder(root: &Root, pid: i32) -> holder::Process {
    let ticks = Process::new(pid).and_then(|process| process.stat()).map(|stat| stat.starttime).ok();
    // The kernel counts every interrupt for whoever asks when it was started.
    static BOOTED: OnceLock<Option<u64>> = OnceLock::new();
    let booted = *BOOTED.get_or_init(|| procfs::boot_time_secs().ok());
    let started = ticks.and_then(|ticks| Some(booted? + ticks / procfs::ticks_per_second()));
    let groups = fs::read_to_string(root.path(&format!("/proc/{pid}/cgroup"))).unwrap_or_default();
    let place = cgroup::place(&groups);
    holder::Process {
        pid,
        command: command(root, pid),
        unit: place.map(|place| place.unit.to_owned()),
        user: place.and_then(|place| place.user),
        user_unit: place.and_then(|place| place.user_unit).map(str::to_owned),
        started,
        uses: BTreeSet::new(),
    }
}

/// Whether it is one of these processes, or was started by one of them, or by one that was, and so on.
pub fn descends_from(pid: i32, ancestors: &[Frontend]) -> bool {
    if ancestors.is_empty() {
        return false;
    }
    let mut next = describe_by(pid);
    for _ in 0..LONGEST_DESCENT {
        let Some((process, parent)) = next else { return false };
        if ancestors.iter().any(|ancestor| ancestor.is(&process)) {
            return true;
        }
        next = describe_by(parent);
    }
    false
}

/// See [`descends_from`], of this process.
pub fn i_descend_from(ancestors: &[Frontend]) -> bool {
    descends_from(nix::unistd::getpid().as_raw(), ancestors)
}

/// A process by its id.
///
/// # Errors
/// Where there is none.
pub fn by_pid(pid: i32) -> Result<Frontend> {
    describe(&Process::new(pid)?)
}

/// A process, and its parent's id.
fn describe_by(pid: i32) -> Option<(Frontend, i32)> {
    let stat = Process::new(pid).and_then(|process| process.stat()).ok()?;
    Some((Frontend { pid: stat.pid, started: stat.starttime, command: stat.comm }, stat.ppid))
}

fn describe(process: &Process) -> Result<Frontend> {
    let stat = process.stat()?;
    Ok(Frontend { pid: stat.pid, started: stat.starttime, command: stat.comm })
}

/// By its program: the command name of a script's shell is the script's.
fn is_shell(process: &Process) -> bool {
    program_is(process.pid, &SHELLS)
}

/// Whether it is a rokeep, as far as its program's name tells: one that was replaced meanwhile, too.
pub fn is_rokeep(pid: i32) -> bool {
    program_is(pid, &["rokeep"])
}

/// Whether its program's file has one of these names, or had.
fn program_is(pid: i32, names: &[&str]) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    names.contains(&name.trim_end_matches(" (deleted)"))
}

fn parent_of(process: &Process) -> Result<Process> {
    Ok(Process::new(process.stat()?.ppid)?)
}

fn program_of(process: &Process) -> Option<Inode> {
    let proc = nix::fcntl::open(
        format!("/proc/{}", process.pid).as_str(),
        nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    );
    kernel::stat(proc.ok()?, OsStr::new("exe"), LastLink::Target).ok().map(|stat| stat.inode)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    #[test]
    fn a_process_descends_from_whoever_started_it_and_not_from_another_with_that_id() {
        let me = myself().expect("this process");
        let parent = describe(&parent_of(&Process::myself().expect("this process")).expect("its parent"));
        let parent = parent.expect("its parent");
        assert!(descends_from(me.pid, from_ref(&me)));
        assert!(descends_from(me.pid, from_ref(&parent)));
        assert!(!descends_from(parent.pid, from_ref(&me)));
        assert!(!descends_from(me.pid, &[Frontend { started: parent.started + 1, ..parent }]));
        assert!(!descends_from(me.pid, &[]));
    }
}
