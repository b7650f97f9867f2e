//! Threads that look at processes, and can be left behind.
//!
//! Usually one or two of them read all there is. One that gets nowhere is given company, and in the end is not waited for: it
//! sleeps in the kernel, has nothing that anybody needs, and ends with this program.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::mount_tables::{MountRoot, MountTables};
use super::process::{OneProcess, Scratch, mounted};
use super::{Directory, Question, directory};

/// Nothing is heard for so long: another worker starts. Usually a process takes a thousandth of it.
const MOMENT: Duration = Duration::from_millis(100);

/// So many such moments in one scan, and whoever was not read by then is unknown. Moments and not seconds, as in those in
/// which the whole machine stood still nobody could read. Long enough for a machine that is busy, short enough for apt,
/// which has a scan made several times a run.
const PATIENCE: u32 = 50;

/// So many processes are worth a second worker from the beginning.
const MANY: usize = 64;

/// So many may be stuck, and the rest is read all the same.
const MOST: usize = 32;

/// The workers of one scan.
pub struct Workers<Q: Question> {
    shared: Arc<Shared<Q>>,
    patience: u32,
}

struct Shared<Q: Question> {
    proc: Directory,
    question: Q,
    tables: MountTables,
    next: Mutex<VecDeque<i32>>,
    told: Mutex<Told<Q::Answer>>,
    /// There is nothing more to read. Nobody is woken for less: that would take longer than to read a process.
    all_is_told: Condvar,
}

/// What nobody has listened to yet.
struct Told<A> {
    seen: Vec<A>,
    read: Vec<(i32, nix::Result<()>)>,
}

impl<Q: Question> Workers<Q> {
    /// Ready to answer this question.
    pub fn new(proc: Directory, question: Q) -> Workers<Q> {
        let tables = MountTables::new(&proc, question.devices().clone(), question.superblocks().clone());
        let told = Mutex::new(Told { seen: Vec::new(), read: Vec::new() });
        let (next, all_is_told) = (Mutex::default(), Condvar::new());
        let shared = Shared { proc, question, tables, next, told, all_is_told };
        Workers { shared: Arc::new(shared), patience: PATIENCE }
    }

    /// Looks at the mounts that this process sees.
    ///
    /// # Errors
    /// Where its mount table cannot be read.
    pub fn look_here(&self, mut report: impl FnMut(Q::Answer)) -> nix::Result<()> {
        let Shared { proc, question, tables, .. } = &*self.shared;
        tables.look_here(proc, |root| mounted(question, None, root).into_iter().for_each(&mut report))
    }

    /// Looks at the mounts of the namespaces that no process is in, once all processes were read.
    ///
    /// # Errors
    /// Where one of them cannot be looked at.
    pub fn look_where_nobody_is(&self, report: impl FnMut(Q::Answer)) -> io::Result<()> {
        let shared = self.shared.clone();
        let look = move || {
            let mut seen = Vec::new();
            let tell = |root: &MountRoot| seen.extend(mounted(&shared.question, None, root));
            shared.tables.look_where_nobody_is(&shared.proc, tell).map(|()| seen)
        };
        // Where it is told nothing it broke off.
        let looked = thread::Builder::new().spawn(look)?.join().unwrap_or(Err(Errno::EIO))?;
        looked.into_iter().for_each(report);
        Ok(())
    }

    /// Has these processes read, and answers which of them could not be.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn read(&mut self, pids: &[i32], mut report: impl FnMut(Q::Answer)) -> io::Result<Vec<i32>> {
        let mut awaited: HashSet<i32> = pids.iter().copied().collect();
        let mut unreadable = Vec::new();
        self.shared.next().extend(pids);
        self.start_one()?;
        if pids.len() >= MANY {
            let _ = self.start_one();
        }
        while !awaited.is_empty() {
            let Some(Told { seen, read }) = self.shared.listen() else {
                if self.patience == 0 {
                    break;
                }
                self.patience -= 1;
                // Where there can be no more of them, those that are there may do.
                let _ = self.start_one();
                continue;
            };
            seen.into_iter().for_each(&mut report);
            for (pid, read) in read {
                let is_awaited = awaited.remove(&pid);
                if is_awaited && !matches!(read, Ok(()) | Err(Errno::ENOENT | Errno::ESRCH)) {
                    unreadable.push(pid);
                }
            }
        }
        self.shared.next().clear();
        unreadable.extend(awaited);
        Ok(unreadable)
    }

    /// If there is something to do for it.
    fn start_one(&self) -> io::Result<()> {
        let at_work = Arc::strong_count(&self.shared) - 1;
        if at_work < MOST && !self.shared.next().is_empty() {
            let shared = self.shared.clone();
            thread::Builder::new().spawn(move || shared.work())?;
        }
        Ok(())
    }
}

impl<Q: Question> Shared<Q> {
    fn work(&self) {
        let mut scratch = Scratch::new(&self.question);
        loop {
            // Not in the head of the loop: what is locked there stays locked through its body.
            let Some(pid) = self.next().pop_front() else { break };
            let read = self.read(pid, &mut scratch);
            self.told().read.push((pid, read));
        }
        self.all_is_told.notify_one();
    }

    fn read(&self, pid: i32, scratch: &mut Scratch) -> nix::Result<()> {
        let dir = directory(&self.proc, &pid.to_string())?;
        let mut process = OneProcess::new(pid, &self.question, &self.tables, &self.proc, scratch);
        let read = process.read_files(&dir);
        self.told().seen.append(process.seen());
        // It may be kept from being read, so it comes last: what was seen until then is told.
        let read = read.and_then(|()| process.read_memory(&dir));
        self.told().seen.append(process.seen());
        read
    }

    /// `None` where there was silence for a moment.
    fn listen(&self) -> Option<Told<Q::Answer>> {
        let is_silent = |told: &Told<Q::Answer>| told.seen.is_empty() && told.read.is_empty();
        let mut told = self.told();
        if is_silent(&told) {
            let waited = self.all_is_told.wait_timeout(told, MOMENT);
            told = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let new = std::mem::replace(&mut *told, Told { seen: Vec::new(), read: Vec::new() });
        (!is_silent(&new)).then_some(new)
    }

    fn told(&self) -> MutexGuard<'_, Told<Q::Answer>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> MutexGuard<'_, VecDeque<i32>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
