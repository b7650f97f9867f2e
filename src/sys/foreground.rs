//! What makes this process a good parent of a program in the foreground, as a shell is: what is typed at the terminal, and
//! what the caller left open, is for that program.
#![allow(unsafe_code, reason = "signal handlers and descriptors by number; each block says why it is sound")]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};

/// What ends a program at a terminal.
const TERMINAL: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTERM];

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
    for which in TERMINAL {
        // SAFETY: the handler does nothing, which is safe at any moment.
        let before = unsafe { sigaction(which, &handler) };
        if let Some(ignored) = before.ok().filter(|before| matches!(before.handler(), SigHandler::SigIgn)) {
            // SAFETY: puts back what was there, which is no handler.
            let _ = unsafe { sigaction(which, &ignored) };
        }
    }
}

/// Starts a program, with everything that this process has. Its process is there under its name, and `announce`d by its id,
/// before the program runs in it; if this process is killed until then, it never does. Answers what `announce` did, on
/// another thread.
///
/// # Errors
/// Those of fork(2) and execvp(3), which gives what is neither a program nor says what runs it to /bin/sh, as a shell does.
pub fn start<T: Send>(
    command: &[OsString],
    announce: impl FnOnce(i32) -> T + Send,
) -> io::Result<(io::Result<Child>, Option<T>)> {
    let (program, words) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let name = CString::new(Path::new(program).file_name().unwrap_or_default().as_bytes())?;
    let [(mut its_id, tell_id), (word, give_word)] = [pipe()?, pipe()?];
    let ours = give_word.as_raw_fd();
    let wait_for_word = move || {
        let (mut tell_id, mut word) = (&tell_id, &word);
        // SAFETY: this is the child, in which nothing else uses the descriptor; left open, nobody would see that we are gone.
        // The name is a string that outlives the call.
        unsafe {
            libc::close(ours);
            libc::prctl(libc::PR_SET_NAME, name.as_ptr());
            // What ends the program ends it already now. What is ignored stays so.
            for which in TERMINAL {
                if matches!(signal(which, SigHandler::SigDfl)?, SigHandler::SigIgn) {
                    signal(which, SigHandler::SigIgn)?;
                }
            }
        }
        tell_id.write_all(&std::process::id().to_ne_bytes())?;
        word.read_exact(&mut [0])
    };
    let mut command = Command::new(program);
    // SAFETY: between fork and exec it only closes, writes and reads descriptors, and asks for its own id.
    unsafe { command.args(words).pre_exec(wait_for_word) };
    thread::scope(|scope| {
        let announced = thread::Builder::new().spawn_scoped(scope, move || {
            let mut id = [0; 4];
            its_id.read_exact(&mut id).ok()?;
            let announced = announce(i32::from_ne_bytes(id));
            (&give_word).write_all(b"!").ok().map(|()| announced)
        })?;
        let child = command.spawn();
        // It has the only other ends of the pipes. Where there is no child, nobody tells its id.
        drop(command);
        Ok((child, announced.join().unwrap_or_else(|panic| resume_unwind(panic))))
    })
}

fn pipe() -> io::Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok((read.into(), write.into()))
}

/// How it ended, as a shell says it: its exit status, or 128 and the number of the signal that ended it.
pub fn status(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
