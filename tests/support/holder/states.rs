//! The states that a process can put a file into, each by its name.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags};

use super::{devices, elsewhere, io_uring, mapped, pins, say, sockets, wait};

/// A state: its name, what of the file is in use, and how a process gets there.
type State = (&'static str, &'static str, fn(&Path) -> Result<Kept>);

/// Whatever has to live on for a state to last.
pub type Kept = Box<dyn Any>;

/// The states that a process can be put into.
const STATES: &[State] = &[
    ("open", "a descriptor that can read", |path| kept(File::open(path))),
    ("writing", "a descriptor that can write", |path| kept(OpenOptions::new().append(true).open(path))),
    ("open-path", "a descriptor that can only name it (O_PATH)", open_path),
    ("open-path-among-others", "the same, and others that come and go all the time", open_path_among_others),
    ("mapped", "a mapping, its descriptor closed", mapped::mapped),
    ("mapped-shared", "a mapping that may be written through (MAP_SHARED), its descriptor closed", mapped::shared),
    ("mapped-all", "mappings of every file that PATH names, one a line", mapped::mapped_all),
    ("memory", "memory that looks like files: a memfd called PATH, /dev/zero, System V", mapped::memory),
    ("library", "mappings as ld.so makes them of a library, its descriptor closed", mapped::library),
    ("overlaid", "a mapping through an overlay that has its file system below", elsewhere::overlaid),
    ("executed", "the program that runs; PATH is a copy of this one", executed),
    ("script", "what runs the script PATH; it is a copy of this program", script),
    ("of-a-thread", "a descriptor of a thread that shares none", of_a_thread),
    ("without-leader", "a mapping of a process whose first thread has exited", without_leader),
    ("locked", "a record lock on all of it, as dpkg has on its database", locked),
    ("flocked", "what another rokeep has locked", flocked),
    ("cwd", "the current directory", |path| kept(nix::unistd::chdir(path))),
    ("root", "the root directory", |path| kept(nix::unistd::chroot(path))),
    ("link", "a descriptor that can only name a symbolic link (O_PATH|O_NOFOLLOW)", link),
    ("pipe", "the reading end of a named pipe", pipe),
    ("bound", "the name of a socket", |path| kept(UnixListener::bind(path))),
    ("nameless", "a directory with a file that has no name (O_TMPFILE)", nameless),
    ("in-flight", "a descriptor that was sent (SCM_RIGHTS) and not received, and no other", sockets::in_flight),
    ("io-uring", "a file registered with an io_uring, and no descriptor", io_uring::registered),
    ("loop", "the file behind a loop device that can only be read", devices::looped),
    ("swap", "what the kernel swaps to; PATH was made by swap-file", devices::swapped_to),
    ("mounted", "the source of a bind mount", elsewhere::mounted),
    ("landlocked", "the subject of a Landlock rule", pins::landlocked),
    ("probed", "a file with a uprobe in it", pins::probed),
    ("unread", "the subject of an fanotify event that nobody has read", pins::unread),
    ("watched", "the subject of an inotify watch", pins::watched),
    ("seen-from-above", "a file that an overlay above it has looked up", pins::seen_from_above),
    (
        "named-from-above",
        "a file that is named by a descriptor of an overlay above it (O_PATH)",
        pins::named_from_above,
    ),
];

/// Takes a file into a state, and stays in it until standard input ends.
pub fn hold(state: &str, path: &Path) -> Result<()> {
    let _kept = enter(state, path)?;
    wait()
}

/// The same, but only when told to.
pub fn hold_when_told(state: &str, path: &Path) -> Result<()> {
    say(&format!("{} ready", std::process::id()))?;
    io::stdin().read_line(&mut String::new())?;
    let _kept = enter(state, path)?;
    say("holds")?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Takes a file into a state, for as long as the returned value lives.
pub fn enter(state: &str, path: &Path) -> Result<Kept> {
    let (_, use_of_it, enter) = STATES.iter().find(|(name, ..)| *name == state).context("no such state")?;
    enter(path).with_context(|| format!("{path:?} cannot become {use_of_it}"))
}

pub fn kept<T: 'static, E: Into<anyhow::Error>>(state: Result<T, E>) -> Result<Kept> {
    Ok(Box::new(state.map_err(Into::into)?))
}

/// Others that /proc shows without a type, as those of an event loop.
fn open_path_among_others(path: &Path) -> Result<Kept> {
    for _ in 0..2 {
        std::thread::spawn(|| while Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).is_ok() {});
    }
    open_path(path)
}

pub fn open_path(path: &Path) -> Result<Kept> {
    kept(OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path))
}

fn link(path: &Path) -> Result<Kept> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    kept(OpenOptions::new().read(true).custom_flags(flags.bits()).open(path))
}

/// Opening waits for a writer otherwise.
fn pipe(path: &Path) -> Result<Kept> {
    kept(OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path))
}

fn nameless(dir: &Path) -> Result<Kept> {
    kept(OpenOptions::new().write(true).custom_flags(OFlag::O_TMPFILE.bits()).open(dir))
}

fn executed(path: &Path) -> Result<Kept> {
    Err(Command::new(path).arg("wait").exec().into())
}

fn script(path: &Path) -> Result<Kept> {
    Err(Command::new(path).exec().into())
}

fn of_a_thread(path: &Path) -> Result<Kept> {
    let (path, (tell, told)) = (path.to_owned(), channel());
    std::thread::spawn(move || {
        let own = nix::sched::unshare(CloneFlags::CLONE_FILES);
        let file = own.map_err(io::Error::from).and_then(|()| File::open(&path));
        let _ = tell.send(file.as_ref().map(drop).map_err(io::Error::kind));
        loop {
            std::thread::park();
        }
    });
    kept(told.recv()?.map_err(io::Error::from))
}

#[allow(unsafe_code, reason = "std cannot end one thread of a process alone when it is the first")]
fn without_leader(path: &Path) -> Result<Kept> {
    let path = path.to_owned();
    std::thread::spawn(move || {
        let code = match mapped::mapped(&path).and_then(|_kept| wait()) {
            Ok(()) => 0,
            Err(_) => 1,
        };
        std::process::exit(code)
    });
    // SAFETY: exit(2) of this thread alone; nothing it owns is used by the other one.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    bail!("this thread still runs")
}

fn flocked(path: &Path) -> Result<Kept> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    kept(Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno))
}

fn locked(path: &Path) -> Result<Kept> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let lock =
        libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&file, FcntlArg::F_SETLK(&lock))?;
    kept(Ok::<_, Errno>(file))
}
