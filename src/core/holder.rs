//! Who keeps an inode in use, and what makes them let go.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::message;

/// Whoever, or whatever, keeps an inode in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A process.
    Process(Process),
    /// A mount that has the inode as its root, in a mount namespace that may be another one than ours.
    Mount {
        /// Where, as processes of that namespace call it.
        at: PathBuf,
        /// One of these processes; none where the mount is in our own namespace, or in one that no process is in.
        seen_by: Option<Process>,
    },
    /// A loop device, by its name, that has the file behind it: `loop0`.
    LoopDevice(String),
    /// The file is swapped to.
    Swap,
    /// A program that the kernel keeps open to run others with, by the name of its rule in binfmt_misc.
    Interpreter(String),
    /// Something that nobody shows: a file in flight in a socket, say. The kernel alone says that there is somebody.
    Unseen,
}

/// A process that uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Command name.
    pub command: String,
    /// The systemd unit it belongs to.
    pub unit: Option<String>,
    /// The number of the user in whose slice (systemd.slice(5)) it is.
    pub user: Option<u32>,
    /// The unit of that user's own systemd.
    pub user_unit: Option<String>,
    /// When it was started: seconds since 1970. None where that could not be told.
    pub started: Option<u64>,
    /// In which ways it uses it.
    pub uses: BTreeSet<How>,
}

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
    /// An open descriptor that can be written to, or a mapping that is written to the file.
    #[serde(rename = "open for writing")]
    OpenForWriting,
    /// Its working directory.
    #[serde(rename = "current directory")]
    CurrentDirectory,
    /// Its root directory.
    #[serde(rename = "root directory")]
    RootDirectory,
    /// The root of a mount in its mount namespace.
    #[serde(rename = "mounted")]
    Mounted,
    /// Registered with one of its io_uring instances, and no descriptor any more.
    #[serde(rename = "io_uring")]
    IoUring,
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
            How::Mounted => "has mounted",
            How::IoUring => "has in an io_uring",
        })
    }
}

/// In a few words: `sshd (812)`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Process(process) => write!(f, "{process}"),
            Holder::Mount { at, seen_by: None } => write!(f, "the mount {}", message::path(at)),
            Holder::Mount { at, seen_by: Some(process) } => write!(f, "the mount {} of {process}", message::path(at)),
            Holder::LoopDevice(name) => write!(f, "/dev/{}", message::text(name)),
            Holder::Swap => f.write_str("the kernel's swap"),
            Holder::Interpreter(rule) => write!(f, "the kernel's rule {} for programs", message::text(rule)),
            Holder::Unseen => f.write_str("something that no process shows"),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&message::process(&self.command, self.pid))
    }
}

impl Holder {
    /// The process, if it is one.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Holder::Process(process) => Some(process),
            Holder::Mount { .. } | Holder::LoopDevice(_) | Holder::Swap | Holder::Interpreter(_) | Holder::Unseen => {
                None
            }
        }
    }
}
