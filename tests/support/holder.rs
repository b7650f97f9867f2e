//! A process in a named kernel state, and the few other processes that a small world needs.
//!
//! `holder STATE PATH` takes PATH into that state ([`STATES`] lists them), says `PID ready` – its process id as it sees
//! it itself – and stays so until its standard input ends. Words before STATE say from where: `chroot DIR` (PATH is meant
//! below it), `own-mounts` (a mount namespace of its own), `own-path` (the same, and PATH's directory is reached through
//! another one that nobody else has), `own-processes` (pid and mount namespaces of its own); `unreadable` says that its
//! memory map can be read by nobody.
//! The other words stand in for programs of a machine that a throw-away root does not have:
//!
//! | `holder` … | is |
//! |---|---|
//! | `init` | process 1 of a sandbox: makes the working directory the root, lets go of the old one, says `ready` |
//! | `frontend [apart\|-o OPTION]` | apt: runs what it is told to run, one command after the other, for as long as it is let; in a mount namespace of its own; with an option on its command line |
//! | `dpkg replace\|remove\|rmdir PATH` | dpkg, putting its standard input in the place of a file, removing one, or removing a directory unless something is in it |
//! | `write PATH`, `program PATH` | the author of a file: of its standard input, of a copy of this program |
//! | `timed LOG COMMAND …` | `time`: how long a hook took and how much memory it had |
//! | `env NAME=VALUE COMMAND …` | env(1) |
//! | `lease PATH` | whoever wants to know whether somebody has a file open: the exit code is 0 if nobody has |
//! | `without-evictable-marks COMMAND …` | an older kernel |
//! | `nobody COMMAND …` | setpriv(1): an ordinary user |
//! | `kill PID` | kill(1), with SIGKILL |
//! | `fill bytes\|files PATH` | somebody who makes files in a directory, large ones or empty ones, until no more of them fits |
//! | `bind FROM TO`, `mount TYPE SOURCE OPTIONS PATH`, `unmount PATH` | mount(8) and umount(8) |
//! | `remount HOW PATH` | mount(8) with `-o remount,HOW`; its exit code is the error number |
//! | `refusing-newer-calls ERROR COMMAND …` | a Linux before 5.2, or a filter: no fspick, fsconfig, open_tree, mount_setattr |
//! | `nobody-may-mount COMMAND …` | a container as docker makes it: no process in it may change a mount |
//! | `may-not-mount COMMAND …` | a service that has been deprived of that right alone |
//! | `own-users COMMAND …` | a container of a user's: user and mount namespaces of its own |

mod kernel;
mod order;
mod pins;
mod timed;
mod unreadable;

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use order::{Answer, Order};

/// A state: its name, what of the file is in use, and how a process gets there.
type State = (&'static str, &'static str, fn(&Path) -> Result<Kept>);

/// Whatever has to live on for a state to last.
type Kept = Box<dyn Any>;

