//! `holder traced STRIKE COMMAND …` is the command itself: with the same process id, the same parent and no child more. A
//! process beside it follows all its threads from one system call to the next, and strikes where it was told to.
//!
//! STRIKE is a [`Strike`] in JSON, or `null` for a look at what is called; what came of it is in [`TRACE`] a moment after
//! the command has ended. What the command starts is not followed.
#![allow(unsafe_code, reason = "fork(2); everything else is nix's")]

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, getpid, pipe2};

use super::calls::{Blow, Call, Effect, GO_ON, PAUSED, Strike, TRACE, Trace};

pub fn run(strike: &str, command: &[&str]) -> Result<()> {
    let strike = serde_json::from_str(strike)?;
    run_followed(command, |leader| Tracer::new(leader, strike, None))
}

/// `holder paused CALL TEXT COMMAND …` is the command itself in the same way. At the first call of this name that has this
/// text among its arguments it stands still, before the kernel has done anything: then [`PAUSED`] is there, until somebody
/// makes [`GO_ON`].
pub fn pause(call: &str, text: &str, command: &[&str]) -> Result<()> {
    let pause = Pause { call: call.to_owned(), text: text.to_owned() };
    run_followed(command, |leader| Tracer::new(leader, None, Some(pause)))
}

fn run_followed(command: &[&str], tracer: impl FnOnce(Pid) -> Tracer) -> Result<()> {
    let command: Vec<CString> = command.iter().map(|word| CString::new(*word)).collect::<Result<_, _>>()?;
    let program = command.first().context("no command to trace")?;
    let (ready, tell) = pipe2(OFlag::O_CLOEXEC)?;
    let me = getpid();
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(tell);
            waitpid(child, None)?;
            let mut word = Vec::new();
            File::from(ready).read_to_end(&mut word)?;
            if word != b"ready" {
                bail!("nobody follows: ptrace(2) is not permitted here");
            }
            nix::unistd::execv(program, &command)?;
        }
        ForkResult::Child => {
            // Nobody's child, so that the command has none that it knows nothing of.
            // SAFETY: as above.
            if let ForkResult::Parent { .. } = unsafe { fork() }? {
                std::process::exit(0);
            }
            drop(ready);
            let nowhere = File::options().read(true).write(true).open("/dev/null")?;
            dup2_stdin(&nowhere)?;
            dup2_stdout(&nowhere)?;
            dup2_stderr(&nowhere)?;
            let trace = follow(me, tell, tracer(me))?;
            let new = format!("{TRACE}.new");
            std::fs::write(&new, serde_json::to_vec(&trace)?)?;
            std::fs::rename(new, TRACE)?;
        }
    }
    Ok(())
}

fn follow(leader: Pid, tell: OwnedFd, mut tracer: Tracer) -> Result<Trace> {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(leader, options)?;
    ptrace::interrupt(leader)?;
    waitpid(leader, Some(WaitPidFlag::__WALL))?;
    nix::unistd::write(&tell, b"ready")?;
    drop(tell);
    ptrace::syscall(leader, None)?;
    loop {
        let (thread, pass_on) = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceSyscall(thread)) => {
                tracer.stopped(thread)?;
                (thread, None)
            }
            Ok(WaitStatus::PtraceEvent(thread, _, event)) => {
                tracer.is_command |= event == Event::PTRACE_EVENT_EXEC as i32;
                (thread, None)
            }
            Ok(WaitStatus::Stopped(thread, signal)) => (thread, Some(signal)),
            Ok(WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..)) if thread == leader => break,
            Err(Errno::ECHILD) => break,
            Ok(_) => continue,
            Err(errno) => return Err(errno.into()),
        };
        // One that was killed meanwhile is heard of in its turn.
        let goes_on = if tracer.has_seen_enough(thread) { ptrace::cont } else { ptrace::syscall };
        unless_gone(goes_on(thread, pass_on))?;
    }
    Ok(Trace { calls: tracer.calls, struck: tracer.struck })
}

struct Pause {
    call: String,
    text: String,
}

