//! What rokeep remembers: the session under /run/rokeep, the journal under /var/lib/rokeep.
//!
//! [`Locked`] is the only way to write either. Reading needs no lock: both files are replaced or extended whole. Both
//! directories are [`private`]: what is in them is believed.

use std::borrow::Borrow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use nix::libc;
use serde::Serialize;

use super::files::Root;
use super::{lock, mounts, private};
use crate::core::journal::{self, Journal, Record};
use crate::core::looks::Looks;
use crate::core::message;
use crate::core::overlay;
use crate::core::session::{self, Session};

const RUN_DIR: &str = "/run/rokeep";
const STATE_DIR: &str = "/var/lib/rokeep";
const SESSION: &str = "/run/rokeep/session.json";
/// Of whoever changes any of this.
pub const LOCK: &str = "/run/rokeep/lock";
const WATCHERS: &str = "/run/rokeep/watchers";
const LOOKS: &str = "/run/rokeep/looks.json";
const SPARE: &str = "/var/lib/rokeep/journal.spare";
const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";

/// Bytes that are written at a time.
const BUFFER: usize = 256 << 10;

/// Where the journal is.
pub fn state_dir(root: &Root) -> PathBuf {
    root.path(STATE_DIR)
}

/// Where the session is.
pub fn run_dir(root: &Root) -> PathBuf {
    root.path(RUN_DIR)
}

/// Removes all that rokeep remembers, and the copy of it that stands in. What was installed above a mount that can never be
/// writable stays, and so does how it gets there: that is nobody's to remove who only removes rokeep.
///
/// # Errors
/// Where something cannot be removed.
pub fn forget_everything(root: &Root) -> io::Result<()> {
    let (dir, overlays) = (state_dir(root), root.path(overlay::HOME));
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        match entry.path() {
            path if path == overlays => {}
            path if entry.file_type()?.is_dir() => fs::remove_dir_all(path)?,
            path => fs::remove_file(path)?,
        }
    }
    if overlays.exists() { Ok(()) } else { fs::remove_dir(&dir) }
}

/// Whether any rokeep has had the lock since the machine was started.
pub fn was_ever_locked(root: &Root) -> bool {
    root.path(LOCK).symlink_metadata().is_ok()
}

/// Reads the session; none is a session of nobody and nothing.
///
/// # Errors
/// Where it cannot be read, or is of another format.
pub fn session(root: &Root) -> Result<Session> {
    let path = root.path(SESSION);
    let unusable = || format!("cannot use the session in {}", path.display());
    let Some(text) = read(&path).with_context(unusable)? else { return Ok(Session::default()) };
    session::parse(&text).with_context(unusable)
}

/// The mounts that rokeep made writable and that are so now, for a person.
///
/// # Errors
/// As [`session()`].
pub fn still_open(root: &Root) -> Result<Vec<String>> {
    let session = session(root)?;
    let points = session.mounts.iter().filter(|noted| noted.found.refuse_writes()).map(|noted| &noted.mount.point);
    let is_open = |point: &&PathBuf| {
        mounts::at(root, point).is_ok_and(|found| found.is_some_and(|mounted| !mounted.mount.flags.refuse_writes()))
    };
    Ok(points.filter(is_open).map(|point| message::path(point)).collect())
}

/// Reads the journal; none is a journal of no records.
///
/// # Errors
/// Where it cannot be read, is damaged, or is of another format. It is left as it is.
pub fn journal(root: &Root) -> Result<Journal> {
    let path = root.path(JOURNAL);
    let unusable = || format!("cannot use the journal {}", path.display());
    let text = read(&path).with_context(unusable)?.unwrap_or_default();
    journal::parse(&text).with_context(unusable)
}

/// Who was looked at before, in this session. Nobody where that cannot be told: then everybody is looked at.
pub fn looks(root: &Root) -> Looks {
    let text = read(&root.path(LOOKS)).ok().flatten();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The lock on session and journal; whoever has it may write them.
#[derive(Debug)]
pub struct Locked<'a> {
    root: &'a Root,
    _lock: File,
}

