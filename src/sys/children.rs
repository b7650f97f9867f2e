//! Programs that end by themselves: in a moment, and are not waited for longer, or once their work is done.
#![allow(unsafe_code, reason = "what a program does before it is one; the block says why it is sound")]

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

/// Usually it takes a hundredth of a second. Others wait meanwhile for what this process has locked, a minute at most.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(1);

/// Runs a program to its end, with no environment, nothing to read and nobody to hear it. One that does not come to it, as it is stopped or waits for somebody, is left alone.
///
/// # Errors
/// Where it cannot be started, and that it was left.
pub fn ends_soon(command: &mut Command) -> io::Result<ExitStatus> {
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (began, mut child) = (Instant::now(), command.spawn()?);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// On standard output.
    pub output: Vec<u8>,
    /// On standard error.
    pub errors: Vec<u8>,
}

/// Whoever asks wants to know now. But systemd, on a small machine that is busy, takes seconds.
const ATTENTION: Duration = Duration::from_secs(10);

/// Runs a program to its end, however long that takes, with no environment and nothing to read, and takes down what it says. It
/// does not outlive this process.
///
/// # Errors
/// Where it cannot be started.
pub fn does_its_work(command: &mut Command) -> io::Result<Output> {
    let us = nix::unistd::getpid();
    let ends_with_us = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Who was killed before that sends nothing any more.
        if nix::unistd::getppid() == us { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: between fork and exec it only makes two system calls.
    unsafe { command.pre_exec(ends_with_us) };
    command.env_clear().stdin(Stdio::null()).output()
}

/// No more than this is listened to.
const MOST_BYTES: u64 = 8 << 20;

/// Runs a program that only answers something, with no environment and nothing to read, and takes down what it says. One
/// that does not come to its end, or goes on speaking, is killed.
///
/// # Errors
/// Where it cannot be started, and that it was killed.
pub fn answers_soon(command: &mut Command) -> io::Result<Said> {
    answers_within(ATTENTION, command)
}

fn answers_within(attention: Duration, command: &mut Command) -> io::Result<Said> {
    let until = Instant::now() + attention;
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let [output, errors] = [child.stdout.take().map(listen), child.stderr.take().map(listen)];
    // What it has started and left may have its output open longer than it lives itself.
    let heard = |from: Option<mpsc::Receiver<Vec<u8>>>| {
        let left = until.saturating_duration_since(Instant::now());
        from.and_then(|from| from.recv_timeout(left).ok())
    };
    let (output, errors) = (heard(output), heard(errors));
    loop {
        if let Some(status) = child.try_wait()? {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "its output does not end");
            return Ok(Said { status, output: output.ok_or_else(late)?, errors: errors.ok_or_else(late)? });
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
        }
        thread::sleep(PAUSE);
    }
}

fn listen(from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (teller, told) = mpsc::channel();
    let read = move || {
        let mut bytes = Vec::new();
        // What comes too late is heard by nobody.
        let _ = from.take(MOST_BYTES).read_to_end(&mut bytes).map(|_| teller.send(bytes));
    };
    // Without a thread nobody tells anything.
    let _ = thread::Builder::new().spawn(read);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> io::Result<Said> {
        answers_soon(Command::new("/bin/sh").args(["-c", script]))
    }

    #[test]
    fn what_it_says_is_taken_down() {
        let said = sh("echo out; echo err >&2; exit 3").unwrap();
        assert_eq!((said.status.code(), &said.output[..], &said.errors[..]), (Some(3), &b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn it_has_no_environment_and_nothing_to_read() {
        assert_eq!(sh("cat; echo \"$HOME$CARGO_MANIFEST_DIR\"").unwrap().output, b"\n");
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        for script in ["exec sleep 60", "sleep 60 & echo x"] {
            let began = Instant::now();
            let answer = answers_within(Duration::from_millis(200), Command::new("/bin/sh").args(["-c", script]));
            assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::TimedOut, "{script}");
            assert!(began.elapsed() < Duration::from_secs(30), "{script}: it took {:?}", began.elapsed());
        }
    }
}
