//! What one process uses.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::Mode;

use super::mount_tables::{MountRoot, MountTables};
use super::{By, Directory, LISTED, Question, Seen, What, directory};
use crate::core::holder::How;
use crate::core::kernel_holders;
use crate::core::proc_maps::Reader;
use crate::sys::kernel::{self, LastLink, Shared, Stat};
use crate::sys::listing::Listing;

/// A process, and what was seen of it so far.
pub struct OneProcess<'a, Q: Question> {
    pid: i32,
    pub(super) question: &'a Q,
    tables: &'a MountTables,
    proc: &'a Directory,
    pub(super) scratch: &'a mut Scratch,
    memory: Memory,
    seen: Vec<Q::Answer>,
}

/// What serves for one process after the other.
pub struct Scratch {
    names: Listing,
    pub(super) maps: Vec<u8>,
    pub(super) reader: Reader,
}

/// Where a link in /proc leads to.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// This inode.
    Inode(Stat),
    /// It is on a file system that does not answer: a server that is gone, another user's FUSE mount. That is none of ours.
    NoAnswer,
    /// There is no such link.
    Nothing,
}

/// Whose memory map is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// The first task's; threads share it.
    Leader,
    /// That of the others: a leader that has exited shows none any more.
    OtherTasks,
    /// Nobody's: it is a kernel thread, or has ended.
    Nobody,
}

/// The kernel gives out a memory map in pieces of a page, or as large as a line.
pub(super) const MAPS: usize = 16 << 10;

impl Scratch {
    /// For this question.
    pub fn new(question: &impl Question) -> Scratch {
        Scratch { names: Listing::default(), maps: vec![0; MAPS], reader: Reader::new(question.devices()) }
    }
}

/// What to tell of the root of a mount, if it is looked for.
pub fn mounted<Q: Question>(question: &Q, pid: Option<i32>, root: &MountRoot) -> Option<Q::Answer> {
    let is_looked_for = |stat| question.inode(stat) || question.superblocks().contains(&root.mount.device);
    let what = match &root.seen {
        Some(seen) if is_looked_for(&seen.stat) => What::Stat(seen.stat),
        Some(_) => return None,
        None => What::Name,
    };
    question.tell(&Seen { pid, how: How::Mounted, what, by: By::Mount(root) })
}

