//! Who uses which inode: every descriptor, mapping, program, working and root directory of every process.
//!
//! One pass over /proc. Processes that appear during it are read too, until no new one shows: a child that a process
//! forked after it was read holds what its parent held.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use serde::Serialize;

use super::files::{Directory, Root};
use super::kernel::{self, LastLink, Stat};
use crate::core::inode::Device;
use crate::core::proc_maps::{self, Mapping};

/// How a process uses an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum How {
    /// Mapped into its memory.
    #[serde(rename = "mapped")]
    Mapped,
    /// The program it runs.
    #[serde(rename = "executed")]
    Executed,
    /// An open descriptor, `O_PATH` ones included.
    #[serde(rename = "open")]
    Open,
    /// An open descriptor that can be written to.
    #[serde(rename = "open for writing")]
    OpenForWriting,
    /// Its working directory.
    #[serde(rename = "current directory")]
    CurrentDirectory,
    /// Its root directory.
    #[serde(rename = "root directory")]
    RootDirectory,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Mapped => "maps",
            How::Executed => "runs",
            How::Open => "has open",
            How::OpenForWriting => "writes",
            How::CurrentDirectory => "sits in",
            How::RootDirectory => "has as its root",
        })
    }
}

/// One use of one inode by one process.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Who.
    pub pid: i32,
    /// In which way.
    pub how: How,
    /// What.
    pub what: What,
    /// The link under `/proc/PID` that leads to it; what it reads is the name it was opened by.
    pub link: String,
}

/// The inode that is used, as exactly as it could be told.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// As stat(2) sees it.
    Stat(Stat),
    /// A mapping that may not be followed (it takes `CAP_CHECKPOINT_RESTORE` in the first user namespace): the
    /// superblock's device and the inode number.
    Mapping(Device, u64),
}

/// A machine that forks faster than this can look at it is not known, which is an answer too.
const MOST_ROUNDS: u32 = 50;

/// Processes that could not be read although they live: whatever they use is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable(pub Vec<i32>);

/// What a scan looks for.
pub struct Question<'a> {
    /// Whether a mapping is worth following; its numbers alone may be ambiguous (btrfs subvolumes).
    pub mapping: &'a dyn Fn(&Mapping) -> bool,
    /// Whether an inode is one that is looked for.
    pub inode: &'a dyn Fn(&Stat) -> bool,
}

/// Reads every process and reports every use of what is looked for.
///
/// # Errors
/// Where /proc itself cannot be read.
pub fn scan(root: &Root, question: &Question, mut report: impl FnMut(Seen)) -> Result<Unreadable> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let path = root.path("/proc");
    let proc = nix::fcntl::open(&path, flags, Mode::empty());
    let proc = Directory::from(proc.with_context(|| format!("cannot open {}", path.display()))?);
    let mut known = HashSet::new();
    let mut unreadable = Unreadable::default();
    let mut maps = Vec::new();
    for round in 0.. {
        let new: Vec<i32> = pids(&proc)?.into_iter().filter(|pid| known.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        if round == MOST_ROUNDS {
            unreadable.0.extend(new);
            break;
        }
        for pid in new {
            let mut process = OneProcess { pid, maps: &mut maps, question, report: &mut report };
            match process.read(&proc) {
                Ok(()) | Err(Errno::ENOENT | Errno::ESRCH) => {}
                Err(_) => unreadable.0.push(pid),
            }
        }
    }
    Ok(unreadable)
}

fn pids(proc: &Directory) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in list(proc, ".").context("cannot list /proc")?.iter() {
        let entry = entry.context("cannot list /proc")?;
        pids.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

fn list(dir: &Directory, name: &str) -> nix::Result<Dir> {
    Dir::openat(dir, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

struct OneProcess<'a, F: FnMut(Seen)> {
    pid: i32,
    maps: &'a mut Vec<u8>,
    question: &'a Question<'a>,
    report: &'a mut F,
}

impl<F: FnMut(Seen)> OneProcess<'_, F> {
    /// Descriptors before mappings: a file that is mapped and then closed in between is seen in one of them.
    fn read(&mut self, proc: &Directory) -> nix::Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = Directory::from(openat(proc, self.pid.to_string().as_str(), flags, Mode::empty())?);
        self.descriptors(&dir)?;
        self.mappings(&dir)?;
        for (link, how) in [("exe", How::Executed), ("cwd", How::CurrentDirectory), ("root", How::RootDirectory)] {
            // A kernel thread has no program, a zombie nothing at all.
            if let Some(stat) = self.follow(&dir, OsStr::new(link))? {
                self.say(how, What::Stat(stat), link);
            }
        }
        Ok(())
    }

    fn descriptors(&mut self, dir: &Directory) -> nix::Result<()> {
        let mut fds = list(dir, "fd")?;
        let fd_dir = Directory::from(fds.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)?);
        for fd in fds.iter() {
            let fd = fd?;
            if fd.file_name() == c"." || fd.file_name() == c".." {
                continue;
            }
            let name = os_str(fd.file_name());
            if let Some(stat) = self.follow(&fd_dir, name)? {
                let how = if is_writable(&fd_dir, name)? { How::OpenForWriting } else { How::Open };
                self.say(how, What::Stat(stat), &format!("fd/{}", name.to_string_lossy()));
            }
        }
        Ok(())
    }

    fn mappings(&mut self, dir: &Directory) -> nix::Result<()> {
        let mut maps = std::mem::take(self.maps);
        maps.clear();
        let file = openat(dir, "maps", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let read = file.and_then(|file| File::from(file).read_to_end(&mut maps).map_err(errno));
        let result = read.and_then(|_| self.mapped_files(dir, &maps));
        *self.maps = maps;
        result
    }

    fn mapped_files(&mut self, dir: &Directory, maps: &[u8]) -> nix::Result<()> {
        let mut last = None;
        for mapping in proc_maps::parse(maps) {
            let this = Some((mapping.device, mapping.ino));
            if this == last || !(self.question.mapping)(&mapping) {
                continue;
            }
            last = this;
            let link = format!("map_files/{}", mapping.range);
            match kernel::stat(dir, OsStr::new(&link), LastLink::Target) {
                Ok(stat) if (self.question.inode)(&stat) => self.say(How::Mapped, What::Stat(stat), &link),
                Ok(_) => {}
                // Unmapped since, or not for us to follow: the numbers have to do.
                Err(_) => self.say(How::Mapped, What::Mapping(mapping.device, mapping.ino), &link),
            }
        }
        Ok(())
    }

    /// What a link in /proc leads to, if it is looked for.
    fn follow(&self, dir: &Directory, link: &OsStr) -> nix::Result<Option<Stat>> {
        match kernel::stat(dir, link, LastLink::Target) {
            Ok(stat) => Ok((self.question.inode)(&stat).then_some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            // A file system that does not answer (a server that is gone, another user's FUSE mount) is none of ours.
            Err(_) if openat(dir, link, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).is_ok() => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn say(&mut self, how: How, what: What, link: &str) {
        (self.report)(Seen { pid: self.pid, how, what, link: link.to_owned() });
    }
}

/// The permissions of the link itself tell how the descriptor was opened (proc_pid_fd(5)).
fn is_writable(fd_dir: &Directory, fd: &OsStr) -> nix::Result<bool> {
    Ok(fd_dir.entry(fd)?.is_some_and(|link| link.mode & libc::S_IWUSR != 0))
}

fn os_str(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
