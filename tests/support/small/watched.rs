//! What happens to the files of a small world while something is done, also what is gone again at the end (inotify(7)).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Small;

/// Something that happened to a file, by its name.
#[derive(Debug)]
pub struct Event {
    /// Which file.
    pub path: PathBuf,
    /// What.
    pub what: AddWatchFlags,
}

impl Event {
    /// It happened to a directory.
    pub fn is_of_a_directory(&self) -> bool {
        self.what.contains(AddWatchFlags::IN_ISDIR)
    }

    /// It was made, changed, renamed or removed, and not only opened.
    pub fn is_change(&self) -> bool {
        !self.what.difference(AddWatchFlags::IN_ISDIR | AddWatchFlags::IN_OPEN).is_empty()
    }
}

impl Small {
    /// All that happens meanwhile in the directories that there are now.
    pub fn watched(&self, act: impl FnOnce()) -> Vec<Event> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).expect("inotify");
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CLOSE_WRITE;
        let directories: HashMap<_, PathBuf> = self
            .everywhere()
            .filter(|entry| entry.file_type().is_dir())
            .map(|entry| {
                let watch = inotify.add_watch(entry.path(), changes | AddWatchFlags::IN_OPEN).expect("a watch");
                (watch, self.inside(entry.path()))
            })
            .collect();
        act();
        let mut events = Vec::new();
        loop {
            match inotify.read_events() {
                Err(Errno::EAGAIN) => return events,
                Err(error) => panic!("inotify: {error}"),
                Ok(more) => events.extend(more.into_iter().map(|event| {
                    let directory = directories.get(&event.wd).expect("no event was lost");
                    Event { path: event.name.map_or(directory.clone(), |name| directory.join(name)), what: event.mask }
                })),
            }
        }
    }

    /// A shell, as /bin/sh, and the hook scripts, as a package has them.
    pub fn with_shell_and_hooks(self) -> Small {
        let copy = |from: &Path, to: &Path| {
            self.write(to, &std::fs::read(from).expect("a file of this machine"));
            self.set_mode(to, 0o755);
        };
        self.has_from_the_machine("/bin/sh");
        self.writably(|| self.points("/usr/sbin/rokeep", "/tool/rokeep"));
        for hook in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/hooks")).expect("hooks").flatten() {
            copy(&hook.path(), &Path::new("/etc/rokeep/hooks").join(hook.file_name()));
        }
        self
    }
}
