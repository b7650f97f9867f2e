//! What makes this process a good parent of a program in the foreground, as a shell is: what is typed at the terminal, and
//! what the caller left open, is for that program.
#![allow(unsafe_code, reason = "signal handlers and descriptors by number; each block says why it is sound")]

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use nix::errno::Errno;
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

/// Starts a program, with everything that this process has. Before it is that program the new process does what `first`
/// says, whatever becomes of this one.
///
/// # Errors
/// Those of fork(2) and execve(2).
pub fn start(command: &[OsString], mut first: impl FnMut() + Send + Sync + 'static) -> io::Result<Child> {
    let program = command.first().ok_or(io::ErrorKind::NotFound)?;
    let places = places(program)?;
    let words = command.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let mut new = Command::new(program);
    // SAFETY: this process has one thread by now, so nothing that `first` may want is locked by another for ever.
    unsafe {
        new.pre_exec(move || {
            first();
            Err(become_first_of(&places, &words).into())
        })
    };
    new.spawn()
}

/// Where a program of this name may be: as execvp(3) has it.
fn places(program: &OsStr) -> io::Result<Vec<CString>> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![CString::new(program.as_bytes())?]);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let places = std::env::split_paths(&path).map(|dir| CString::new(dir.join(program).into_os_string().into_vec()));
    Ok(places.collect::<Result<_, _>>()?)
}

/// execvp(3), without its second thought that what is no program may be a script for /bin/sh. Answers why it could not.
fn become_first_of(places: &[CString], words: &[CString]) -> Errno {
    let mut answer = Errno::ENOENT;
    for place in places {
        let Err(why) = nix::unistd::execv(place, words);
        match why {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => answer = why,
            other => return other,
        }
    }
    answer
}

/// How it ended, as a shell says it: its exit status, or 128 and the number of the signal that ended it.
pub fn status(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
