//! A running emulator: one line in, one line out, and what the machine says on its console.
//!
//! Its end is not left to a destructor, which a value that all tests share never has: when this process ends, however it
//! does, so does the emulator.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Only for machines of this kind; there are kernels for no other.
const EMULATOR: &str = "qemu-system-x86_64";

/// A machine that was switched on.
pub struct Emulator {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    console: Arc<Mutex<Vec<u8>>>,
}

impl Emulator {
    /// Switches a machine on that consists of this, besides what every one has. The emulator knows files by their
    /// [`name_of`].
    pub fn start(parts: Vec<OsString>) -> Result<Emulator> {
        let mut child = start_for_good(parts).with_context(|| format!("cannot start {EMULATOR}"))?;
        let orders = child.stdin.take().context("no stdin")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut stderr = child.stderr.take().context("no stderr")?;
        let (send, answers) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let console = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&console);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                written.lock().unwrap_or_else(PoisonError::into_inner).extend(&bytes[..count]);
            }
        });
        Ok(Emulator { child, orders, answers, console })
    }

    /// Writes a line to it.
    pub fn tell(&mut self, line: &str) {
        // What has ended answers nothing either, and that is said with its console.
        let _ = writeln!(self.orders, "{line}").and_then(|()| self.orders.flush());
    }

    /// Reads a line from it. If there is none after this long, that is the end of it.
    pub fn hear(&mut self, patience: Duration) -> String {
        self.answers.recv_timeout(patience).unwrap_or_else(|why| {
            self.switch_off();
            let why = match why {
                RecvTimeoutError::Timeout => format!("the machine has not answered within {patience:?}"),
                RecvTimeoutError::Disconnected => "the machine has ended".to_owned(),
            };
            panic!("{why}; its console:\n\n{}", self.console());
        })
    }

    /// The same; `None` where it has ended.
    pub fn hear_if_it_lives(&mut self, patience: Duration) -> Option<String> {
        match self.answers.recv_timeout(patience) {
            Err(RecvTimeoutError::Disconnected) => None,
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => Some(self.hear(Duration::ZERO)),
        }
    }

    /// The power fails.
    pub fn switch_off(&mut self) {
        // What has ended already does not mind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for it to switch itself off, or to start anew, which is the same here. If it has not after this long, that is
    /// the end of it.
    pub fn ended(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.child.try_wait().expect("it is a child").is_none() {
            if Instant::now() > end {
                self.switch_off();
                panic!("the machine still runs after {patience:?}; its console:\n\n{}", self.console());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All that was on its console.
    pub fn console(&self) -> String {
        let console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&console).replace('\r', "")
    }
}

/// What the emulator can call a file of ours, as long as we have it open. The file need not have any other name.
pub fn name_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// A child with this wish is killed when the thread that started it ends; so this one ends with the process.
fn start_for_good(parts: Vec<OsString>) -> Result<Child> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", EMULATOR]).args(MACHINE).args(parts);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (send, started) = channel();
    std::thread::spawn(move || {
        let _ = send.send(command.spawn());
        loop {
            std::thread::park();
        }
    });
    Ok(started.recv()??)
}

/// No accelerator: there may be none. Orders go through a port that keeps lines whole, the console beside it.
#[rustfmt::skip]
const MACHINE: [&str; 18] = [
    "-accel", "tcg",
    "-cpu", "max",
    "-nodefaults",
    "-display", "none",
    "-no-reboot",
    "-chardev", "stdio,id=orders,signal=off",
    "-device", "virtio-serial",
    "-device", "virtserialport,chardev=orders",
    "-chardev", "file,id=console,path=/proc/self/fd/2",
    "-serial", "chardev:console",
];
