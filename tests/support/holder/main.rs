//! A process in a named kernel state, and the few other processes that a small world needs.
//!
//! `holder STATE PATH` takes PATH into that state ([`states`] lists them), says `PID ready` – its process id as it sees it
//! itself – and stays so until its standard input ends. Words before STATE say from where: `chroot DIR` (PATH is meant
//! below it), `own-mounts` (a mount namespace of its own), `own-path` (the same, and PATH's directory is reached through
//! another one that nobody else has), `own-processes` (pid and mount namespaces of its own); `unreadable` says that its
//! memory map can be read by nobody; `when-told` that it is ready before, and does it and says `holds` when it is sent a
//! line. `passed-on` and `forking` are states of several processes.
//! The other words stand in for programs of a machine that a throw-away root does not have:
//!
//! | `holder` … | is |
//! |---|---|
//! | (any, with `DPKG_STAYS` in its environment) | dpkg, called with the words of a real one: runs the hooks that it is told to run, for as long as it is let |
//! | (any, as /tool/dpkg and with `DPKG_UPGRADES` in its environment) | dpkg, from its first hook to its last |
//! | (any, as /usr/bin/systemctl) | systemctl, when process 1 does not answer |
//! | `init` | process 1 of a sandbox: makes the working directory the root, lets go of the old one, says `ready` |
//! | `systemd`, `off-switch` | process 1 of a sandbox that becomes systemd, and who ends that |
//! | `frontend [apart\|-o OPTION]` | apt: runs what it is told to run, one command after the other, for as long as it is let; in a mount namespace of its own; with an option on its command line |
//! | `interpret SCRIPT` | what `#!` names: reads the script, and goes on |
//! | `passed-on PATH` | a descriptor that one process hands to the next, each of which ends at once |
//! | `forking PATH` | a process with a descriptor, whose children do nothing but end |
//! | `dpkg replace\|remove\|rmdir PATH` | dpkg, putting its standard input in the place of a file, removing one, or removing a directory unless something is in it |
//! | `write PATH`, `program PATH`, `swap-file PATH` | the author of a file: of its standard input, of a copy of this program, of one to swap to |
//! | `write-each` | the author of many files, which its standard input names, each with its contents |
//! | `timed LOG COMMAND …` | `time`: how long a hook took and how much memory it had |
//! | `traced STRIKE COMMAND …` | a command that is killed, or refused something, at one of its system calls ([`traced`]) |
//! | `paused CALL TEXT COMMAND …` | a command that stands still at one of its system calls until it is told to go on |
//! | `runs COMMAND …` | a program, by whatever name this one is called, that runs another one as its child |
//! | `env NAME=VALUE COMMAND …` | env(1) |
//! | `at-a-terminal COMMAND …` | whatever ends programs at a terminal ends this one, though whoever runs the tests may ignore it (nohup) |
//! | `lease PATH` | whoever wants to know whether somebody has a file open: the exit code is 0 if nobody has |
//! | `without-evictable-marks COMMAND …` | an older kernel |
//! | `before-5.12 COMMAND …` | a Linux without mount_setattr |
//! | `refusing-newer-calls ERROR COMMAND …` | a Linux before 5.2, or a filter: no fspick, fsconfig, open_tree, mount_setattr |
//! | `nobody-may-mount COMMAND …` | a container as docker makes it: no process in it may change a mount |
//! | `may-not-mount COMMAND …` | a service that has been deprived of that right alone |
//! | `own-users COMMAND …` | a container of a user's: user and mount namespaces of its own |
//! | `umask MASK COMMAND …` | a caller who has said what new files may be (octal) |
//! | `exchange PATH PATH` | whoever lets two names change places, all the time |
//! | `attribute NAME HEX PATH` | setfattr(1) |
//! | `nobody COMMAND …` | setpriv(1): an ordinary user |
//! | `no-ptrace COMMAND …` | setpriv(1): root without CAP_SYS_PTRACE |
//! | `later SECONDS COMMAND …` | somebody for whom the machine has run for so many seconds more (time_namespaces(7)) |
//! | `just-started COMMAND …` | somebody for whom the machine was started a moment ago |
//! | `kill PID` | kill(1), with SIGKILL |
//! | `fill bytes\|files PATH` | somebody who makes files in a directory, large ones or empty ones, until no more of them fits |
//! | `bind FROM TO`, `mount TYPE SOURCE OPTIONS PATH`, `unmount PATH` | mount(8) and umount(8) |
//! | `shared PATH` | mount(8) with `--make-shared`, as systemd has every mount |
//! | `recorded LOG DISK …` | disks, files each, that write down what they are told |
//! | `remount HOW PATH` | mount(8) with `-o remount,HOW`; its exit code is the error number |

mod attackers;
#[path = "../calls.rs"]
mod calls;
mod devices;
#[allow(dead_code, reason = "it only writes one")]
#[path = "../disk_log.rs"]
mod disk_log;
mod dpkg;
mod elsewhere;
mod files;
mod forks;
mod frontend;
mod io_uring;
mod kernel;
mod mapped;
#[path = "../order.rs"]
mod order;
mod pins;
mod recorded;
mod signals;
mod sockets;
mod states;
mod systemd;
mod timed;
mod traced;
mod unreadable;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

