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
    /// Outside the world's pid namespace, where nobody in the world sees it.
    OuterProcesses,
}

impl Small {
    /// The same as [`Small::hold`], by a process that is somewhere else.
    pub fn hold_from<P: AsRef<Path>>(&self, from: Where, state: State<P>) -> Holder {
        let mut command = match from {
            Where::OuterProcesses => self.sandbox.command_of_an_outer_process("/tool/holder"),
            Where::Chroot(_) | Where::OwnMounts | Where::OwnPath | Where::OwnProcesses => {
                self.sandbox.command("/tool/holder")
            }
        };
        match from {
            Where::OuterProcesses => &mut command,
            Where::Chroot(root) => command.args(["chroot", root]),
            Where::OwnMounts => command.arg("own-mounts"),
            Where::OwnPath => command.arg("own-path"),
            Where::OwnProcesses => command.arg("own-processes"),
        };
        let (word, path) = state.words();
        Holder(Resident::start(command.arg(word).arg(path.as_ref())))
    }

    /// The same as [`Small::hold`], by a process whose memory map nobody can read: whoever tries waits for ever.
    pub fn hold_unreadably<P: AsRef<Path>>(&self, state: State<P>) -> Holder {
        let (word, path) = state.words();
        let mut command = self.sandbox.command("/tool/holder");
        Holder(Resident::start(command.args(["unreadable", word]).arg(path.as_ref())))
    }

    /// A directory that can be somebody's root: the world's /usr is in it.
    pub fn jail(&self, root: &str) {
        self.bind("/usr", &format!("{root}/usr"));
    }

    /// The program behind the FUSE mounts dies: from then on they are there, and answer nothing but errors.
    pub fn fuse_dies(&self) {
        let processes = std::fs::read_dir(self.outside("/proc")).expect("its /proc").flatten();
        let is_fuse = |pid: &str| {
            let name = std::fs::read_to_string(self.outside(format!("/proc/{pid}/comm")));
            name.is_ok_and(|name| name.starts_with("mount.exfat"))
        };
        let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
        let pids: Vec<String> = names.filter(|pid| is_fuse(pid)).collect();
        self.check(!pids.is_empty(), "nothing is behind a FUSE mount");
        pids.iter().for_each(|pid| self.run_helper(&["kill"], Path::new(pid), b""));
    }
}
