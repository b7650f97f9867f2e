//! What was seen of a file, or that it could not be.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::{Finding, Topic};
use crate::core::message;

/// What there is at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// This.
    There(T),
    /// Nothing.
    Missing,
    /// It could not be looked at, and why.
    Unknown(String),
}

/// Of which kind a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// What stat(2) says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its permissions, without the kind.
    pub mode: u32,
    /// User id.
    pub owner: u32,
}

/// A file with what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it is.
    pub object: Object,
    /// All of it, or its beginning where it is large.
    pub text: Vec<u8>,
}

impl Object {
    /// Whether nobody but root can change it.
    pub fn is_roots(self) -> bool {
        self.owner == 0 && self.mode & 0o022 == 0
    }

    /// Whether root, and everybody, can run it.
    pub fn is_executable(self) -> bool {
        self.kind == Kind::File && self.mode & 0o111 == 0o111
    }

    /// Whether nobody but its owner can look into it.
    pub fn is_private(self) -> bool {
        self.mode & 0o077 == 0
    }
}

/// Those that others than root can change, each with what puts it right.
pub fn changeable(topic: Topic, objects: &[(PathBuf, Object)]) -> Vec<Finding> {
    let bad = objects.iter().filter(|(_, object)| !object.is_roots());
    bad.map(|(path, _)| not_roots(topic, path)).collect()
}

/// Others than root can change it, and root runs what it says.
pub fn not_roots(topic: Topic, path: &Path) -> Finding {
    let what = format!("{} can be changed by others than root, for whom root then runs anything", message::path(path));
    topic.broken(what).command_about(path, |path| format!("chown root:root {path} && chmod go-w {path}"))
}