fn main() -> Result<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or("\u{fffd}")).collect();
    let last = PathBuf::from(std::env::args_os().next_back().unwrap_or_default());
    if std::env::var_os(dpkg::STAYS).is_some() {
        dpkg::stay()?;
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::var_os(dpkg::UPGRADES).is_some() && std::env::args_os().next().is_some_and(|name| name == "/tool/dpkg")
    {
        // As dpkg itself has it.
        return Ok(dpkg::upgrade().map_or(ExitCode::from(2), |()| ExitCode::SUCCESS));
    }
    if std::env::args_os().next().is_some_and(|name| name == "/usr/bin/systemctl") {
        // Process 1 does not answer it.
        nix::unistd::pause();
    }
    match words.as_slice() {
        ["init"] => init()?,
        ["systemd"] => systemd::become_systemd()?,
        ["off-switch"] => match systemd::switch_off_in_the_end()? {},
        // With the options that apt itself would understand.
        ["frontend"] | ["frontend", "-o", _] => frontend::frontend()?,
        ["frontend", "apart"] => {
            elsewhere::own_mounts()?;
            frontend::frontend()?
        }
        ["runs", program, words @ ..] => {
            let ended = Command::new(program).args(words).status()?;
            return Ok(ExitCode::from(u8::try_from(ended.code().unwrap_or(255))?));
        }
        ["wait"] => wait()?,
        ["interpret", _] => {
            File::open(&last)?.read_to_end(&mut Vec::new())?;
            wait()?
        }
        ["dpkg", "replace", _] => dpkg::replace(&last)?,
        ["dpkg", "remove", _] => dpkg::remove(&last)?,
        ["dpkg", "rmdir", _] => dpkg::remove_directory(&last)?,
        ["write", _] => files::write(&last)?,
        ["write-each"] => files::write_each()?,
        ["program", _] => files::program(&last)?,
        ["env", setting, program, words @ ..] => {
            let (name, value) = setting.split_once('=').context("NAME=VALUE")?;
            return Err(Command::new(program).args(words).env(name, value).exec().into());
        }
        ["at-a-terminal", command @ ..] => return signals::at_a_terminal(command),
        ["nobody", program, words @ ..] => {
            return Err(Command::new(program).args(words).uid(65534).gid(65534).exec().into());
        }
        ["umask", mask, program, words @ ..] => {
            attackers::set_umask(mask)?;
            return Err(Command::new(program).args(words).exec().into());
        }
        ["exchange", first, _] => attackers::exchange(first.as_ref(), &last)?,
        ["attribute", name, hex, _] => attackers::set_attribute(name, hex, &last)?,
        ["no-ptrace", program, words @ ..] => {
            elsewhere::give_up_ptrace()?;
            return Err(Command::new(program).args(words).exec().into());
        }
        ["later", seconds, command @ ..] => return elsewhere::later(seconds.parse()?, command),
        ["just-started", command @ ..] => return elsewhere::just_started(command),
        ["kill", pid] => kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL)?,
        ["bind", from, _] => mount(Some(*from), &last, None::<&str>, MsFlags::MS_BIND, None::<&str>)?,
        ["shared", _] => mount(None::<&str>, &last, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?,
        ["swap-file", _] => devices::make_swap_file(&last)?,
        ["fill", "bytes", _] => files::fill_bytes(&last)?,
        ["fill", "files", _] => files::fill_files(&last)?,
        ["mount", kind, source, options, _] => {
            mount(Some(*source), &last, Some(*kind), MsFlags::empty(), Some(*options))?
        }
        ["unmount", _] => umount2(&last, MntFlags::empty())?,
        ["recorded", log, disks @ ..] => recorded::serve(log, disks)?,
        ["remount", how, _] => return files::remount(how, &last),
        ["unreadable", state, _] => unreadable::hold(state, &last)?,
        ["become-unreadable", state, _] => unreadable::become_so(state, &last)?,
        ["paused", call, text, command @ ..] => traced::pause(call, text, command)?,
        ["traced", strike, command @ ..] => traced::run(strike, command)?,
        ["timed", log, command @ ..] => return timed::run(log, command),
        ["before-5.12", command @ ..] => return kernel::before_5_12(command),
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
            states::hold(state, &last)?
        }
        ["own-mounts", state, _] => {
            elsewhere::own_mounts()?;
            states::hold(state, &last)?
        }
        ["own-path", state, _] => {
            elsewhere::own_mounts()?;
            states::hold(state, &elsewhere::another_path_to(&last)?)?
        }
        ["own-processes", state, _] => elsewhere::own_processes(state, &last)?,
        ["when-told", state, _] => states::hold_when_told(state, &last)?,
        ["passed-on", _] => forks::pass_on(&last)?,
        ["forking", _] => forks::fork_on(&last)?,
        [state, _] => states::hold(state, &last)?,
        _ => bail!("what to do? The first lines of holder/main.rs say what there is."),
    }
    Ok(ExitCode::SUCCESS)
}

/// Process 1: the end of its standard input is the end of everything in its namespace. Until then it reaps orphans.
fn init() -> Result<()> {
    // Blocked, it waits to be asked for, in whichever thread; left alone it would be thrown away.
    let child_ended = SigSet::from(Signal::SIGCHLD);
    child_ended.thread_block()?;
    make_here_the_root()?;
    std::thread::spawn(move || {
        while child_ended.wait().is_ok() {
            while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
        }
    });
    say("ready")?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn make_here_the_root() -> Result<()> {
    // pivot_root(2), notes: with "." twice the old root ends up mounted over the new one.
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")?;
    Ok(())
}

/// Stays until standard input ends.
fn wait() -> Result<()> {
    say(&format!("{} ready", std::process::id()))?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush())
}
