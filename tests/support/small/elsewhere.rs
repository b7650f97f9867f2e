//! Processes that see the files of a small world from somewhere else.

use std::path::Path;

use super::{Holder, Resident, Small, State};

/// Where where a process reaches a file.
#[derive(Clone, Copy, Debug)]
pub enum Where<'a> {
    /// In a root directory of its own, below which the path is meant.
    Chroot(&'a str),
    /// In a mount namespace of its own, where every mount is a copy.
    OwnMounts,
    /// In a mount namespace of its own, through a path that nobody else has.
    OwnPath,
    /// In pid and mount namespaces of its own.
    OwnProcesses,
}

impl Small {
    /// The same as [`Small::hold`], by a process that is somewhere else.
    pub fn hold_from<P: AsRef<Path>>(&self, from: Where, state: State<P>) -> Holder {
        let mut command = self.sandbox.command("/tool/holder");
        match from {
            Where::Chroot(root) => command.args(["chroot", root]),
            Where::OwnMounts => command.arg("own-mounts"),
            Where::OwnPath => command.arg("own-path"),
            Where::OwnProcesses => command.arg("own-processes"),
        };
        let (word, path) = state.words();
        Holder(Resident::start(command.arg(word).arg(path.as_ref())))
    }

    /// A directory that can be somebody's root: the world's /usr is in it.
    pub fn jail(&self, root: &str) {
        self.bind("/usr", &format!("{root}/usr"));
    }
}
