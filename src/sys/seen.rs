//! What there is at a place, for whoever asks whether it is as it should be. Nothing is waited for, and only files are read.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::core::check::seen::{File, Kind, Object, Seen};

/// What a path leads to.
pub fn object(path: &Path) -> Seen<Object> {
    seen(fs::metadata(path).map(|found| described(&found)))
}

/// What a path is itself, be it a symbolic link.
pub fn itself(path: &Path) -> Seen<Object> {
    seen(fs::symlink_metadata(path).map(|found| described(&found)))
}

/// Those of these paths that lead to something.
pub fn objects(paths: &[&Path]) -> Vec<(PathBuf, Object)> {
    let there = |path: &&Path| match object(path) {
        Seen::There(object) => Some((path.to_path_buf(), object)),
        Seen::Missing | Seen::Unknown(_) => None,
    };
    paths.iter().filter_map(there).collect()
}

/// What a path leads to, and no more than so many bytes of it. What is no regular file is not read.
pub fn file(path: &Path, most: u64) -> Seen<File> {
    seen(read(path, most))
}

/// The names in a directory, in byte order; none where it cannot be read.
pub fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.file_name().into()).collect();
    names.sort();
    names
}

fn read(path: &Path, most: u64) -> io::Result<File> {
    // Whatever else is there, as a named pipe, might never let go of us.
    let object = described(&fs::metadata(path)?);
    let mut text = Vec::new();
    if object.kind == Kind::File {
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
        opened.take(most).read_to_end(&mut text)?;
    }
    Ok(File { object, text })
}

fn described(found: &Metadata) -> Object {
    let kind = if found.is_file() {
        Kind::File
    } else if found.is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    };
    Object { kind, mode: found.mode() & 0o7777, owner: found.uid() }
}

fn seen<T>(found: io::Result<T>) -> Seen<T> {
    match found {
        Ok(found) => Seen::There(found),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Seen::Missing,
        Err(error) => Seen::Unknown(error.to_string()),
    }
}
