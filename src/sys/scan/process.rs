//! What one process uses.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;

use super::elsewhere::Elsewhere;
use super::{By, Directory, Question, Seen, What, directory, list, numbers};
use crate::core::holder::How;
use crate::core::proc_maps::{self, Mapping};
use crate::sys::kernel::{self, LastLink, Shared, Stat};

/// A process, and what was seen of it so far.
pub struct OneProcess<'a, Q: Question> {
    pid: i32,
    question: &'a Q,
    elsewhere: &'a Elsewhere,
    seen: Vec<Q::Answer>,
}

impl<'a, Q: Question> OneProcess<'a, Q> {
    /// Nothing was seen of it yet.
    pub fn new(pid: i32, question: &'a Q, elsewhere: &'a Elsewhere) -> OneProcess<'a, Q> {
        OneProcess { pid, question, elsewhere, seen: Vec::new() }
    }

    /// What was seen so far; to be taken out.
    pub fn seen(&mut self) -> &mut Vec<Q::Answer> {
        &mut self.seen
    }

    /// Descriptors, program and directories, of all its tasks. To be called before [`OneProcess::read_memory`]: a file
    /// that is mapped and then closed in between is seen in one of them.
    pub fn read_files(&mut self, dir: &Directory) -> nix::Result<()> {
        unless_it_ended(self.files(dir))?;
        // Asked afterwards: if it lives now, it lived all the while.
        let leader_lives = lives(dir);
        if has_other_tasks(dir)? { self.other_tasks(dir, leader_lives) } else { Ok(()) }
    }

    /// Mappings. Threads share them; a leader that has exited shows none any more.
    pub fn read_memory(&mut self, dir: &Directory) -> nix::Result<()> {
        unless_it_ended(self.mappings(dir))?;
        if lives(dir) || !has_other_tasks(dir)? {
            return Ok(());
        }
        self.each_other_task(dir, |process, _, task| process.mappings(task))
    }

    fn files(&mut self, task: &Directory) -> nix::Result<()> {
        self.elsewhere.learn_from(task)?;
        self.descriptors(task)?;
        self.link(task, OsStr::new("exe"), How::Executed)?;
        self.directories(task)
    }

    /// Threads nearly always share all of it.
    fn other_tasks(&mut self, dir: &Directory, leader_lives: bool) -> nix::Result<()> {
        self.each_other_task(dir, |process, id, task| {
            if !leader_lives {
                return process.files(task);
            }
            if !kernel::share(process.pid, id, Shared::Descriptors) {
                process.descriptors(task)?;
            }
            if !kernel::share(process.pid, id, Shared::Directories) {
                process.directories(task)?;
            }
            Ok(())
        })
    }

    fn each_other_task(
        &mut self,
        dir: &Directory,
        look: impl Fn(&mut Self, i32, &Directory) -> nix::Result<()>,
    ) -> nix::Result<()> {
        let tasks = directory(dir, "task")?;
        let leader = self.pid;
        for id in numbers(&tasks)?.into_iter().filter(|id| *id != leader) {
            unless_it_ended(directory(&tasks, &id.to_string()).and_then(|task| look(self, id, &task)))?;
        }
        Ok(())
    }

    fn directories(&mut self, task: &Directory) -> nix::Result<()> {
        self.link(task, OsStr::new("cwd"), How::CurrentDirectory)?;
        self.link(task, OsStr::new("root"), How::RootDirectory)
    }

    fn descriptors(&mut self, task: &Directory) -> nix::Result<()> {
        let mut fds = list(task, "fd")?;
        let fd_dir = directory(task, "fd")?;
        for fd in fds.iter() {
            let fd = fd?;
            let name = OsStr::from_bytes(fd.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if let Some(stat) = self.follow(&fd_dir, name)? {
                let how = if is_writable(&fd_dir, name)? { How::OpenForWriting } else { How::Open };
                self.say(how, What::Stat(stat), By::Link(&fd_dir, name));
            }
        }
        Ok(())
    }

    /// A kernel thread has no program, a zombie nothing at all.
    fn link(&mut self, dir: &Directory, name: &OsStr, how: How) -> nix::Result<()> {
        if let Some(stat) = self.follow(dir, name)? {
            self.say(how, What::Stat(stat), By::Link(dir, name));
        }
        Ok(())
    }

    /// Line by line: how long the whole is, is for the process to choose.
    fn mappings(&mut self, task: &Directory) -> nix::Result<()> {
        let file = openat(task, "maps", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
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
                    self.mapping(task, &mapping);
                    last = Some(file);
                }
            }
        }
    }

    fn mapping(&mut self, task: &Directory, mapping: &Mapping) {
        if !self.question.mapping(mapping) {
            return;
        }
        let link = format!("map_files/{}", mapping.range);
        let link = OsStr::new(&link);
        match kernel::stat(task, link, LastLink::Target) {
            Ok(stat) if self.is_looked_for(&stat) => self.say(How::Mapped, What::Stat(stat), By::Link(task, link)),
            Ok(_) => {}
            // Unmapped since, or not for us to follow, or of a thread, which has no such links: the numbers have to do.
            Err(_) => {
                let what = What::Mapping(mapping.device, mapping.ino);
                self.say(How::Mapped, what, By::Name(mapping.name));
            }
        }
    }

    /// What a link in /proc leads to, if it is looked for.
    fn follow(&self, dir: &Directory, link: &OsStr) -> nix::Result<Option<Stat>> {
        match kernel::stat(dir, link, LastLink::Target) {
            Ok(stat) => Ok(self.is_looked_for(&stat).then_some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            // A file system that does not answer (a server that is gone, another user's FUSE mount) is none of ours.
            Err(_) if openat(dir, link, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).is_ok() => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn is_looked_for(&self, stat: &Stat) -> bool {
        self.question.inode(stat) || self.elsewhere.has(stat)
    }

    fn say(&mut self, how: How, what: What, by: By) {
        self.seen.extend(self.question.tell(&Seen { pid: self.pid, how, what, by }));
    }
}

fn unless_it_ended(read: nix::Result<()>) -> nix::Result<()> {
    match read {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(()),
        read => read,
    }
}

fn lives(task: &Directory) -> bool {
    kernel::stat(task, OsStr::new("exe"), LastLink::Target).is_ok()
}

/// "." and ".." and one task: nobody else to ask.
fn has_other_tasks(dir: &Directory) -> nix::Result<bool> {
    Ok(kernel::stat(dir, OsStr::new("task"), LastLink::Itself)?.links > 3)
}

/// The permissions of the link itself tell how the descriptor was opened (proc_pid_fd(5)).
fn is_writable(fd_dir: &Directory, fd: &OsStr) -> nix::Result<bool> {
    Ok(fd_dir.entry(fd)?.is_some_and(|link| link.mode & libc::S_IWUSR != 0))
}
