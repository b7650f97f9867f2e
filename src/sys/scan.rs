//! Who uses which inode: every descriptor, mapping, program, working and root directory of every task, and every mount of
//! every mount namespace.
//!
//! One pass over /proc. Processes that appear during it are read too, until no new one shows: a child that a process
//! forked after it was read holds what its parent held.
//!
//! Anybody can have a process whose memory map nobody can read: whoever tries waits in the kernel, until it is killed.
//! So it is [`workers`] that look at processes, and this thread waits only for so long.

mod memory;
mod mount_tables;
mod process;
mod workers;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use self::mount_tables::{MountRoot, SeenRoot};
use self::workers::Workers;
use super::files::{Directory, Root};
use super::handle::FileHandle;
use super::kernel::Stat;
use super::listing::Listing;
use super::processes;
use crate::core::holder::How;
use crate::core::inode::Device;
use crate::core::message;
use crate::core::mountinfo::Mount;
use crate::core::proc_maps::Mapping;

/// What a scan looks for, and what it is to tell of it.
pub trait Question: Send + Sync + 'static {
    /// What is told of one use of one inode.
    type Answer: Send;

    /// The file systems that are looked at: neither mappings nor mounts of others are.
    fn devices(&self) -> &HashSet<Device>;

    /// Whether a mapping is worth following; its numbers alone may be ambiguous (btrfs subvolumes).
    fn mapping(&self, mapping: &Mapping) -> bool;

    /// Whether an inode is one that is looked for.
    fn inode(&self, stat: &Stat) -> bool;

    /// File systems whose files cannot be told by their `st_dev`: what is on a mount of one of them in another mount
    /// namespace is looked for as well.
    fn superblocks(&self) -> &HashSet<Device>;

    /// What to tell of what was seen. Asked at once, while the process has it.
    fn tell(&self, seen: &Seen) -> Option<Self::Answer>;
}

/// One use of one inode.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The process that uses it, or that sees the mount whose root it is. None for a mount that this process sees itself,
    /// or that nobody sees.
    pub pid: Option<i32>,
    /// In which way.
    pub how: How,
    /// What.
    pub what: What,
    by: By<'a>,
}

/// The inode that is used, as exactly as it could be told.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// As stat(2) sees it.
    Stat(Stat),
    /// A mapping that may not be followed (it takes `CAP_CHECKPOINT_RESTORE` in the first user namespace): the
    /// superblock's device and the inode number.
    Mapping(Device, u64),
    /// Nothing but a name leads to it, and that may be gone: [`Seen::opened_as`], or the name of [`Seen::mount`]'s root.
    Name,
}

/// What it was seen by.
#[derive(Debug)]
enum By<'a> {
    /// A link in /proc that leads to it.
    Link(&'a Directory, &'a OsStr),
    /// A line of the memory map, or of what an io_uring tells of itself.
    Name(&'a [u8]),
    /// A line of a mount table.
    Mount(&'a MountRoot<'a>),
}

impl Seen<'_> {
    /// The name it was opened by, as far as it can be told from here: in whatever namespace, and with what the kernel says
    /// behind one that is gone. Of a mount it is the mount point.
    pub fn opened_as(&self) -> Option<PathBuf> {
        match self.by {
            By::Link(dir, link) => readlinkat(dir, link).ok().map(PathBuf::from),
            By::Name(name) => Some(PathBuf::from(OsStr::from_bytes(name))),
            By::Mount(root) => Some(root.mount.point.clone()),
        }
    }

    /// The mount whose root it is, if it was seen so.
    pub fn mount(&self) -> Option<&Mount> {
        match self.by {
            By::Mount(root) => Some(root.mount),
            By::Link(..) | By::Name(_) => None,
        }
    }

    /// What leads to it without a name; `None` where nothing does.
    ///
    /// # Errors
    /// Those of [`FileHandle::of_link`].
    pub fn handle(&self) -> nix::Result<Option<FileHandle>> {
        match self.by {
            By::Link(dir, link) => FileHandle::of_link(dir, link).map(Some),
            By::Mount(MountRoot { seen: Some(SeenRoot { proc, link, .. }), .. }) => {
                FileHandle::of_link(proc, link).map(Some)
            }
            By::Name(_) | By::Mount(MountRoot { seen: None, .. }) => Ok(None),
        }
    }
}

/// A machine that forks faster than this can look at it is not known, which is an answer too. Two processors that do
/// nothing but fork have been seen to need sixty; a round takes a millisecond, ten where there are ten thousand processes.
const MOST_ROUNDS: u32 = 200;

/// Processes that could not be read although they live: whatever they use is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable(Vec<String>);

impl Unreadable {
    /// Everybody could be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each that could not.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Who could not.
    pub fn who(&self) -> String {
        message::few(&self.0, 4)
    }
}

/// Reads every process and every mount table, and reports every use of what is looked for.
///
/// # Errors
/// Where /proc itself cannot be read.
pub fn scan<Q: Question>(root: &Root, question: Q, report: impl FnMut(Q::Answer)) -> Result<Unreadable> {
    scan_some(root, question, |_| true, report)
}

/// The same, but for the processes that need not be read: each is asked about once, before it would be. The mount table of
/// a namespace in which nobody is read is read all the same where the kernel lists it (Linux 6.12).
///
/// # Errors
/// As [`scan`].
pub fn scan_some<Q: Question>(
    root: &Root,
    question: Q,
    mut is_due: impl FnMut(i32) -> bool,
    mut report: impl FnMut(Q::Answer),
) -> Result<Unreadable> {
    let path = root.path("/proc");
    let cannot_list = || format!("cannot list {}", path.display());
    let proc = Directory::from(nix::fcntl::open(&path, LISTED, Mode::empty()).with_context(cannot_list)?);
    let mut listing = Listing::default();
    let mut known = HashSet::new();
    let (mut unreadable, mut who) = (Vec::new(), Vec::new());
    let mut workers = Workers::new(directory(&proc, ".").with_context(cannot_list)?, question);
    workers.look_here(&mut report).context("cannot read the mount table")?;
    for round in 0.. {
        let dir = openat(&proc, ".", LISTED, Mode::empty()).with_context(cannot_list)?;
        let all = listing.numbers(dir).with_context(cannot_list)?;
        let new: Vec<i32> = all.into_iter().filter(|pid| known.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        if round == MOST_ROUNDS {
            who.push("processes that come and go faster than they can be read".to_owned());
            break;
        }
        let due: Vec<i32> = new.into_iter().filter(|pid| is_due(*pid)).collect();
        unreadable.extend(workers.read(&due, &mut report).context("cannot start a thread")?);
    }
    if processes::may_be_hidden(root)? {
        who.push("processes that /proc hides (hidepid)".to_owned());
    }
    if workers.look_where_nobody_is(&mut report).is_err() {
        who.push("a mount namespace without processes".to_owned());
    }
    unreadable.sort_unstable();
    who.extend(unreadable.into_iter().map(|pid| message::process(&processes::command(root, pid), pid)));
    Ok(Unreadable(who))
}

const LISTED: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

fn directory(parent: &Directory, name: &str) -> nix::Result<Directory> {
    openat(parent, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map(Directory::from)
}
