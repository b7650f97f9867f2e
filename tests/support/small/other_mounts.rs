//! Other mounts of the file systems of a small world, and who can write through them.

use std::path::Path;

use super::{Access, Holder, Small};

impl Small {
    /// From now on what is mounted over it appears over its copies too, as systemd has it of every mount.
    pub fn is_shared(&self, point: &str) {
        self.run_helper(&["shared"], Path::new(point), b"");
    }

    /// What the mount table of a process says of a mount point.
    #[track_caller]
    pub fn mount_line_of(&self, process: &Holder, point: &str) -> String {
        let table = std::fs::read_to_string(self.outside(format!("/proc/{}/mountinfo", process.pid())));
        let table = table.unwrap_or_else(|error| self.fail(&format!("no mount table: {error}")));
        let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(point)).map(str::to_owned);
        line.unwrap_or_else(|| self.fail(&format!("{point} is no mount point there")))
    }

    /// A process's own mount permits this.
    #[track_caller]
    pub fn assert_mount_of(&self, process: &Holder, point: &str, expected: Access) {
        let line = self.mount_line_of(process, point);
        self.check(Access::of(&line) == expected, &format!("there {point} is not {expected:?}: {line}"));
    }

    /// Whether somebody can write a file at this path, as a process sees it.
    pub fn can_write_as(&self, process: &Holder, path: &str) -> bool {
        self.can_write(&format!("/proc/{}/root{path}", process.pid()))
    }

    /// Whether somebody can write a file at this path.
    pub fn can_write(&self, path: &str) -> bool {
        self.output(self.sandbox.command("/tool/holder").args(["write", path]), b"written").code == 0
    }
}
