//! Somebody who is stopped in the middle of something, while others go on.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::calls::{GO_ON, PAUSED};
use super::{Answer, Holder, Run, Small};

/// A command that is on.
pub struct Begun<'a> {
    world: &'a Small,
    what: String,
    child: Child,
}

impl Small {
    /// A person calls rokeep, which is stopped at the first system call of this name that has this text among its arguments.
    pub fn paused_at(&self, call: &str, text: &str, words: &[&str]) -> Begun<'_> {
        let begun = self.begun("/tool/holder", &[&["paused", call, text, "/tool/rokeep"], words].concat(), b"");
        self.assert_within(Duration::from_secs(10), "it stands still", || self.outside(PAUSED).exists());
        begun
    }

    /// Somebody begins something; what he reads does not end.
    pub fn begun(&self, program: &str, words: &[&str], input: &[u8]) -> Begun<'_> {
        let mut command: Command = self.sandbox.command(program);
        let piped = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("nsenter");
        child.stdin.as_mut().expect("its input").write_all(input).expect("it reads");
        Begun { world: self, what: words.join(" "), child }
    }
}

impl Begun<'_> {
    /// It may go on, and does to its end.
    pub fn goes_on(self) -> Run {
        std::fs::write(self.world.outside(GO_ON), "").expect("the tools are writable");
        self.ended()
    }

    /// It is not done yet.
    #[track_caller]
    pub fn assert_waits(&mut self) {
        std::thread::sleep(Duration::from_millis(300));
        let ended = self.child.try_wait().expect("a child");
        self.world.check(ended.is_none(), &format!("{} does not wait", self.what));
    }

    /// Its end.
    pub fn ended(self) -> Run {
        let Begun { world, what, mut child } = self;
        // Open until it has ended.
        let stdin = child.stdin.take();
        let output = child.wait_with_output().expect("an end");
        drop(stdin);
        let code = output.status.code().unwrap_or(-1);
        world.logged(&what, Answer { code, stdout: output.stdout, stderr: output.stderr, output_kept_open: false })
    }

    /// The same, and how long it took from now.
    pub fn ended_after(self) -> (Run, Duration) {
        let began = Instant::now();
        (self.ended(), began.elapsed())
    }
}

impl Holder {
    /// It stands still until somebody lets it go on; dropping it does that first.
    pub fn stops(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// It goes on.
    pub fn continues(&self) {
        self.signal(Signal::SIGCONT);
        // nsenter(1) stops itself when its child is stopped.
        let _ = kill(Pid::from_raw(self.0.nsenter.id() as i32), Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let nsenter = self.0.nsenter.id();
        let children = std::fs::read_to_string(format!("/proc/{nsenter}/task/{nsenter}/children")).unwrap_or_default();
        let pid = children.trim().parse().expect("one child");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }
}
