//! What a person does in a small world without apt, and what its log hears of it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Frontend, Resident, Run, Small};

/// A `rokeep run` that is on. Dropping it ends the command, and returns when rokeep has ended too.
pub struct Running(Resident);

impl Running {
    /// The command's process id inside the world.
    pub fn command(&self) -> u32 {
        self.0.pid
    }

    /// A signal for rokeep alone.
    pub fn signal_rokeep(&self, signal: Signal) {
        kill(Pid::from_raw(self.rokeep()), signal).expect("rokeep runs");
    }

    /// A signal for both, as from a terminal.
    pub fn signal_both(&self, signal: Signal) {
        let command = only_child(self.rokeep());
        self.signal_rokeep(signal);
        kill(Pid::from_raw(command), signal).expect("the command runs");
    }

    /// Waits until rokeep has ended, and answers its exit code.
    pub fn ended(mut self) -> i32 {
        let status = self.0.nsenter.wait().expect("an end");
        status.code().or(status.signal().map(|signal| 128 + signal)).expect("ended or killed")
    }

    fn rokeep(&self) -> i32 {
        only_child(self.0.nsenter.id().try_into().expect("a process id"))
    }
}

fn only_child(pid: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.trim().parse().unwrap_or_else(|_| panic!("{pid} has not one child, but {children:?}"))
}

impl Small {
    /// `rokeep run MOUNTS -- COMMAND`, with a command that stays.
    pub fn running(&self, mounts: &[&str]) -> Running {
        let mut command = self.sandbox.command("/tool/holder");
        command.args(["at-a-terminal", "/tool/rokeep", "run"]).args(mounts).args(["--", "/tool/holder", "wait"]);
        Running(Resident::start(&mut command))
    }

    /// `rokeep run WORDS`, with something for the command to read, until that has ended. What the command touches is its
    /// own business.
    pub fn rokeep_runs(&self, words: &[&str], input: &[u8]) -> Run {
        let answer = self.output(self.sandbox.command("/tool/rokeep").arg("run").args(words), input);
        self.logged(&format!("run {}", words.join(" ")), answer)
    }

    /// A person calls rokeep by way of another program. What it touches is its own business.
    pub fn rokeep_runs_under(&self, program: &str, words: &[&str]) -> Run {
        let answer = self.output(self.sandbox.command(program).args(words), b"");
        self.logged(&words.join(" "), answer)
    }

    /// From now on apt is what `rokeep run` has started.
    pub fn apt_is_run_by_rokeep(&self) {
        let mut command = self.sandbox.command("/tool/rokeep");
        command.args(["run", "--", "/tool/apt-get", "frontend"]).env("DPKG_FRONTEND_LOCKED", "true");
        self.frontend.replace(Some(Frontend(Resident::start(&mut command))));
    }

    /// apt ends, as it does when it is done.
    pub fn apt_leaves(&self) {
        let mut frontend = self.frontend.take().expect("an apt");
        drop(frontend.0.stdin.take());
        frontend.0.nsenter.wait().expect("an end");
    }

    /// apt calls rokeep with these words, its announcement on a descriptor of its own.
    pub fn announced_to(&self, words: &[&str], stream: Vec<u8>) -> Run {
        self.order(words, Some(stream))
    }

    /// A program writes a file, if it can.
    pub fn writes(&self, path: &str) -> bool {
        self.output(self.sandbox.command("/tool/holder").args(["write", path]), b"by hand\n").code == 0
    }

    /// SIGKILL for the rokeeps whose first word this is.
    pub fn kill_rokeep_that(&self, word: &str) {
        let does = |pid: &u32| {
            let line = std::fs::read(self.outside(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(word.as_bytes())
        };
        let all: Vec<u32> = self.running_rokeeps().into_iter().filter(does).collect();
        self.check(!all.is_empty(), &format!("no rokeep runs that does {word}"));
        all.iter().for_each(|pid| self.run_helper(&["kill"], Path::new(&pid.to_string()), b""));
    }

    /// The log, which listens at this socket from now on.
    pub fn log_at(&self, socket: &str) -> Log {
        let socket = self.outside(socket);
        std::fs::create_dir_all(socket.parent().expect("a directory")).expect("its directory");
        let socket = UnixDatagram::bind(socket).expect("a socket");
        socket.set_nonblocking(true).expect("a socket that never waits");
        Log(socket)
    }
}

/// A stand-in for the system's log.
pub struct Log(UnixDatagram);

/// One entry of it: fields of any bytes.
pub type Entry = BTreeMap<String, Vec<u8>>;

impl Log {
    /// What has come since the last time, as it came.
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut room = vec![0; 1 << 18];
        loop {
            match self.0.recv(&mut room) {
                Ok(length) => datagrams.push(room[..length].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return datagrams,
                Err(error) => panic!("the log: {error}"),
            }
        }
    }

    /// The same, read as journald does.
    pub fn entries(&self) -> Vec<Entry> {
        self.datagrams().iter().map(|datagram| read(datagram)).collect()
    }

    /// Those entries that are about a mount: `MOUNT STATE PRIORITY`, and the reason.
    pub fn changes(&self) -> Vec<(String, String)> {
        let text = |entry: &Entry, name: &str| String::from_utf8_lossy(&entry[name]).into_owned();
        let change = |entry: &Entry| {
            let [mount, state, priority] = ["ROKEEP_MOUNT", "ROKEEP_STATE", "PRIORITY"].map(|name| text(entry, name));
            (format!("{mount} {state} {priority}"), text(entry, "ROKEEP_REASON"))
        };
        self.entries().iter().filter(|entry| entry.contains_key("ROKEEP_MOUNT")).map(change).collect()
    }
}

fn read(mut datagram: &[u8]) -> Entry {
    let mut entry = Entry::new();
    let split = |text: &[u8], at: usize| (text[..at].to_vec(), text[at + 1..].to_vec());
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').expect("whole lines");
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        let (name, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(equals) => {
                datagram = rest;
                split(line, equals)
            }
            None => {
                let length = u64::from_le_bytes(rest[..8].try_into().expect("a length")) as usize;
                assert_eq!(rest[8 + length], b'\n', "a value ends its line");
                datagram = &rest[8 + length + 1..];
                (line.to_vec(), rest[8..8 + length].to_vec())
            }
        };
        entry.insert(String::from_utf8(name).expect("a name"), value);
    }
    entry
}
