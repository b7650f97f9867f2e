//! Which programs are started while something is done, and with what (strace(1)).

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Frontend, Small};

/// execve(2), as strace writes it.
#[derive(Debug)]
pub struct Execution {
    /// The program, as it was named.
    pub program: PathBuf,
    /// Whether it was given an empty environment.
    pub without_environment: bool,
    /// Whether there was such a program.
    pub succeeded: bool,
    /// All of it.
    pub line: String,
}

/// How long strace may take to find apt.
const MOMENT: Duration = Duration::from_secs(10);

impl Small {
    /// Every program that apt starts meanwhile, and that what it starts starts.
    pub fn executed(&self, act: impl FnOnce()) -> Vec<Execution> {
        let mut frontend = self.frontend.borrow_mut();
        let apt = frontend.get_or_insert_with(|| Frontend::start(&self.sandbox, &["frontend"])).outer_pid();
        let apt = apt.expect("apt runs");
        drop(frontend);
        let log = tempfile();
        let options =
            ["--quiet=all", "--follow-forks", "--trace=execve,execveat", "--no-abbrev", "--string-limit=4096"];
        let mut strace = Command::new("strace")
            .args(options)
            .arg(format!("--attach={apt}"))
            .args(["--output", log.to_str().expect("a name of our own")])
            .stdin(Stdio::null())
            .spawn()
            .expect("strace");
        let status = PathBuf::from(format!("/proc/{apt}/status"));
        let is_followed = || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
        };
        self.assert_within(MOMENT, "strace follows apt", is_followed);
        act();
        kill(Pid::from_raw(strace.id().cast_signed()), Signal::SIGINT).expect("strace runs");
        strace.wait().expect("strace ends");
        let text = std::fs::read_to_string(&log).expect("what strace wrote");
        std::fs::remove_file(&log).expect("it is there");
        text.lines().filter(|line| line.contains("execve")).map(read).collect()
    }
}

/// `PID execve("PROGRAM", ["ARGUMENT"…], ["NAME=VALUE"…]) = RESULT`
fn read(line: &str) -> Execution {
    let program = line.split('"').nth(1).unwrap_or_else(|| panic!("strace: {line}"));
    Execution {
        program: program.into(),
        without_environment: line.contains("], []) = "),
        succeeded: line.ends_with(" = 0"),
        line: line.to_owned(),
    }
}

fn tempfile() -> PathBuf {
    let test = std::thread::current().name().unwrap_or_default().replace("::", ".");
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.executed"))
}
