//! A Debian system whose process 1 is systemd, up to `basic.target`: with a journal, and without what would be started later.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Debian, Known};
use crate::support::sandbox::Sandbox;

impl Debian {
    /// Debian 12, booted as a container is.
    pub fn bookworm_with_systemd() -> Result<Debian> {
        let debian = Debian::come_up("bookworm", Known::Here, Sandbox::start_with_systemd)?;
        let end = Instant::now() + Duration::from_secs(60);
        while debian.state_of("basic.target")? != "active" {
            ensure!(Instant::now() < end, "systemd is not up: {:?}", debian.run("systemctl", &["list-jobs"])?);
            std::thread::sleep(Duration::from_millis(50));
        }
        // It has made it read-only, as /etc/fstab says. The verbs of this world begin with a system that is writable.
        debian.must("mount", &["-o", "remount,rw", "/usr"])?;
        Ok(debian)
    }

    /// What systemctl calls a unit: `active`, `inactive`, `failed` …
    pub fn state_of(&self, unit: &str) -> Result<String> {
        Ok(self.run("systemctl", &["is-active", unit])?.stdout.trim().to_owned())
    }

    /// Adds a service that runs a program in a way of its own, and starts it; its process.
    pub fn service(&self, name: &str, program: &str, settings: &str) -> Result<u32> {
        let unit = format!("[Service]\nType=exec\nExecStart={program}\n{settings}\n");
        self.write(&format!("/etc/systemd/system/{name}.service"), &unit)?;
        self.must("systemctl", &["daemon-reload"])?;
        self.must("systemctl", &["start", name])?;
        let pid = self.must("systemctl", &["show", "--value", "--property=MainPID", name])?;
        pid.trim().parse().with_context(|| format!("{name} has no process: {pid}"))
    }

    /// What the journal has of one unit or program, a line each, by a field that tells which.
    pub fn journal_of(&self, field: &str) -> Result<String> {
        self.must("journalctl", &["--sync"])?;
        self.must("journalctl", &["--no-pager", "--output=cat", field])
    }
}