struct Tracer {
    leader: Pid,
    strike: Option<Strike>,
    pause: Option<Pause>,
    /// It has become the command.
    is_command: bool,
    counted: usize,
    calls: Vec<Call>,
    struck: Option<Call>,
    /// Every call of this number is refused from now on.
    refused: Option<(c_long, i32)>,
    /// The threads whose calls are being refused, and the answers.
    refusing: HashMap<Pid, i32>,
}

impl Tracer {
    fn new(leader: Pid, strike: Option<Strike>, pause: Option<Pause>) -> Tracer {
        let (calls, refusing) = (Vec::new(), HashMap::new());
        Tracer { leader, strike, pause, is_command: false, counted: 0, calls, struck: None, refused: None, refusing }
    }

    fn stopped(&mut self, thread: Pid) -> Result<()> {
        let Some(info) = unless_gone(ptrace::syscall_info(thread))?.filter(|_| self.is_command) else { return Ok(()) };
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: that is what `op` says it is.
                let entry = unsafe { info.u.entry };
                self.enters(thread, entry.nr as c_long, entry.args)
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                self.refusing.remove(&thread).map_or(Ok(()), |errno| registers::answer(thread, errno))
            }
            other => bail!("a stop of kind {other} is no system call"),
        }
    }

    fn enters(&mut self, thread: Pid, number: c_long, arguments: [u64; 6]) -> Result<()> {
        self.pauses_at(thread, number, arguments)?;
        let known = known::of(number);
        let effect = known.map_or(Effect::None, |known| known.effect(thread, arguments));
        if let Some((_, errno)) = self.refused.filter(|(refused, _)| *refused == number && effect != Effect::None) {
            return self.refuse(thread, errno);
        }
        let call = || Call {
            name: known.map_or_else(|| number.to_string(), |known| known.name.to_owned()),
            text: known::text(thread, known, number, arguments),
            effect,
        };
        let Some(strike) = self.strike else {
            self.calls.push(call());
            return Ok(());
        };
        self.counted += usize::from(strike.among.has(effect));
        if self.counted != strike.number || !strike.among.has(effect) || self.struck.is_some() {
            return Ok(());
        }
        self.struck = Some(call());
        match strike.blow {
            Blow::Kill => Ok(kill(self.leader, Signal::SIGKILL)?),
            Blow::Refuse(errno) => self.refuse(thread, errno),
            Blow::RefuseAll(errno) => {
                self.refused = Some((number, errno));
                self.refuse(thread, errno)
            }
        }
    }

    /// What this thread calls from now on makes no difference: it happened, and was no more than one call.
    fn has_seen_enough(&self, thread: Pid) -> bool {
        self.struck.is_some() && self.refused.is_none() && !self.refusing.contains_key(&thread)
    }

    fn pauses_at(&mut self, thread: Pid, number: c_long, arguments: [u64; 6]) -> Result<()> {
        let Some(Pause { call, text }) = &self.pause else { return Ok(()) };
        let known = known::of(number).or_else(|| known::that_only_asks(number)).filter(|known| known.name == *call);
        if !known.is_some_and(|known| known::text(thread, Some(known), number, arguments).contains(text.as_str())) {
            return Ok(());
        }
        self.pause = None;
        std::fs::write(PAUSED, "")?;
        while !std::fs::exists(GO_ON)? {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(GO_ON)?;
        Ok(std::fs::remove_file(PAUSED)?)
    }

    fn refuse(&mut self, thread: Pid, errno: i32) -> Result<()> {
        self.refusing.insert(thread, errno);
        registers::call_nothing(thread)
    }
}

fn unless_gone<T>(answer: nix::Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ESRCH) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// What a thread calls, and what it is answered, is in its registers, and those are another's on another processor.
#[cfg(target_arch = "x86_64")]
mod registers {
    use super::{Pid, Result, ptrace, unless_gone};

    /// No system call has this number: the kernel does nothing.
    pub fn call_nothing(thread: Pid) -> Result<()> {
        let Some(mut registers) = unless_gone(ptrace::getregs(thread))? else { return Ok(()) };
        registers.orig_rax = u64::MAX;
        unless_gone(ptrace::setregs(thread, registers)).map(drop)
    }

