//! A person in front of a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::pty::{Winsize, openpty};

use super::Small;
use crate::support::calls::{GO_ON, PAUSED};

impl Small {
    /// What `rokeep WORDS` shows on a terminal of so many columns, with these settings in its environment.
    pub fn on_a_terminal(&self, columns: u16, settings: &[(&str, &str)], words: &[&str]) -> String {
        let mut command = self.sandbox.command("/tool/rokeep");
        command.args(words).envs(settings.iter().copied()).stderr(Stdio::null());
        let (person, shown) = terminal(columns);
        let child = command.stdout(Stdio::from(shown)).spawn().expect("nsenter");
        // It has the other end too, and there is no end to read while anybody has.
        drop(command);
        what_is_seen(person, child)
    }

    /// What a person sees of the standard error of `rokeep WORDS`, which needs a second and more for its first unlinkat(2) of
    /// a file of this name.
    pub fn on_a_terminal_when_slow(&self, unlinks: &str, settings: &[(&str, &str)], words: &[&str]) -> String {
        let mut command = self.sandbox.command("/tool/holder");
        command.args(["paused", "unlinkat", unlinks, "/tool/rokeep"]).args(words).envs(settings.iter().copied());
        let (person, shown) = terminal(80);
        let child = command.stdout(Stdio::null()).stderr(Stdio::from(shown)).spawn().expect("nsenter");
        drop(command);
        self.assert_within(Duration::from_secs(10), "it stands still", || self.outside(PAUSED).exists());
        std::thread::sleep(Duration::from_millis(1100));
        std::fs::write(self.outside(GO_ON), "").expect("the tools are writable");
        what_is_seen(person, child)
    }
}

fn terminal(columns: u16) -> (File, OwnedFd) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).expect("a terminal");
    (File::from(terminal.master), terminal.slave)
}

fn what_is_seen(mut person: File, mut child: Child) -> String {
    let mut seen = Vec::new();
    let mut some = [0; 4096];
    // The kernel says EIO once nobody is at the other end.
    while let Ok(length @ 1..) = person.read(&mut some) {
        seen.extend(&some[..length]);
    }
    child.wait().expect("an end");
    String::from_utf8(seen).expect("text").replace("\r\n", "\n")
}
