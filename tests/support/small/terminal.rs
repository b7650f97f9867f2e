//! A person in front of a terminal.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use nix::pty::{Winsize, openpty};

use super::Small;

impl Small {
    /// What `rokeep WORDS` shows on a terminal of so many columns, with these settings in its environment.
    pub fn on_a_terminal(&self, columns: u16, settings: &[(&str, &str)], words: &[&str]) -> String {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(Some(&size), None).expect("a terminal");
        let (mut person, shown) = (File::from(terminal.master), File::from(terminal.slave));
        let mut command = self.sandbox.command("/tool/rokeep");
        command.args(words).envs(settings.iter().copied()).stdout(Stdio::from(shown)).stderr(Stdio::null());
        let mut child = command.spawn().expect("nsenter");
        // It has the other end too, and there is no end to read while anybody has.
        drop(command);
        let mut seen = Vec::new();
        let mut some = [0; 4096];
        // The kernel says EIO once nobody is at the other end.
        while let Ok(length @ 1..) = person.read(&mut some) {
            seen.extend(&some[..length]);
        }
        child.wait().expect("an end");
        String::from_utf8(seen).expect("text").replace("\r\n", "\n")
    }
}