impl<'a> Locked<'a> {
    /// See [`lock::wait`].
    ///
    /// # Errors
    /// As there: [`lock::StillHeld`] where another rokeep does not finish.
    pub fn wait(root: &'a Root) -> Result<Locked<'a>> {
        let file = lock::wait(root)?;
        // What was being written by one that was killed, and what is left of what is over. Nobody else writes now.
        for path in [SESSION, LOOKS] {
            let _ = fs::remove_file(being_written(&root.path(path)));
        }
        for (of, path) in [(JOURNAL, SPARE), (SESSION, LOOKS)] {
            if !root.path(of).exists() {
                let _ = fs::remove_file(root.path(path));
            }
        }
        Ok(Locked { root, _lock: file })
    }

    /// See [`session()`].
    ///
    /// # Errors
    /// As there.
    pub fn session(&self) -> Result<Session> {
        session(self.root)
    }

    /// See [`journal()`].
    ///
    /// # Errors
    /// As there.
    pub fn journal(&self) -> Result<Journal> {
        journal(self.root)
    }

    /// Replaces the session. One that is over leaves no file. Not fsynced: /run does not outlive the mounts it tells of.
    ///
    /// # Errors
    /// Where it cannot be written; the old one is then still there.
    pub fn save_session(&self, session: &Session) -> Result<()> {
        let path = self.root.path(SESSION);
        let failed = |error| cannot_write("", &path, error);
        if session.is_over() {
            return remove(&path).map_err(failed);
        }
        replace(&path, session).map_err(failed)
    }

    /// Remembers who was looked at, all of whose files in use have an alias by now. That it cannot be remembered costs
    /// another look and nothing else; whoever was remembered before has either not run since, or will be looked at.
    pub fn save_looks(&self, looks: &Looks) {
        let _ = replace(&self.root.path(LOOKS), looks);
    }

    /// Aliases may go from now on, so everybody has to be looked at again.
    ///
    /// # Errors
    /// Where that cannot be written down.
    pub fn forget_looks(&self) -> Result<()> {
        let path = self.root.path(LOOKS);
        remove(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// The journal, and how to add to it. One of an older format is written anew for that.
    ///
    /// # Errors
    /// Those of [`journal()`], and where it cannot be written anew.
    pub fn journal_to_extend(&self) -> Result<(Journal, Appender)> {
        let mut journal = self.journal()?;
        if journal.is_old {
            self.rewrite(&journal.records)?;
            journal = self.journal()?;
        }
        let appender = Appender {
            dir: self.root.path(STATE_DIR),
            path: self.root.path(JOURNAL),
            spare: self.root.path(SPARE),
            end: journal.whole_bytes as u64,
        };
        Ok((journal, appender))
    }

    /// Replaces the journal with just these records. No records leave no journal. It takes no more room than was set aside
    /// when they were added.
    ///
    /// # Errors
    /// Where it cannot be written; the old one is then still there.
    pub fn rewrite(&self, records: &[Record]) -> Result<()> {
        let dir = self.root.path(STATE_DIR);
        let path = self.root.path(JOURNAL);
        let failed = |error| cannot_write("the journal ", &path, error);
        let new = self.root.path(SPARE);
        if records.is_empty() {
            if !(path.exists() || new.exists()) {
                return Ok(());
            }
            // A journal that came back would tell of numbers that other files have by then.
            return remove(&path).and_then(|()| remove(&new)).and_then(|()| sync_dir(&dir)).map_err(failed);
        }
        private::make(&dir)?;
        let replaced: io::Result<()> = (|| {
            let mut text = BufWriter::with_capacity(BUFFER, open_spare(&new)?);
            text.write_all(&journal::header())?;
            write_records(&mut text, records)?;
            let mut file = text.into_inner()?;
            let end = file.stream_position()?;
            file.set_len(end)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_dir(&dir)?;
            // For the next time. Without it that may fail, where there is no room by then.
            let _ = set_aside(&new, end);
            Ok(())
        })();
        replaced.map_err(failed)
    }
}

/// Adds to the journal, while it is locked.
#[derive(Debug)]
pub struct Appender {
    dir: PathBuf,
    path: PathBuf,
    spare: PathBuf,
    /// Where its whole lines end, in bytes.
    end: u64,
}

impl Appender {
    /// Adds records of what is about to be made. When this returns they survive a power cut, and there is room to write the
    /// journal anew when what they tell of is gone, however full the file system gets. No records leave no journal.
    ///
    /// # Errors
    /// Where they cannot all be written, and why. Nothing may be made then.
    pub fn append(&mut self, records: impl IntoIterator<Item = Record>) -> Result<()> {
        let mut records = records.into_iter().peekable();
        if records.peek().is_none() {
            return Ok(());
        }
        private::make(&self.dir)?;
        let appended = (|| {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            // A torn tail of an earlier crash would make the first new line unreadable.
            file.set_len(self.end)?;
            let mut text = BufWriter::with_capacity(BUFFER, file);
            if self.end == 0 {
                text.write_all(&journal::header())?;
            }
            write_records(&mut text, records)?;
            let file = text.into_inner()?;
            let end = file.metadata()?.len();
            set_aside(&self.spare, end)?;
            file.sync_all()?;
            sync_dir(&self.dir)?;
            Ok::<_, io::Error>(end)
        })();
        self.end = appended.map_err(|error| cannot_write("the journal ", &self.path, error))?;
        Ok(())
    }
}

/// Where the journal is written anew, and room for that is set aside. What is in it means nothing.
fn open_spare(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// So many bytes, if the file system can do that: where it cannot, it may be full when the journal is to be written anew, and
/// keeps its records a little longer.
fn set_aside(path: &Path, bytes: u64) -> io::Result<()> {
    let Ok(length) = i64::try_from(bytes) else { return Ok(()) };
    match fallocate(&open_spare(path)?, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

fn write_records<R: Borrow<Record>>(to: &mut impl Write, records: impl IntoIterator<Item = R>) -> io::Result<()> {
    let mut line = Vec::new();
    records.into_iter().try_for_each(|record| {
        journal::encode_into(&mut line, record.borrow());
        to.write_all(&line)
    })
}

/// The watcher's own lock: one for each frontend, so that hundreds of small package runs of one frontend share it. It is
/// given back when it is dropped.
///
/// `None` where another watcher has it.
///
/// # Errors
/// Where /run/rokeep cannot be written.
pub fn watcher_lock(root: &Root, pid: i32) -> Result<Option<WatcherLock>> {
    watching(root, i64::from(pid)..=i64::from(pid))
}

/// Whether no watcher is at work.
///
/// # Errors
/// Where /run/rokeep cannot be written.
pub fn nobody_watches(root: &Root) -> Result<bool> {
    Ok(watching(root, 0..=i64::from(i32::MAX))?.is_some())
}

/// The lock of whoever waits for mounts that are held by hand for a time.
///
/// `None` where another watcher has it.
///
/// # Errors
/// Where /run/rokeep cannot be written.
pub fn deadlines_lock(root: &Root) -> Result<Option<WatcherLock>> {
    const NO_PROCESS: i64 = 0;
    watching(root, NO_PROCESS..=NO_PROCESS)
}

/// A byte of one file for each, so that a watcher that is killed leaves nothing behind. The lock goes with the descriptor:
/// F_OFD_SETLK in fcntl(2).
fn watching(root: &Root, bytes: RangeInclusive<i64>) -> Result<Option<WatcherLock>> {
    private::make(&root.path(RUN_DIR))?;
    let path = root.path(WATCHERS);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let byte = libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: *bytes.start(),
        l_len: bytes.end() - bytes.start() + 1,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&byte)) {
        Ok(_) => Ok(Some(WatcherLock { _file: file })),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// See [`watcher_lock`].
#[derive(Debug)]
pub struct WatcherLock {
    _file: File,
}

/// Says what helps where it is only that there is no room.
fn cannot_write(what: &str, path: &Path, error: io::Error) -> anyhow::Error {
    let path = path.display();
    let full = matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSPC | Errno::EDQUOT));
    let advice =
        if full { ", as its file system is full; make room there (\"apt-get clean\" does, in /var)" } else { "" };
    anyhow::Error::from(error).context(format!("cannot write {what}{path}{advice}"))
}

/// Where the next version of a file stands until it is whole.
fn being_written(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Not fsynced: what is in /run does not outlive the machine.
fn replace(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value).map_err(io::Error::from)?;
    let new = being_written(path);
    create(&new).and_then(|mut file| file.write_all(&text))?;
    fs::rename(&new, path)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    path.parent().map_or(Ok(()), private::check)?;
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
