//! Where it is played: two packages whose files are on two mounts that are read-only each in its own way.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::support::order::Answer;
use crate::support::sandbox::Sandbox;
use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    FileSystem::{Ext4, Tmpfs},
    Mount, Small,
};

/// A package: its name, and its files.
pub struct Package(pub &'static str, pub [&'static str; 3]);

/// Only one package manager at a time has one of these.
pub const PACKAGES: [Package; 2] = [
    Package("tool", ["/usr/bin/tool", "/usr/lib/tool/data", "/opt/lib/plugin"]),
    Package("other", ["/usr/bin/other", "/usr/lib/other.so", "/opt/lib/other"]),
];

/// A file of no package that `rokeep run` replaces.
pub const OF_A_COMMAND: &str = "/usr/lib/command.cache";
/// One that a person replaces.
pub const OF_A_PERSON: &str = "/usr/lib/person.cache";
/// Those that nobody replaces.
pub const OF_NOBODY: [&str; 2] = ["/usr/lib/nobody", "/opt/lib/nobody"];

/// The mounts.
pub const MOUNTS: [&str; 2] = ["/usr", "/opt"];

/// How long a single command may take, on a machine that has much else to do.
pub const BOUND: Duration = Duration::from_secs(30);

/// A world for many rounds, one after the other.
pub fn world() -> Small {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, ReadOnlyMount)])
        .unlisted(&[OF_A_COMMAND, OF_A_PERSON])
        .unlisted(&OF_NOBODY);
    let world = PACKAGES.iter().fold(world, |world, Package(name, files)| world.installed(name, "1", files));
    PACKAGES.iter().for_each(|Package(name, files)| world.archive(name, "2", &[], files));
    world.write("/var/lib/dpkg/lock", b"");
    world
}

/// What the actors of a round share.
pub struct Scene<'w> {
    pub sandbox: &'w Sandbox,
    began: Instant,
    packages: [Mutex<()>; 2],
    dpkg: Mutex<()>,
    said: Mutex<Vec<String>>,
    broken: Mutex<Vec<String>>,
    is_over: AtomicBool,
    /// Some rokeep was killed, and says nothing.
    pub is_deadly: bool,
}

/// A command, ended.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// As those have it that stand in between: nsenter(1) ends as its child did, and a stand-in with no code of its own.
    pub fn was_killed(&self) -> bool {
        [128 + 9, -1, 255].contains(&self.code)
    }
}

impl<'w> Scene<'w> {
    pub fn new(sandbox: &'w Sandbox, is_deadly: bool) -> Scene<'w> {
        Scene {
            sandbox,
            began: Instant::now(),
            packages: Default::default(),
            dpkg: Mutex::default(),
            said: Mutex::default(),
            broken: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_deadly,
        }
    }

    /// Nobody else works on this package until it is dropped.
    pub fn package(&self, number: usize) -> MutexGuard<'_, ()> {
        self.packages[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No other dpkg works until it is dropped.
    pub fn dpkg(&self) -> MutexGuard<'_, ()> {
        self.dpkg.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody calls rokeep.
    pub fn rokeep(&self, words: &[&str]) -> Said {
        self.runs("/tool/rokeep", words, &[], b"")
    }

    /// Somebody runs a program of the world's, to its end.
    pub fn runs(&self, program: &str, words: &[&str], env: &[(&str, &str)], input: &[u8]) -> Said {
        let began = Instant::now();
        let mut command = self.sandbox.command(program);
        let output = output(command.args(words).envs(env.iter().copied()), input);
        self.heard(&format!("{program} {}", words.join(" ")), began, output)
    }

    /// What a command has said is noted, and looked at.
    pub fn heard(&self, what: &str, began: Instant, answer: Answer) -> Said {
        let [stdout, stderr] = [answer.stdout, answer.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        let said = Said { code: answer.code, stdout, stderr };
        let [from, to] = [began, Instant::now()].map(|then| then.duration_since(self.began).as_millis());
        let text = if said.stdout.starts_with('{') { "" } else { said.stdout.as_str() };
        self.note(format!("{from:>5}–{to:<5} {what}: {}\n{text}{}", said.code, said.stderr));
        self.check(began.elapsed() < BOUND, || format!("{what} took {:?}", began.elapsed()));
        crate::rules::of_what_is_said(self, what, &said);
        said
    }

    /// For whoever has to find out what went wrong.
    pub fn note(&self, line: String) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// A rule.
    pub fn check(&self, right: bool, otherwise: impl FnOnce() -> String) {
        if !right {
            let at = self.began.elapsed().as_millis();
            self.broken.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{at} ms: {}", otherwise()));
        }
    }

    /// All rules that were broken.
    pub fn broken(&self) -> Vec<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All that was said.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The actors are done.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub fn ends(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The processes of this world that run a program of its /tool, by their ids out here, with their command lines.
    pub fn running(&self, program: &str) -> Vec<(i32, String)> {
        let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        let Some(wanted) = identity(&self.sandbox.outside(&format!("/tool/{program}"))) else { return Vec::new() };
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let line = |pid: i32| {
            let proc = Path::new("/proc").join(pid.to_string());
            (identity(&proc.join("exe")) == Some(wanted)).then(|| {
                let line = fs::read(proc.join("cmdline")).unwrap_or_default();
                (pid, String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned())
            })
        };
        pids.filter_map(line).collect()
    }

    /// Waits for something; it is a broken rule if that does not come.
    pub fn wait_until(&self, what: &str, so: impl Fn() -> bool) {
        let began = Instant::now();
        while !so() {
            if began.elapsed() > BOUND {
                return self.check(false, || format!("in {BOUND:?} not yet: {what}; {}", self.everybody()));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Nobody who does what dpkg does is at work.
    pub fn no_dpkg_works(&self) -> bool {
        !self.running("holder").iter().any(|(_, line)| line.starts_with("/tool/dpkg") || line.contains("dpkg replace"))
    }

    /// Who runs, and what the kernel says they wait for.
    pub fn everybody(&self) -> String {
        let of = |(pid, line): &(i32, String)| {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let state = read("status").lines().find(|line| line.starts_with("State")).map(str::to_owned);
            format!("\n{pid} {line}: {} {}", state.unwrap_or_default(), read("stack").replace('\n', " "))
        };
        let all: Vec<String> =
            ["rokeep", "holder"].iter().flat_map(|one| self.running(one)).map(|one| of(&one)).collect();
        all.concat()
    }

    /// The aliases on a mount, by the numbers of their inodes; none where there is no store.
    pub fn aliases(&self, point: &str) -> BTreeSet<u64> {
        let entries = fs::read_dir(self.sandbox.outside(&format!("{point}/.rokeep"))).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}

fn output(command: &mut Command, input: &[u8]) -> Answer {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.expect("nsenter");
    // Who does not read it has a reason, and will say it.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    let output = child.wait_with_output().expect("an end");
    let code = output.status.code().unwrap_or(-1);
    Answer { code, stdout: output.stdout, stderr: output.stderr, output_kept_open: false }
}