    pub fn answer(thread: Pid, errno: i32) -> Result<()> {
        let Some(mut registers) = unless_gone(ptrace::getregs(thread))? else { return Ok(()) };
        registers.rax = (-i64::from(errno)) as u64;
        unless_gone(ptrace::setregs(thread, registers)).map(drop)
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    use super::{Errno, Pid, Result, libc, ptrace, unless_gone};

    /// include/uapi/linux/elf.h
    const NT_ARM_SYSTEM_CALL: usize = 0x404;

    pub fn call_nothing(thread: Pid) -> Result<()> {
        let mut number: libc::c_int = -1;
        let mut part = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of_val(&number) };
        // SAFETY: the kernel reads what `part` says, which is `number`.
        let done = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, thread.as_raw(), NT_ARM_SYSTEM_CALL, &raw mut part) };
        unless_gone(Errno::result(done)).map(drop)
    }

    pub fn answer(thread: Pid, errno: i32) -> Result<()> {
        let Some(mut registers) = unless_gone(ptrace::getregs(thread))? else { return Ok(()) };
        registers.regs[0] = (-i64::from(errno)) as u64;
        unless_gone(ptrace::setregs(thread, registers)).map(drop)
    }
}

/// The calls that leave something behind, or that one is built on which does.
mod known {
    use super::{Effect, File, FileExt, Pid, c_long, libc};

    pub struct Known {
        number: c_long,
        pub name: &'static str,
        /// A letter for each argument: `s` is text in memory, `d` a descriptor or -100, `x` flags.
        arguments: &'static str,
    }

    const fn known(number: c_long, name: &'static str, arguments: &'static str) -> Known {
        Known { number, name, arguments }
    }

