//! Who uses which inode: every descriptor, mapping, program, working and root directory of every task.
//!
//! One pass over /proc. Processes that appear during it are read too, until no new one shows: a child that a process
//! forked after it was read holds what its parent held.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use serde::Serialize;

use super::files::{Directory, Root};
use super::kernel::{self, LastLink, Shared, Stat};
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
    /// That name, where there is no such link to read.
    pub name: Option<PathBuf>,
}

impl Seen {
    /// The link that leads to it.
    pub fn link_in(&self, root: &Root) -> PathBuf {
        root.path(&format!("/proc/{}/{}", self.pid, self.link))
    }

    /// The name it was opened by, as far as it can be told from here: in whatever namespace, and with what the kernel says
    /// behind one that is gone.
    pub fn opened_as(&self, root: &Root) -> Option<PathBuf> {
        self.name.clone().or_else(|| std::fs::read_link(self.link_in(root)).ok())
    }
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
pub struct Unreadable(Vec<i32>);

impl Unreadable {
    /// Everybody could be read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many could not.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

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
    for round in 0.. {
        let all = numbers(&proc).context("cannot list /proc")?;
        let new: Vec<i32> = all.into_iter().filter(|pid| known.insert(*pid)).collect();
        if new.is_empty() {
            break;
        }
        if round == MOST_ROUNDS {
            unreadable.0.extend(new);
            break;
        }
        for pid in new {
            let mut process = OneProcess { pid, question, report: &mut report };
            match process.read(&proc) {
                Ok(()) | Err(Errno::ENOENT | Errno::ESRCH) => {}
                Err(_) => unreadable.0.push(pid),
            }
        }
    }
    Ok(unreadable)
}

/// The entries that are numbers: processes in /proc, tasks in `/proc/PID/task`.
fn numbers(dir: &Directory) -> nix::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in list(dir, ".")?.iter() {
        numbers.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(numbers)
}

fn directory(parent: &Directory, name: &str) -> nix::Result<Directory> {
    openat(parent, name, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map(Directory::from)
}

fn list(dir: &Directory, name: &str) -> nix::Result<Dir> {
    Dir::openat(dir, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

struct OneProcess<'a, F: FnMut(Seen)> {
    pid: i32,
    question: &'a Question<'a>,
    report: &'a mut F,
}

impl<F: FnMut(Seen)> OneProcess<'_, F> {
    fn read(&mut self, proc: &Directory) -> nix::Result<()> {
        let dir = directory(proc, &self.pid.to_string())?;
        match self.task(&dir, "") {
            Ok(()) | Err(Errno::ENOENT | Errno::ESRCH) => {}
            Err(other) => return Err(other),
        }
        // Asked afterwards: if it lives now, it lived all the while.
        let leader_lives = kernel::stat(&dir, OsStr::new("exe"), LastLink::Target).is_ok();
        // "." and ".." and one task: nobody else to ask.
        let tasks = kernel::stat(&dir, OsStr::new("task"), LastLink::Itself)?.links.saturating_sub(2);
        if tasks > 1 { self.other_tasks(&dir, leader_lives) } else { Ok(()) }
    }

    /// What one task has. Descriptors before mappings: a file that is mapped and then closed in between is seen in one
    /// of them.
    fn task(&mut self, dir: &Directory, prefix: &str) -> nix::Result<()> {
        self.descriptors(dir, prefix)?;
        self.mappings(dir, prefix)?;
        self.link(dir, prefix, "exe", How::Executed)?;
        self.directories(dir, prefix)
    }

    /// Threads share memory, and nearly always the rest. A leader that has exited shows nothing of its own any more.
    fn other_tasks(&mut self, process: &Directory, leader_lives: bool) -> nix::Result<()> {
        let tasks = directory(process, "task")?;
        let leader = self.pid;
        for id in numbers(&tasks)?.into_iter().filter(|id| *id != leader) {
            let prefix = format!("task/{id}/");
            let told = directory(&tasks, &id.to_string()).and_then(|dir| {
                if !leader_lives {
                    return self.task(&dir, &prefix);
                }
                if !kernel::share(self.pid, id, Shared::Descriptors) {
                    self.descriptors(&dir, &prefix)?;
                }
                if !kernel::share(self.pid, id, Shared::Directories) {
                    self.directories(&dir, &prefix)?;
                }
                Ok(())
            });
            match told {
                Err(Errno::ENOENT | Errno::ESRCH) | Ok(()) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn directories(&mut self, dir: &Directory, prefix: &str) -> nix::Result<()> {
        self.link(dir, prefix, "cwd", How::CurrentDirectory)?;
        self.link(dir, prefix, "root", How::RootDirectory)
    }

    /// A kernel thread has no program, a zombie nothing at all.
    fn link(&mut self, dir: &Directory, prefix: &str, name: &str, how: How) -> nix::Result<()> {
        if let Some(stat) = self.follow(dir, OsStr::new(name))? {
            self.say(how, What::Stat(stat), format!("{prefix}{name}"));
        }
        Ok(())
    }

    fn descriptors(&mut self, dir: &Directory, prefix: &str) -> nix::Result<()> {
        let mut fds = list(dir, "fd")?;
        let fd_dir = directory(dir, "fd")?;
        for fd in fds.iter() {
            let fd = fd?;
            let name = OsStr::from_bytes(fd.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if let Some(stat) = self.follow(&fd_dir, name)? {
                let how = if is_writable(&fd_dir, name)? { How::OpenForWriting } else { How::Open };
                self.say(how, What::Stat(stat), format!("{prefix}fd/{}", name.to_string_lossy()));
            }
        }
        Ok(())
    }

    /// Line by line: how long the whole is, is for the process to choose.
    fn mappings(&mut self, dir: &Directory, prefix: &str) -> nix::Result<()> {
        let file = openat(dir, "maps", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut maps = BufReader::new(File::from(file));
        let (mut line, mut last) = (Vec::new(), None);
        loop {
            line.clear();
            match maps.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
            }
            for mapping in proc_maps::parse(&line) {
                // The parts of a program or library stand one after the other; to look at one of them is enough.
                let file = (mapping.device, mapping.ino, mapping.name.to_vec());
                if last.as_ref() != Some(&file) {
                    self.mapping(dir, prefix, &mapping);
                    last = Some(file);
                }
            }
        }
    }

    fn mapping(&mut self, dir: &Directory, prefix: &str, mapping: &Mapping) {
        if !(self.question.mapping)(mapping) {
            return;
        }
        let link = format!("map_files/{}", mapping.range);
        match kernel::stat(dir, OsStr::new(&link), LastLink::Target) {
            Ok(stat) if (self.question.inode)(&stat) => self.say(How::Mapped, What::Stat(stat), link),
            Ok(_) => {}
            // Unmapped since, or not for us to follow, or of a thread, which has no such links: the numbers have to do.
            Err(_) => (self.report)(Seen {
                pid: self.pid,
                how: How::Mapped,
                what: What::Mapping(mapping.device, mapping.ino),
                link: format!("{prefix}{link}"),
                name: Some(PathBuf::from(OsStr::from_bytes(mapping.name))),
            }),
        }
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

    fn say(&mut self, how: How, what: What, link: String) {
        (self.report)(Seen { pid: self.pid, how, what, link, name: None });
    }
}

/// The permissions of the link itself tell how the descriptor was opened (proc_pid_fd(5)).
fn is_writable(fd_dir: &Directory, fd: &OsStr) -> nix::Result<bool> {
    Ok(fd_dir.entry(fd)?.is_some_and(|link| link.mode & libc::S_IWUSR != 0))
}
