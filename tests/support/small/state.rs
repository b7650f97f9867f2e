//! What a process of a small world may do with a file.

use std::path::Path;

/// The states of `holder`, each with what is in it.
#[derive(Clone, Copy, Debug)]
pub enum State<P> {
    /// A descriptor that can read.
    Open(P),
    /// A descriptor that can write.
    Writing(P),
    /// A descriptor that can only name it.
    OpenPath(P),
    /// The same, and others that come and go all the time.
    OpenPathAmongOthers(P),
    /// A mapping, and no descriptor.
    Mapped(P),
    /// A descriptor of a thread that shares its descriptors with no other.
    OfAThread(P),
    /// A mapping of a process whose first thread has exited.
    WithoutLeader(P),
    /// A mapping that may be written through (`MAP_SHARED`), and no descriptor.
    MappedShared(P),
    /// Memory that looks like files, one of them called this: a memfd, /dev/zero, System V.
    Memory(P),
    /// Mappings as of a library, and no descriptor.
    Library(P),
    /// A mapping through an overlay, with the file system below it.
    Overlaid(P),
    /// The program that runs; [`super::Small::installed_program`] makes one that can.
    Executed(P),
    /// The program that runs a script, whose name this is; see [`super::Small::write_script`].
    Script(P),
    /// Locked as rokeep does it (flock(2)).
    Flocked(P),
    /// The current directory.
    Cwd(P),
    /// The root directory.
    Root(P),
    /// A descriptor that can only name a symbolic link.
    Link(P),
    /// The reading end of a named pipe.
    Pipe(P),
    /// A socket that has this name.
    Bound(P),
    /// A file in this directory that has no name yet (`O_TMPFILE`).
    Nameless(P),
    /// Sent to a socket that nobody reads.
    InFlight(P),
    /// Registered with an io_uring, and no descriptor.
    IoUring(P),
    /// Behind a loop device.
    Loop(P),
    /// Swapped to; see [`super::Small::write_swap_file`].
    Swap(P),
    /// The source of a bind mount.
    Mounted(P),
    /// A descriptor of one short-lived process after the other.
    PassedOn(P),
    /// A descriptor of a process with many short-lived children.
    Forking(P),
}

impl<P: AsRef<Path>> State<P> {
    pub(in super::super) fn words(self) -> (&'static str, P) {
        match self {
            State::Open(path) => ("open", path),
            State::Writing(path) => ("writing", path),
            State::OpenPath(path) => ("open-path", path),
            State::OpenPathAmongOthers(path) => ("open-path-among-others", path),
            State::Mapped(path) => ("mapped", path),
            State::OfAThread(path) => ("of-a-thread", path),
            State::WithoutLeader(path) => ("without-leader", path),
            State::MappedShared(path) => ("mapped-shared", path),
            State::Memory(path) => ("memory", path),
            State::Library(path) => ("library", path),
            State::Overlaid(path) => ("overlaid", path),
            State::Executed(path) => ("executed", path),
            State::Script(path) => ("script", path),
            State::Flocked(path) => ("flocked", path),
            State::Cwd(path) => ("cwd", path),
            State::Root(path) => ("root", path),
            State::Link(path) => ("link", path),
            State::Pipe(path) => ("pipe", path),
            State::Bound(path) => ("bound", path),
            State::Nameless(path) => ("nameless", path),
            State::InFlight(path) => ("in-flight", path),
            State::IoUring(path) => ("io-uring", path),
            State::Loop(path) => ("loop", path),
            State::Swap(path) => ("swap", path),
            State::Mounted(path) => ("mounted", path),
            State::PassedOn(path) => ("passed-on", path),
            State::Forking(path) => ("forking", path),
        }
    }
}
