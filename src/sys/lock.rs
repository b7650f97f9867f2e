//! The lock of whoever writes session and journal: waiting for it ends, and is not silent.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs2::FileExt;
use nix::libc;

use super::files::Root;
use super::{private, processes, state};
use crate::core::columns::shown;
use crate::core::inode::Device;
use crate::core::lock_table;
use crate::core::message;

/// How long one run waits for another. Each holds the lock for as long as it takes to remount and link, not longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever waits so long says for whom.
const SILENCE: Duration = Duration::from_secs(1);

/// How long it takes to see that the lock is free.
const PAUSE: Duration = Duration::from_millis(5);

/// Another rokeep had the lock all the while; nothing was done.
#[derive(Debug)]
pub struct StillHeld {
    path: PathBuf,
    holder: Holder,
    /// The mounts that rokeep made writable and that are so now.
    open: Vec<String>,
}

impl std::error::Error for StillHeld {}

impl fmt::Display for StillHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = message::path(&self.path);
        let open = match self.open.is_empty() {
            true => "no mount is writable because of rokeep now".to_owned(),
            false => format!("now WRITABLE: {}", message::few(&self.open, 5)),
        };
        let (who, next) = match &self.holder {
            Holder::Stopped(who, pid) => {
                (format!("{who}, which is stopped,"), format!("\"kill -CONT {pid}\" lets it go on"))
            }
            Holder::AtWork(who) => (who.clone(), "wait until it has ended".to_owned()),
            Holder::Unknown => ("somebody who cannot be seen from here".to_owned(), "wait for that".to_owned()),
        };
        write!(f, "for a minute {path} was not free; {who} has it now; {open}; {next}, then \"rokeep recover\"")
    }
}

/// Waits for the lock, a minute at most, and says on standard error for whom, once. It is given back with the file.
///
/// # Errors
/// [`StillHeld`]; where /run/rokeep or the lock cannot be made.
pub fn wait(root: &Root) -> Result<File> {
    private::make(&state::run_dir(root))?;
    let path = root.path(state::LOCK);
    let (began, mut is_silent) = (Instant::now(), true);
    let mut file = open(&path)?;
    loop {
        match file.try_lock_exclusive() {
            Ok(()) if is_at(&file, &path) => return Ok(file),
            // Somebody has removed it meanwhile, or the whole directory: it keeps nobody else out any more.
            Ok(()) => {
                private::make(&state::run_dir(root))?;
                file = open(&path)?;
            }
            Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => {}
            Err(error) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        if began.elapsed() > PATIENCE {
            return Err(StillHeld {
                holder: Holder::of(root, &file),
                open: state::still_open(root).unwrap_or_default(),
                path,
            }
            .into());
        }
        if is_silent && began.elapsed() > SILENCE {
            is_silent = false;
            say_for_whom(&Holder::of(root, &file), &path);
        }
        std::thread::sleep(PAUSE);
    }
}

fn open(path: &Path) -> Result<File> {
    let options =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).clone();
    let file = options.open(path).with_context(|| format!("cannot open {}", path.display()))?;
    ensure!(file.metadata()?.is_file(), "{} is no file", path.display());
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    identity(file.metadata()) == identity(fs::symlink_metadata(path))
}

/// A closed or broken terminal must not end us here.
fn say_for_whom(holder: &Holder, path: &Path) {
    let path = message::path(path);
    let whom = match holder {
        Holder::Stopped(who, pid) => {
            format!("{who}, which has {path} and is stopped: \"kill -CONT {pid}\" lets it go on")
        }
        Holder::AtWork(who) => format!("{who}, which has {path}"),
        Holder::Unknown => format!("somebody who has {path} and cannot be seen from here"),
    };
    let line = format!("waiting, a minute at a time, for {whom}");
    let _ = writeln!(io::stderr(), "rokeep: {}", shown(&line));
}

/// Who has the lock.
#[derive(Debug)]
enum Holder {
    /// A process that somebody has stopped, and its id.
    Stopped(String, i32),
    /// A process.
    AtWork(String),
    /// The kernel does not say.
    Unknown,
}

impl Holder {
    /// As the kernel's table of locks has it, in which nobody is who is outside of this pid namespace.
    fn of(root: &Root, file: &File) -> Holder {
        let table = fs::read(root.path("/proc/locks")).unwrap_or_default();
        let pid = file.metadata().ok().and_then(|is| {
            let device = Device { major: libc::major(is.dev()), minor: libc::minor(is.dev()) };
            lock_table::holder(&table, device, is.ino())
        });
        let Some(process) = pid.and_then(|pid| processes::by_pid(pid).ok()) else { return Holder::Unknown };
        let who = message::process(&process.command, process.pid);
        if processes::is_stopped(process.pid) { Holder::Stopped(who, process.pid) } else { Holder::AtWork(who) }
    }
}