    /// Without those that change nothing.
    const LASTING: &[Known] = &[
        known(libc::SYS_openat, "openat", "dsxx"),
        known(libc::SYS_write, "write", "d.n"),
        known(libc::SYS_writev, "writev", "d.n"),
        known(libc::SYS_pwrite64, "pwrite64", "d.nn"),
        known(libc::SYS_copy_file_range, "copy_file_range", "d.d.nx"),
        known(libc::SYS_ftruncate, "ftruncate", "dn"),
        known(libc::SYS_fallocate, "fallocate", "dxnn"),
        known(libc::SYS_linkat, "linkat", "dsdsx"),
        known(libc::SYS_symlinkat, "symlinkat", "sds"),
        known(libc::SYS_unlinkat, "unlinkat", "dsx"),
        known(libc::SYS_mkdirat, "mkdirat", "dsx"),
        known(libc::SYS_mknodat, "mknodat", "dsx"),
        known(libc::SYS_renameat2, "renameat2", "dsdsx"),
        known(libc::SYS_fchmod, "fchmod", "dx"),
        known(libc::SYS_fchmodat, "fchmodat", "dsx"),
        known(libc::SYS_fchown, "fchown", "dnn"),
        known(libc::SYS_fchownat, "fchownat", "dsnnx"),
        known(libc::SYS_utimensat, "utimensat", "ds"),
        known(libc::SYS_fsetxattr, "fsetxattr", "ds"),
        known(libc::SYS_fremovexattr, "fremovexattr", "ds"),
        known(libc::SYS_mount, "mount", "sssx"),
        known(libc::SYS_umount2, "umount2", "sx"),
        known(libc::SYS_fsconfig, "fsconfig", "dxs"),
        known(libc::SYS_mount_setattr, "mount_setattr", "dsx"),
        known(libc::SYS_move_mount, "move_mount", "dsds"),
        known(libc::SYS_clone, "clone", "x"),
        known(libc::SYS_clone3, "clone3", ""),
        // Where it is killed here, everything is done and nobody hears of it.
        known(libc::SYS_exit_group, "exit_group", "n"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_open, "open", "sxx"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_link, "link", "ss"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_unlink, "unlink", "s"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_mkdir, "mkdir", "sx"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_rmdir, "rmdir", "s"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_rename, "rename", "ss"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_chmod, "chmod", "sx"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_chown, "chown", "snn"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_symlink, "symlink", "ss"),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_fork, "fork", ""),
        #[cfg(target_arch = "x86_64")]
        known(libc::SYS_vfork, "vfork", ""),
        known(libc::SYS_renameat, "renameat", "dsds"),
    ];

    const SUPPORT: &[Known] = &[
        known(libc::SYS_fsync, "fsync", "d"),
        known(libc::SYS_fdatasync, "fdatasync", "d"),
        known(libc::SYS_flock, "flock", "dx"),
        known(libc::SYS_fsopen, "fsopen", "sx"),
        known(libc::SYS_fspick, "fspick", "dsx"),
        known(libc::SYS_open_tree, "open_tree", "dsx"),
        known(libc::SYS_fsmount, "fsmount", "dx"),
        known(libc::SYS_unshare, "unshare", "x"),
        known(libc::SYS_setns, "setns", "dx"),
    ];

    const ASKING: &[Known] = &[known(libc::SYS_getdents64, "getdents64", "d"), known(libc::SYS_statx, "statx", "dsx")];

    /// One of those that somebody may want to pause at all the same.
    pub fn that_only_asks(number: c_long) -> Option<&'static Known> {
        ASKING.iter().find(|known| known.number == number)
    }

    pub fn of(number: c_long) -> Option<&'static Known> {
        LASTING.iter().chain(SUPPORT).find(|known| known.number == number)
    }

    impl Known {
        pub fn effect(&self, thread: Pid, arguments: [u64; 6]) -> Effect {
            let says = |at: usize, flags: libc::c_int| arguments[at] as libc::c_int & flags != 0;
            let writes = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
            let is_lasting = match self.name {
                "open" => says(1, writes),
                "openat" => says(2, writes),
                // What is said to somebody is not kept anywhere.
                "write" | "writev" => arguments[0] > 2,
                "mount_setattr" | "fsconfig" => true,
                _ => LASTING.iter().any(|known| known.number == self.number),
            };
            match (self.name, is_lasting) {
                // A thread dies with the others.
                ("clone", _) if says(0, libc::CLONE_THREAD) => Effect::Support,
                ("clone3", _) if clone3_flags(thread, arguments[0]) & libc::CLONE_THREAD as u64 != 0 => Effect::Support,
                ("open" | "openat" | "write" | "writev", false) => Effect::None,
                (_, true) => Effect::Lasting,
                (_, false) => Effect::Support,
            }
        }
    }

    pub fn text(thread: Pid, known: Option<&Known>, number: c_long, arguments: [u64; 6]) -> String {
        let Some(known) = known else { return format!("system call {number}{arguments:x?}") };
        let memory = File::open(format!("/proc/{thread}/mem")).ok();
        let shown = known.arguments.chars().zip(arguments).map(|(kind, value)| match kind {
            's' => memory.as_ref().and_then(|memory| string(memory, value)).unwrap_or_else(|| "NULL".to_owned()),
            'd' if value as i32 == libc::AT_FDCWD => "AT_FDCWD".to_owned(),
            'd' => std::fs::read_link(format!("/proc/{thread}/fd/{}", value as i32))
                .map_or_else(|_| (value as i32).to_string(), |path| format!("{}<{}>", value as i32, path.display())),
            'x' => format!("{value:#x}"),
            'n' => (value as i64).to_string(),
            _ => "…".to_owned(),
        });
        let shown: Vec<String> = shown.collect();
        format!("{}({})", known.name, shown.join(", "))
    }

    /// clone(2): they stand first in the structure that it is given.
    fn clone3_flags(thread: Pid, address: u64) -> u64 {
        let mut flags = [0; 8];
        let memory = File::open(format!("/proc/{thread}/mem"));
        let _ = memory.and_then(|memory| memory.read_exact_at(&mut flags, address));
        u64::from_ne_bytes(flags)
    }

    fn string(memory: &File, address: u64) -> Option<String> {
        let mut bytes = [0; 256];
        let length = memory.read_at(&mut bytes, address).ok()?;
        let text = bytes[..length].split(|byte| *byte == 0).next()?;
        Some(format!("{:?}", String::from_utf8_lossy(text)))
    }
}