impl<'a, Q: Question> OneProcess<'a, Q> {
    /// Nothing was seen of it yet.
    pub fn new(
        pid: i32,
        question: &'a Q,
        tables: &'a MountTables,
        proc: &'a Directory,
        scratch: &'a mut Scratch,
    ) -> OneProcess<'a, Q> {
        OneProcess { pid, question, tables, proc, scratch, memory: Memory::Leader, seen: Vec::new() }
    }

    /// What was seen so far; to be taken out.
    pub fn seen(&mut self) -> &mut Vec<Q::Answer> {
        &mut self.seen
    }

    /// Descriptors, program and directories, of all its tasks. To be called before [`OneProcess::read_memory`]: a file
    /// that is mapped and then closed in between is seen in one of them.
    pub fn read_files(&mut self, dir: &Directory) -> nix::Result<()> {
        let program = unless_it_ended(self.files(dir))?.unwrap_or(Target::Nothing);
        let has_others = has_other_tasks(dir)?;
        self.memory = match (program, has_others) {
            (Target::Inode(_) | Target::NoAnswer, _) => Memory::Leader,
            (Target::Nothing, true) => Memory::OtherTasks,
            (Target::Nothing, false) => Memory::Nobody,
        };
        if has_others { self.other_tasks(dir) } else { Ok(()) }
    }

    /// Mappings.
    pub fn read_memory(&mut self, dir: &Directory) -> nix::Result<()> {
        let read = match self.memory {
            Memory::Leader => unless_it_ended(self.mappings(dir))?,
            Memory::OtherTasks => None,
            Memory::Nobody => return Ok(()),
        };
        // It has exited since.
        if read.is_some_and(|bytes| bytes > 0) || !has_other_tasks(dir)? {
            return Ok(());
        }
        self.each_other_task(dir, |process, _, task| process.mappings(task).map(drop))
    }

    /// Answers its program, which is looked at last: a task that has one now has lived all the while.
    fn files(&mut self, task: &Directory) -> nix::Result<Target> {
        self.root_directory(task)?;
        self.descriptors(task)?;
        self.link(task, OsStr::new("cwd"), How::CurrentDirectory)?;
        self.link(task, OsStr::new("exe"), How::Executed)
    }

    /// Threads nearly always share all of it.
    fn other_tasks(&mut self, dir: &Directory) -> nix::Result<()> {
        let leader = self.memory;
        self.each_other_task(dir, |process, id, task| {
            if leader != Memory::Leader {
                return process.files(task).map(drop);
            }
            if !kernel::share(process.pid, id, Shared::Directories) {
                process.root_directory(task)?;
                process.link(task, OsStr::new("cwd"), How::CurrentDirectory)?;
            }
            if !kernel::share(process.pid, id, Shared::Descriptors) {
                process.descriptors(task)?;
            }
            Ok(())
        })
    }

    fn each_other_task(
        &mut self,
        dir: &Directory,
        look: impl Fn(&mut Self, i32, &Directory) -> nix::Result<()>,
    ) -> nix::Result<()> {
        let tasks = openat(dir, "task", LISTED, Mode::empty()).map(Directory::from)?;
        let leader = self.pid;
        for id in self.scratch.names.numbers(&tasks)?.into_iter().filter(|id| *id != leader) {
            unless_it_ended(directory(&tasks, &id.to_string()).and_then(|task| look(self, id, &task)))?;
        }
        Ok(())
    }

    /// And the mounts that are seen from there.
    fn root_directory(&mut self, task: &Directory) -> nix::Result<()> {
        let root = match self.link(task, OsStr::new("root"), How::RootDirectory)? {
            Target::Inode(stat) => Some(stat),
            Target::NoAnswer => None,
            Target::Nothing => return Ok(()),
        };
        let (pid, question, seen) = (self.pid, self.question, &mut self.seen);
        self.tables.look_from(self.proc, task, root.as_ref(), |root| seen.extend(mounted(question, Some(pid), root)))
    }

    fn descriptors(&mut self, task: &Directory) -> nix::Result<()> {
        let fds = openat(task, "fd", LISTED, Mode::empty()).map(Directory::from)?;
        let mut names = std::mem::take(&mut self.scratch.names);
        let listed = names.for_each(&fds, |name| match self.descriptor(task, &fds, name) {
            // It is closed by now, and says nothing of the others.
            Err(Errno::ENOENT) => Ok(()),
            looked_at => looked_at,
        });
        self.scratch.names = names;
        listed
    }

    fn descriptor(&mut self, task: &Directory, fds: &Directory, name: &OsStr) -> nix::Result<()> {
        let Target::Inode(stat) = follow(fds, name)? else { return Ok(()) };
        if self.is_looked_for(&stat) {
            let how = if is_writable(fds, name)? { How::OpenForWriting } else { How::Open };
            self.say(how, What::Stat(stat), By::Link(fds, name));
        } else if has_no_type(&stat) && readlinkat(fds, name)?.as_bytes() == b"anon_inode:[io_uring]" {
            self.registered_files(task, name)?;
        }
        Ok(())
    }

    /// A file that was registered with an io_uring needs no descriptor any more.
    fn registered_files(&mut self, task: &Directory, uring: &OsStr) -> nix::Result<()> {
        let fdinfo = [b"fdinfo/", uring.as_bytes()].concat();
        let file = openat(task, OsStr::from_bytes(&fdinfo), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut text = Vec::new();
        File::from(file).read_to_end(&mut text).map_err(errno)?;
        for name in kernel_holders::registered_files(&text) {
            self.say(How::IoUring, What::Name, By::Name(name.as_os_str().as_bytes()));
        }
        Ok(())
    }

    /// A kernel thread has no program, a zombie nothing at all.
    fn link(&mut self, dir: &Directory, name: &OsStr, how: How) -> nix::Result<Target> {
        let target = follow(dir, name)?;
        if let Target::Inode(stat) = &target {
            self.say_if_looked_for(how, stat, dir, name);
        }
        Ok(target)
    }

    fn is_looked_for(&self, stat: &Stat) -> bool {
        self.question.inode(stat) || self.tables.has(stat)
    }

    pub(super) fn say_if_looked_for(&mut self, how: How, stat: &Stat, dir: &Directory, link: &OsStr) {
        if self.is_looked_for(stat) {
            self.say(how, What::Stat(*stat), By::Link(dir, link));
        }
    }

    pub(super) fn say(&mut self, how: How, what: What, by: By) {
        self.seen.extend(self.question.tell(&Seen { pid: Some(self.pid), how, what, by }));
    }
}

fn follow(dir: &Directory, link: &OsStr) -> nix::Result<Target> {
    match kernel::stat(dir, link, LastLink::Target) {
        Ok(stat) => Ok(Target::Inode(stat)),
        Err(Errno::ENOENT) => Ok(Target::Nothing),
        Err(_) if openat(dir, link, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).is_ok() => Ok(Target::NoAnswer),
        Err(other) => Err(other),
    }
}

/// `None` where it has.
fn unless_it_ended<T>(read: nix::Result<T>) -> nix::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(other) => Err(other),
    }
}

/// "." and ".." and one task: nobody else to ask.
fn has_other_tasks(dir: &Directory) -> nix::Result<bool> {
    Ok(kernel::stat(dir, OsStr::new("task"), LastLink::Itself)?.links > 3)
}

/// What is no file but made of one by the kernel: an epoll(7), an io_uring(7) (fs/anon_inodes.c).
fn has_no_type(stat: &Stat) -> bool {
    stat.mode & libc::S_IFMT == 0
}

/// The permissions of the link itself tell how the descriptor was opened (proc_pid_fd(5)).
fn is_writable(fd_dir: &Directory, fd: &OsStr) -> nix::Result<bool> {
    Ok(fd_dir.entry(fd)?.is_some_and(|link| link.mode & libc::S_IWUSR != 0))
}

pub(super) fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