/// The states that a process can be put into.
const STATES: &[State] = &[
    ("open", "a descriptor that can read", |path| kept(File::open(path))),
    ("writing", "a descriptor that can write", |path| kept(OpenOptions::new().append(true).open(path))),
    ("open-path", "a descriptor that can only name it (O_PATH)", open_path),
    ("mapped", "a mapping, its descriptor closed", mapped),
    ("mapped-all", "mappings of every file that PATH names, one a line", mapped_all),
    ("executed", "the program that runs; PATH is a copy of this one", executed),
    ("of-a-thread", "a descriptor of a thread that shares none", of_a_thread),
    ("without-leader", "a mapping of a process whose first thread has exited", without_leader),
    ("locked", "a record lock on all of it, as dpkg has on its database", locked),
    ("cwd", "the current directory", |path| kept(nix::unistd::chdir(path))),
    ("root", "the root directory", |path| kept(nix::unistd::chroot(path))),
    ("link", "a descriptor that can only name a symbolic link (O_PATH|O_NOFOLLOW)", link),
    ("pipe", "the reading end of a named pipe", pipe),
    ("bound", "the name of a socket", |path| kept(UnixListener::bind(path))),
    ("nameless", "a directory with a file that has no name (O_TMPFILE)", nameless),
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

/// The descriptor on which apt tells a hook what it is about to do.
const INFO: i32 = 20;

fn main() -> Result<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or("\u{fffd}")).collect();
    let last = PathBuf::from(std::env::args_os().next_back().unwrap_or_default());
    match words.as_slice() {
        ["init"] => init()?,
        // With the options that apt itself would understand.
        ["frontend"] | ["frontend", "-o", _] => frontend()?,
        ["frontend", "apart"] => {
            own_mounts()?;
            frontend()?
        }
        ["wait"] => wait()?,
        ["dpkg", "replace", _] => dpkg_replace(&last)?,
        ["dpkg", "remove", _] => dpkg_remove(&last)?,
        ["dpkg", "rmdir", _] => dpkg_remove_directory(&last)?,
        ["write", _] => write(&last)?,
        ["program", _] => program(&last)?,
        ["env", setting, program, words @ ..] => {
            let (name, value) = setting.split_once('=').context("NAME=VALUE")?;
            return Err(Command::new(program).args(words).env(name, value).exec().into());
        }
        ["nobody", program, words @ ..] => {
            return Err(Command::new(program).args(words).uid(65534).gid(65534).exec().into());
        }
        ["kill", pid] => kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL)?,
        ["bind", from, _] => mount(Some(*from), &last, None::<&str>, MsFlags::MS_BIND, None::<&str>)?,
        ["fill", "bytes", _] => fill_bytes(&last)?,
        ["fill", "files", _] => fill_files(&last)?,
        ["mount", kind, source, options, _] => {
            mount(Some(*source), &last, Some(*kind), MsFlags::empty(), Some(*options))?
        }
        ["unmount", _] => umount2(&last, MntFlags::empty())?,
        ["remount", how, _] => return remount(how, &last),
        ["unreadable", state, _] => unreadable::hold(state, &last)?,
        ["become-unreadable", state, _] => unreadable::become_so(state, &last)?,
        ["timed", log, command @ ..] => return timed::run(log, command),
        ["refusing-newer-calls", error, command @ ..] => return kernel::refusing_newer_calls(error, command),
        ["nobody-may-mount", command @ ..] => return kernel::nobody_may_mount(command),
        ["first-of-a-container", command @ ..] => return kernel::first_of_a_container(command),
        ["and-wait", command @ ..] => return kernel::and_wait(command),
        ["may-not-mount", command @ ..] => return kernel::may_not_mount(command),
        ["own-users", command @ ..] => return kernel::own_users(command),
        ["lease", _] => pins::lease(&last)?,
        ["without-evictable-marks", command @ ..] => return pins::without_evictable_marks(command),
        ["chroot", root, state, _] => {
            nix::unistd::chroot(*root)?;
            nix::unistd::chdir("/")?;
            hold(state, &last)?
        }
        ["own-mounts", state, _] => {
            own_mounts()?;
            hold(state, &last)?
        }
        ["own-path", state, _] => {
            own_mounts()?;
            hold(state, &another_path_to(&last)?)?
        }
        ["own-processes", state, _] => own_processes(state, &last)?,
        [state, _] => hold(state, &last)?,
        _ => bail!("what to do? The first lines of holder.rs say what there is."),
    }
    Ok(ExitCode::SUCCESS)
}

fn hold(state: &str, path: &Path) -> Result<()> {
    let _kept = enter(state, path)?;
    wait()
}

fn enter(state: &str, path: &Path) -> Result<Kept> {
    let (_, use_of_it, enter) = STATES.iter().find(|(name, ..)| *name == state).context("no such state")?;
    enter(path).with_context(|| format!("{path:?} cannot become {use_of_it}"))
}

fn kept<T: 'static, E: Into<anyhow::Error>>(state: Result<T, E>) -> Result<Kept> {
    Ok(Box::new(state.map_err(Into::into)?))
}

fn open_path(path: &Path) -> Result<Kept> {
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

fn mapped(path: &Path) -> Result<Kept> {
    map(&File::open(path)?)
}

#[allow(unsafe_code, reason = "nothing in std maps a file")]
fn map(file: &File) -> Result<Kept> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap};
    let one = std::num::NonZeroUsize::MIN;
    // SAFETY: nobody ever looks at the mapped bytes, so nothing can be said about them that is not so.
    kept(unsafe { mmap(None, one, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, file, 0) }.map(|_| ()))
}

