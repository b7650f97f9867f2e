//! A person in front of a terminal of the system.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use super::Debian;

/// A terminal with a shell on it, in which one program was started. Dropping it closes the terminal, and so ends the shell.
pub struct Terminal<'a> {
    debian: &'a Debian,
    person: PtyMaster,
    shell: Child,
}

impl Debian {
    /// Starts a program as a person does who types its name: Ctrl-C ends it, and not the shell. One at a time; what they
    /// write must not be more than the kernel keeps for who looks at it later, some 64 KiB.
    pub fn on_a_terminal(&self, program: &str, arguments: &[&str]) -> Result<Terminal<'_>> {
        // Nobody else may inherit the person's end, or it is not closed when we close it.
        let person = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&person)?;
        unlockpt(&person)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
        let end = || Ok::<_, anyhow::Error>(Stdio::from(options.open(ptsname_r(&person)?)?));
        let script = format!(r#"trap : INT; rm -f {ENDED}; "$@"; echo $? >{ENDED}; exec sleep 1000000"#);
        let mut command = self.sandbox.command("setsid");
        // Whoever runs the tests may ignore signals that a login does not, and that would be inherited.
        command.args(["--ctty", "env", "--default-signal", "sh", "-c", &script, "sh", program]).args(arguments);
        let shell = command.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?;
        Ok(Terminal { debian: self, person, shell })
    }
}

/// Where the shell writes how the program ended.
const ENDED: &str = "/run/ended";

impl Terminal<'_> {
    /// Types Ctrl-C.
    pub fn interrupt(&mut self) -> Result<()> {
        self.person.write_all(b"\x03").context("cannot type on the terminal")
    }

    /// What was to be seen since somebody last looked.
    pub fn seen(&mut self) -> String {
        let (mut seen, mut some) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = self.person.read(&mut some) {
            seen.extend(&some[..length]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits until the program has ended; its exit code, as a shell has it, and what was to be seen.
    pub fn ended(&mut self) -> Result<(i32, String)> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(code) = self.debian.read(ENDED).ok().as_deref().and_then(|text| text.strip_suffix('\n')) {
                return Ok((code.parse()?, self.seen()));
            }
            ensure!(Instant::now() < end, "it does not end: {}", self.seen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // That is nsenter; what it has started loses its terminal.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
