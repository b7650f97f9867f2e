//! Somebody who looks at a store every millisecond while it is emptied, from outside, and so costs next to nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;

/// How often.
const PAUSE: Duration = Duration::from_millis(1);

/// Who looks.
pub struct Watcher {
    is_over: Arc<AtomicBool>,
    seen: JoinHandle<Option<Duration>>,
}

impl Watcher {
    /// Begins to look. `mount` is where the store's file system is mounted.
    ///
    /// # Errors
    /// Where that cannot be looked at.
    pub fn start(mount: &Path, store: &Path) -> Result<Watcher> {
        let before = free_inodes(mount).context("cannot count the free inodes")?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (mount, store, told) = (mount.to_owned(), store.to_owned(), Arc::clone(&is_over));
        let seen = thread::spawn(move || look(&mount, &store, before, &told));
        Ok(Watcher { is_over, seen })
    }

    /// From the first free inode to when the store was gone, in seconds; none where it was not seen to go.
    pub fn seconds(self) -> Option<f64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.seen.join().ok()?.map(|time| time.as_secs_f64())
    }
}

/// One inode that is free and taken again is no alias: rokeep proves that the mount can be written by writing a file. So it
/// begins when there are two more than there were.
fn look(mount: &Path, store: &Path, before: u64, is_over: &AtomicBool) -> Option<Duration> {
    let mut began = None;
    loop {
        let last = is_over.load(Ordering::Relaxed);
        if began.is_none() && free_inodes(mount)? > before + 1 {
            began = Some(Instant::now());
        }
        if !store.exists() {
            return began.map(|began| began.elapsed());
        }
        if last {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

fn free_inodes(mount: &Path) -> Option<u64> {
    statvfs(mount).ok().map(|found| found.files_free())
}