fn mapped_all(list: &Path) -> Result<Kept> {
    let list = fs::read(list)?;
    let paths = list.split(|byte| *byte == b'\n').filter(|path| !path.is_empty());
    kept(paths.map(|path| mapped(Path::new(OsStr::from_bytes(path)))).collect::<Result<Vec<_>>>())
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
        let code = match mapped(&path).and_then(|_kept| wait()) {
            Ok(()) => 0,
            Err(_) => 1,
        };
        std::process::exit(code)
    });
    // SAFETY: exit(2) of this thread alone; nothing it owns is used by the other one.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    bail!("this thread still runs")
}

fn locked(path: &Path) -> Result<Kept> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let lock =
        libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&file, FcntlArg::F_SETLK(&lock))?;
    kept(Ok::<_, Errno>(file))
}

fn own_mounts() -> Result<()> {
    Ok(nix::sched::unshare(CloneFlags::CLONE_NEWNS)?)
}

fn another_path_to(path: &Path) -> Result<PathBuf> {
    let (dir, name) = (path.parent().context("no directory")?, path.file_name().context("no name")?);
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let elsewhere = Path::new("/tmp/elsewhere/further");
    fs::create_dir_all(elsewhere)?;
    mount(Some(dir), elsewhere, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(elsewhere.join(name))
}

/// The first process of a new pid namespace is a child; it calls itself 1, and is not called that here.
fn own_processes(state: &str, path: &Path) -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    let myself = std::env::args_os().next().context("no name")?;
    let mut child = Command::new(myself).arg(state).arg(path).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "1 ready\n", "it says {line:?}");
    say(&format!("{} ready", child.id()))?;
    ensure!(child.wait()?.success(), "it failed");
    Ok(())
}

fn executed(path: &Path) -> Result<Kept> {
    Err(Command::new(path).arg("wait").exec().into())
}

