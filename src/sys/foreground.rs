//! What makes this process a good parent of a program in the foreground, as a shell is: what is typed at the terminal, and
//! what the caller left open, is for that program.
#![allow(unsafe_code, reason = "signal handlers and descriptors by number; each block says why it is sound")]

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Descriptors that the caller of this process left open for whatever program it runs.
#[derive(Debug)]
pub struct LeftOpen(Vec<i32>);

impl LeftOpen {
    /// Those that there are now, other than 0 to 2.
    ///
    /// # Errors
    /// Where /proc cannot be read.
    pub fn now() -> io::Result<LeftOpen> {
        let names =
            std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let left_open = |fd: &i32| {
            // SAFETY: reads a flag of a descriptor, by number; one that is gone meanwhile is an error.
            let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
            *fd > 2 && flags != -1 && flags & libc::FD_CLOEXEC == 0
        };
        Ok(LeftOpen(names.filter(left_open).collect()))
    }

    /// Lets the programs that are started from now on have them, whoever took them away.
    pub fn pass_on(&self) {
        for fd in &self.0 {
            // SAFETY: clears a flag of a descriptor that was left open for programs, and that nothing here closes.
            unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) };
        }
    }
}

/// From here on this process outlives what ends a program at a terminal, and the programs that it starts do not: a handler
/// is not inherited, as "ignore" would be. What the caller has it ignore stays ignored for both.
pub fn leave_signals_to_programs() {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    for which in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTERM] {
        // SAFETY: the handler does nothing, which is safe at any moment.
        let before = unsafe { sigaction(which, &handler) };
        if let Some(ignored) = before.ok().filter(|before| matches!(before.handler(), SigHandler::SigIgn)) {
            // SAFETY: puts back what was there, which is no handler.
            let _ = unsafe { sigaction(which, &ignored) };
        }
    }
}

/// Starts a program, with everything that this process has.
///
/// # Errors
/// Those of execvp(3).
pub fn start(command: &[OsString]) -> io::Result<Child> {
    let (program, words) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    Command::new(program).args(words).spawn()
}

/// How it ended, as a shell says it: its exit status, or 128 and the number of the signal that ended it.
pub fn status(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
