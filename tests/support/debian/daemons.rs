//! The daemons of a server, started from the root the way their units would, without an init.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Debian;
use super::processes::Process;

/// A daemon that runs: its first process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// The program, as in [`DAEMONS`].
    pub program: &'static str,
    /// The process that has been there longest.
    pub process: Process,
}

/// Each program, by the beginning of its file's name, and how it is started.
const DAEMONS: &[(&str, &str)] = &[
    ("sshd", "mkdir -p /run/sshd; /usr/sbin/sshd"),
    ("cron", "cron"),
    ("nginx", "nginx"),
    ("php-fpm", "mkdir -p /run/php; $(ls /usr/sbin/php-fpm*)"),
    ("named", "install -d -o bind -g bind /run/named; named -u bind"),
    // Not its own configuration, which reads the machine's kernel log.
    (
        "rsyslogd",
        r#"printf 'module(load="imuxsock")\n*.* %s\n' /var/log/all > /run/rsyslog.conf; rsyslogd -f /run/rsyslog.conf"#,
    ),
    ("postgres", "pg_lsclusters --no-header | { read -r version cluster _; pg_ctlcluster $version $cluster start; }"),
    (
        "python3",
        "setsid python3 -c 'import ssl, sqlite3, ctypes, time; open(\"/run/python3\", \"w\"); time.sleep(1e6)' &
        until [ -e /run/python3 ]; do sleep 0.1; done",
    ),
    (
        "perl",
        "setsid perl -e 'use POSIX; use Socket; open(F, \">/run/perl\"); sleep 1000000' &
        until [ -e /run/perl ]; do sleep 0.1; done",
    ),
];

/// Where that one writes.
const LOG: &str = "/var/log/all";

impl Debian {
    /// Starts sshd, cron, nginx, php-fpm, named, rsyslogd, postgres, and a Python and a Perl program; returns when all
    /// of them run.
    pub fn start_daemons(&self) -> Result<Vec<Daemon>> {
        for (program, start) in DAEMONS {
            self.start_daemon(program, start)?;
        }
        // A daemon's first process returns before the one that stays has got far.
        std::thread::sleep(Duration::from_secs(1));
        let processes = self.processes()?;
        DAEMONS.iter().map(|(program, _)| first_process_of(program, &processes)).collect()
    }

    /// Starts rsyslogd alone, which writes all that it is told into [`LOG`].
    pub fn start_log(&self) -> Result<()> {
        let (program, start) =
            DAEMONS.iter().find(|(program, _)| *program == "rsyslogd").context("it is one of them")?;
        self.start_daemon(program, start)
    }

    /// What it was told so far, as far as it has written that down.
    pub fn logged(&self) -> Result<String> {
        if self.outside(LOG).exists() { self.read(LOG) } else { Ok(String::new()) }
    }

    fn start_daemon(&self, program: &str, start: &str) -> Result<()> {
        let quietly = format!("exec </dev/null >>/var/log/start-{program} 2>&1; {start}");
        self.must("timeout", &["30", "sh", "-c", &quietly]).with_context(|| {
            format!("{program} does not start: {:?}", self.read(&format!("/var/log/start-{program}")))
        })?;
        Ok(())
    }

    /// The daemons of those that are there no more, though another process may have their number.
    pub fn ended(&self, daemons: &[Daemon]) -> Result<Vec<Daemon>> {
        let identity = |process: &Process| (process.pid, process.started);
        let there: Vec<_> = self.processes()?.iter().map(identity).collect();
        Ok(daemons.iter().filter(|daemon| !there.contains(&identity(&daemon.process))).cloned().collect())
    }

    /// Kills every process in the system but the first, and rokeep's own; returns when they are gone.
    pub fn stop_everything(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let mut others = self.processes()?;
            others.retain(|process| process.program != "rokeep");
            if others.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < end, "these survive SIGKILL: {others:?}");
            for process in others {
                // It may be gone by now.
                self.run("kill", &["-KILL", &process.pid.to_string()])?;
            }
        }
    }
}

fn first_process_of(program: &'static str, processes: &[Process]) -> Result<Daemon> {
    let of_it = processes.iter().filter(|process| process.program.starts_with(program));
    let process = of_it.min_by_key(|process| process.started).with_context(|| format!("{program} does not run"))?;
    Ok(Daemon { program, process: process.clone() })
}