fn wait() -> Result<()> {
    say(&format!("{} ready", std::process::id()))?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

/// Process 1: the end of its standard input is the end of everything in its namespace. Until then it reaps orphans.
fn init() -> Result<()> {
    // Blocked, it waits to be asked for, in whichever thread; left alone it would be thrown away.
    let child_ended = SigSet::from(Signal::SIGCHLD);
    child_ended.thread_block()?;
    // pivot_root(2), notes: with "." twice the old root ends up mounted over the new one.
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")?;
    std::thread::spawn(move || {
        while child_ended.wait().is_ok() {
            while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        }
    });
    say("ready")?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

// ── apt ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

fn frontend() -> Result<()> {
    say(&format!("{} ready", std::process::id()))?;
    for line in io::stdin().lines() {
        let answer = carry_out(&serde_json::from_str(&line?)?)?;
        say(&serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

fn carry_out(order: &Order) -> Result<Answer> {
    let mut words = order.argv.iter().cloned().map(OsString::from_vec);
    let mut command = Command::new(words.next().context("an empty order")?);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match &order.stream {
        None => command.spawn()?,
        Some(stream) => spawn_informed(command.env("APT_HOOK_INFO_FD", INFO.to_string()), stream.clone())?,
    };
    let stdout = read_all(child.stdout.take().context("no stdout")?);
    let stderr = read_all(child.stderr.take().context("no stderr")?);
    let status = child.wait()?;
    let moment = Duration::from_secs(2);
    let (stdout, stderr) = (stdout.recv_timeout(moment), stderr.recv_timeout(moment));
    Ok(Answer {
        code: status.code().or(status.signal().map(|signal| 128 + signal)).context("neither ended nor killed")?,
        output_kept_open: stdout.is_err() || stderr.is_err(),
        stdout: stdout.unwrap_or_default(),
        stderr: stderr.unwrap_or_default(),
    })
}

/// Starts a hook as apt does: what apt is about to do comes through a pipe, and apt does not mind who does not read it.
fn spawn_informed(command: &mut Command, stream: Vec<u8>) -> Result<std::process::Child> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // The lowest free number from INFO on, and the copy stays open across exec.
    let copy = fcntl(&reader, FcntlArg::F_DUPFD(INFO))?;
    ensure!(copy == INFO, "descriptor {INFO} is taken");
    drop(reader);
    let child = command.spawn();
    nix::unistd::close(copy)?;
    std::thread::spawn(move || File::from(writer).write_all(&stream));
    Ok(child?)
}

fn read_all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if from.read_to_end(&mut bytes).is_ok() {
            let _ = send.send(bytes);
        }
    });
    receive
}

// ── dpkg ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The new version beside the old one, a second name for the old one in case the unpacking fails, the new one in its
/// place, and at last the second name away: with it goes the old inode.
fn dpkg_replace(path: &Path) -> Result<()> {
    let (new, backup) = (with_suffix(path, ".dpkg-new"), with_suffix(path, ".dpkg-tmp"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o000).open(&new)?;
    io::copy(&mut io::stdin(), &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    fs::hard_link(path, &backup)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    dpkg_remove(&backup)
}

/// A privileged program is made harmless first, under whatever other names it may have.
fn dpkg_remove(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o7000 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    if metadata.is_dir() {
        fs::remove_dir(path)?
    } else {
        fs::remove_file(path)?
    }
    Ok(())
}

/// What is not empty stays, with a warning.
fn dpkg_remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => Ok(done?),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsStr::new(suffix));
    name.into()
}

// ── files and mounts ────────────────────────────────────────────────────────────────────────────────────────────────

fn write(path: &Path) -> Result<()> {
    io::copy(&mut io::stdin(), &mut create(path)?)?;
    Ok(())
}

fn program(path: &Path) -> Result<()> {
    io::copy(&mut File::open("/proc/self/exe")?, &mut create(path)?)?;
    Ok(())
}

/// Byte for byte at the end, and on the disk: what is only promised may be taken back.
fn fill_bytes(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = File::create(dir.join("bytes"))?;
    for size in [1 << 20, 1 << 12, 1] {
        let zeroes = vec![0; size];
        while until_full(file.write(&zeroes))?.is_some() {}
        let _ = until_full(file.sync_all())?;
    }
    Ok(())
}

/// Two thousand bytes each is what btrfs and xfs can keep where they keep names; others do without if they must.
fn fill_files(dir: &Path) -> Result<()> {
    let made = |name: String| until_full(File::create(dir.join(name)));
    if until_full(fs::create_dir_all(dir))?.is_none() {
        return Ok(());
    }
    for number in 0..1_000_000 {
        let Some(mut file) = made(format!("{number:0100}"))? else { return Ok(()) };
        let _ = until_full(file.write(&[0; 2000]))?;
    }
    bail!("a million files fit")
}

fn until_full<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Ok(None),
        done => done.map(Some),
    }
}

fn create(path: &Path) -> Result<File> {
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    Ok(OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(path)?)
}

fn remount(how: &str, path: &Path) -> Result<ExitCode> {
    // What is not said again is lost: every mount of a small world has these two.
    let usual = ["ro", "rw", "bind,ro", "bind,rw"].contains(&how);
    let usual = if usual { MsFlags::MS_NODEV | MsFlags::MS_NOATIME } else { MsFlags::empty() };
    let mut flags = MsFlags::MS_REMOUNT | usual;
    for word in how.split(',') {
        flags |= match word {
            "rw" => MsFlags::empty(),
            "ro" => MsFlags::MS_RDONLY,
            "bind" => MsFlags::MS_BIND,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "nosuid" => MsFlags::MS_NOSUID,
            "noatime" => MsFlags::MS_NOATIME,
            "relatime" => MsFlags::MS_RELATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "strictatime" => MsFlags::MS_STRICTATIME,
            "nosymfollow" => MsFlags::from_bits_retain(256),
            "sync" => MsFlags::MS_SYNCHRONOUS,
            "lazytime" => MsFlags::MS_LAZYTIME,
            _ => bail!("remount {how}?"),
        };
    }
    let done = mount(None::<&str>, path, None::<&str>, flags, None::<&str>);
    let errno = done.err().unwrap_or(Errno::from_raw(0));
    Ok(ExitCode::from(u8::try_from(errno as i32)?))
}
