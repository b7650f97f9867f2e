//! What keeps a file of a small world in use and shows nowhere.

use std::path::Path;

use super::{Holder, Resident, Run, Small};

/// What keeps it.
#[derive(Clone, Copy, Debug)]
pub enum Pin {
    /// A Landlock rule about it, of a process that has nothing of it open.
    LandlockRule,
    /// A uprobe in it.
    Uprobe,
    /// An fanotify event about it that nobody has read.
    UnreadEvent,
    /// An inotify watch, which the kernel ends with the file's last name.
    Watch,
    /// An entry of an overlay above it that the kernel remembers.
    EntryAbove,
    /// A descriptor of that overlay's file, which can only name it.
    NameAbove,
}

impl Small {
    /// Something keeps a file in use, until the returned value is dropped.
    pub fn pin(&self, pin: Pin, path: impl AsRef<Path>) -> Holder {
        let state = match pin {
            Pin::LandlockRule => "landlocked",
            Pin::Uprobe => "probed",
            Pin::UnreadEvent => "unread",
            Pin::Watch => "watched",
            Pin::EntryAbove => "seen-from-above",
            Pin::NameAbove => "named-from-above",
        };
        Holder(Resident::start(self.sandbox.command("/tool/holder").arg(state).arg(path.as_ref())))
    }

    /// Whether the kernel grants a lease on a file, as it does where nobody has it open (fcntl(2), `F_SETLEASE`).
    pub fn grants_a_lease(&self, path: &str) -> bool {
        self.output(self.sandbox.command("/tool/holder").args(["lease", path]), b"").code == 0
    }

    /// A person calls rokeep on a kernel that has no evictable marks.
    pub fn rokeep_on_an_older_kernel(&self, words: &[&str]) -> Run {
        let mut command = self.sandbox.command("/tool/holder");
        command.args(["without-evictable-marks", "/tool/rokeep"]).args(words);
        self.leaving_alone_what_is_not_its_own(|| self.logged(&words.join(" "), self.output(&mut command, b"")))
    }
}
