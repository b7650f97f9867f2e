//! Which programs are started while something is done, and with what (strace(1)).

use std::collections::BTreeMap;
use std::io::Read;
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
        let options =
            ["--quiet=all", "--follow-forks", "--trace=execve,execveat", "--no-abbrev", "--string-limit=4096"];
        let mut strace = Command::new("strace")
            .args(options)
            .arg(format!("--attach={apt}"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace");
        let mut output = strace.stderr.take().expect("a pipe");
        let output = std::thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        let status = PathBuf::from(format!("/proc/{apt}/status"));
        let is_followed = || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
        };
        self.assert_within(MOMENT, "strace follows apt", is_followed);
        act();
        let strace_pid = Pid::from_raw(strace.id().try_into().expect("a process id"));
        kill(strace_pid, Signal::SIGINT).expect("strace runs");
        strace.wait().expect("strace ends");
        let text = output.join().expect("the reader").expect("what strace wrote");
        whole_calls(&text).iter().map(|line| read(line)).collect()
    }
}

/// Where several processes are in a call at once, strace writes its two halves on two lines.
fn whole_calls(text: &str) -> Vec<String> {
    let (mut whole, mut halves) = (Vec::new(), BTreeMap::new());
    for line in text.lines().filter(|line| line.contains("execve")) {
        let process = line.split("] ").next().unwrap_or_default();
        match (line.split_once(" <unfinished ...>"), line.split_once(" resumed>")) {
            (Some((first, _)), _) => drop(halves.insert(process, first)),
            (None, Some((_, second))) => whole.push(halves.remove(process).unwrap_or_default().to_owned() + second),
            (None, None) => whole.push(line.to_owned()),
        }
    }
    whole
}

/// `[pid PID] execve("PROGRAM", ["ARGUMENT"…], ["NAME=VALUE"…]) = RESULT`
fn read(line: &str) -> Execution {
    let program = line.split('"').nth(1).unwrap_or_else(|| panic!("strace: {line}"));
    Execution {
        program: program.into(),
        without_environment: line.contains("], []) = "),
        succeeded: line.ends_with(" = 0"),
        line: line.to_owned(),
    }
}
