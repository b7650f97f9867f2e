//! What has to be so, meanwhile and when everybody has left.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rokeep::core::journal::{self, Spot};

use crate::scene::{MOUNTS, Said, Scene};
use crate::support::sandbox::Access;
use crate::support::small::Holder;
use crate::support::status::Status;

const STATE: &str = "/var/lib/rokeep";
const RUN: &str = "/run/rokeep";

/// What nobody may ever say here, where nothing is wrong but that everybody comes at once.
const NEVER: [&str; 14] = [
    "panicked",
    "damaged",
    "cannot use",
    "No such file",
    "not finished",
    "cannot drop",
    "cannot tidy",
    "could be dropped",
    "somebody else made it so",
    "not rokeep's",
    "not protected",
    "cannot be protected",
    "for a minute",
    "Read-only file system",
];

/// Of every command: how it ends, and what it says.
pub fn of_what_is_said(scene: &Scene, what: &str, said: &Said) {
    if scene.is_deadly && said.was_killed() {
        return;
    }
    let may_end_with: &[i32] = match what {
        _ if what.contains("hook ") => &[0],
        _ if what.contains("release") || what.contains("remount ro") => &[0, 1, 3],
        _ if what.contains("cleanup") || what.contains("recover") || what.contains("status") => &[0, 1],
        // In a deadly round its hook may be killed, and then it ends as dpkg does; or it is told to die.
        _ if what.contains("/tool/dpkg") => &[0, 2, 137, -1, 255],
        _ if what.contains("lease") => &[0, 1],
        _ => &[0],
    };
    scene.check(may_end_with.contains(&said.code), || format!("{what} ended with {}", said.code));
    for words in NEVER {
        scene.check(!said.stderr.contains(words) && !said.stdout.contains(words), || format!("{what} says {words:?}"));
    }
}

/// What `status` says can be read, and is what it promises.
pub fn of_status(scene: &Scene, said: &Said) {
    if !said.was_killed() {
        let status = Status::read(&said.stdout);
        scene.check(status.is_ok(), || format!("status says what it does not promise: {}", status.unwrap_err()));
    }
}

/// Whoever has begun finds every mount writable.
pub fn open(scene: &Scene) {
    for point in MOUNTS {
        let line = scene.sandbox.mount_line(point).unwrap_or_default();
        scene.check(Access::of(&line) == Access::Writable, || format!("apt has begun, and finds {line}"));
    }
}

/// An independent witness that a file in use has a name: the kernel's own count of its links.
pub struct Witness {
    file: PathBuf,
    what: String,
}

impl Witness {
    pub fn new(scene: &Scene, holder: &Holder, state: &str, path: &str) -> Witness {
        let proc = scene.sandbox.outside(&format!("/proc/{}", holder.pid()));
        let dir = if state == "mapped" { proc.join("map_files") } else { proc.join("fd") };
        let leads_here = |file: &Path| {
            let target = fs::read_link(file).unwrap_or_default();
            MOUNTS.iter().any(|mount| target.starts_with(mount))
        };
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let file = entries.into_iter().find(|file| leads_here(file));
        scene.check(file.is_some(), || format!("{path} is {state}, and {} does not show it", dir.display()));
        Witness { file: file.unwrap_or_default(), what: format!("{path}, {state} by {}", holder.pid()) }
    }

    /// It still has one.
    pub fn looks(&self, scene: &Scene) {
        match fs::metadata(&self.file) {
            Ok(found) => scene.check(found.nlink() > 0, || {
                format!("{} (inode {}) has no name any more, not even an alias", self.what, found.ino())
            }),
            Err(error) => scene.check(false, || format!("{}: {error}", self.what)),
        }
    }
}

/// Every mount is, in the kernel's own words, what it was; no session is open, and nothing lies about.
pub fn closed(scene: &Scene, found: &[(&str, String)]) {
    for (point, found) in found {
        let now = scene.sandbox.mount_line(point).unwrap_or_default();
        scene.check(now == *found, || format!("{point} is not as it was found: {now}, and it was {found}"));
    }
    only_these_files(scene, RUN, &["lock", "watchers"]);
    only_these_files(scene, STATE, &["journal.jsonl", "journal.spare"]);
}

/// The journal knows what there is, and nothing else.
pub fn written_down(scene: &Scene) {
    let text = fs::read(scene.sandbox.outside(&format!("{STATE}/journal.jsonl"))).unwrap_or_default();
    let journal = match journal::parse(&text) {
        Ok(journal) => journal,
        Err(error) => return scene.check(false, || format!("the journal: {error}")),
    };
    for point in MOUNTS {
        let is_there = scene.aliases(point);
        let here = journal.records.iter().filter(|record| record.spot == Spot::Store(Path::new(point).into()));
        let is_known: BTreeSet<u64> = here.map(|record| record.alias.0).collect();
        scene.check(is_there == is_known, || format!("{point} has {is_there:?}, and the journal {is_known:?}"));
    }
}

/// Nothing is left of rokeep.
pub fn without_a_trace(scene: &Scene, found: &[(&str, String)]) {
    closed(scene, found);
    for point in MOUNTS {
        let store = scene.sandbox.outside(&format!("{point}/.rokeep"));
        scene.check(store.symlink_metadata().is_err(), || {
            format!("{point} still has a store: {:?}", scene.aliases(point))
        });
    }
    only_these_files(scene, STATE, &[]);
}

/// Every file that there should be, once, and nothing else.
pub fn no_file_is_touched(scene: &Scene, files: &[(&str, (u64, Vec<u8>))]) {
    for (path, (inode, contents)) in files {
        let outside = scene.sandbox.outside(path);
        let now = outside.symlink_metadata().map(|found| found.ino()).unwrap_or(0);
        let is_same = now == *inode && fs::read(&outside).is_ok_and(|text| text == *contents);
        scene.check(is_same, || format!("{path} is not what it was"));
    }
    let failed = fs::read_to_string(scene.sandbox.outside("/tmp/dpkg-failed")).unwrap_or_default();
    scene.check(failed.is_empty(), || format!("dpkg could not replace what it was to: {failed}"));
}

fn only_these_files(scene: &Scene, dir: &str, names: &[&str]) {
    let entries = fs::read_dir(scene.sandbox.outside(dir)).into_iter().flatten().flatten();
    let others: Vec<_> =
        entries.map(|entry| entry.file_name()).filter(|name| !names.iter().any(|one| name == one)).collect();
    scene.check(others.is_empty(), || format!("left behind in {dir}: {others:?}"));
}
