//! Why a mount cannot become writable, and what can be done about it.
#![forbid(unsafe_code)]

use std::path::Path;

use super::message;
use super::mountinfo::Mount;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The remount.
    Remount,
    /// The first write, of a mount that calls itself writable.
    Write,
}

/// In which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `EROFS`
    ReadOnly,
    /// `EACCES`
    Denied,
    /// `EPERM`
    NotPermitted,
    /// `ENOSYS`
    NoSuchCall,
    /// `EIO`
    Failed,
    /// Anything else, described.
    Other(String),
}

/// What the block device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// It takes no writes.
    WriteProtected,
    /// It takes writes.
    Writable,
    /// There is none, or it could not be asked.
    Unknown,
}

/// The reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This kind of file system is never writable.
    ByNature,
    /// The kernel found errors on it.
    Errors,
    /// The device is write-protected.
    WriteProtected,
    /// The device could be written, and the kernel will not: errors, or a feature that it only reads.
    OnlyReads,
    /// The device could not be asked which of these it is.
    ProtectedOrErrors,
    /// Its server lets nobody here write.
    ByServer,
    /// Its server does not let root write.
    RootIsNobody,
    /// What it is made of takes no writes, though itself it may: the upper layer of an overlay.
    FromBelow,
    /// This process may not change mounts.
    NotPermitted,
    /// The kernel does not know the calls.
    KernelTooOld,
    /// Whatever the kernel said.
    Other(String),
}

/// What is known without asking.
pub fn foreseen(mount: &Mount) -> Option<Refusal> {
    if mount.failed {
        Some(Refusal::Errors)
    } else if mount.is_never_writable() {
        Some(Refusal::ByNature)
    } else {
        None
    }
}

/// What an answer means.
pub fn refusal(mount: &Mount, device: Device, attempt: Attempt, answer: Answer) -> Refusal {
    match (answer, attempt) {
        (Answer::NotPermitted, Attempt::Remount) => Refusal::NotPermitted,
        (Answer::NoSuchCall, _) => Refusal::KernelTooOld,
        (Answer::Failed, _) if mount.has_server() => Refusal::Other("I/O error".to_owned()),
        // ext4 of Linux 6.12 says so once it has closed itself, and mountinfo goes on calling it writable.
        (Answer::Failed, _) => Refusal::Errors,
        (Answer::Denied | Answer::NotPermitted, Attempt::Write) if mount.has_server() => Refusal::RootIsNobody,
        (Answer::ReadOnly | Answer::Denied, _) if mount.has_server() => Refusal::ByServer,
        (Answer::ReadOnly, Attempt::Write) if mount.overlay.is_some() => Refusal::FromBelow,
        (Answer::ReadOnly | Answer::Denied, _) => match device {
            Device::WriteProtected => Refusal::WriteProtected,
            Device::Writable => Refusal::OnlyReads,
            Device::Unknown => Refusal::ProtectedOrErrors,
        },
        (Answer::NotPermitted, Attempt::Write) => Refusal::Other("Operation not permitted".to_owned()),
        (Answer::Other(said), _) => Refusal::Other(said),
    }
}

impl Refusal {
    /// What it is and the next step, as the end of a sentence about this mount.
    pub fn advice(&self, mount: &Mount) -> String {
        let source = message::path(&mount.source);
        let point = message::path(&mount.point);
        // Not of this: it is mounted before anything could lay one.
        let overlay = match mount.point == Path::new("/") {
            true => String::new(),
            false => format!("have what is installed kept above it (\"rokeep overlay enable {point}\"), "),
        };
        let elsewhere = format!("{overlay}or name the mounts to manage in /etc/rokeep/config.toml without it");
        match self {
            Refusal::ByNature => format!(
                "{} is a kind of file system that can only be read, so what is on it cannot be upgraded in place; build a \
                 new image of it, {elsewhere}",
                message::text(&mount.fs_type)
            ),
            Refusal::Errors => format!(
                "the kernel found errors on {source} and refuses to write to it; see \"dmesg\", then \"fsck {source}\""
            ),
            Refusal::WriteProtected => {
                format!("{source} is write-protected; look for a switch on it, or try \"blockdev --setrw {source}\"")
            }
            Refusal::OnlyReads => format!(
                "{source} could be written, but the kernel found errors on its file system, or only knows how to read it; see \
                 \"dmesg\", then \"fsck {source}\""
            ),
            Refusal::ProtectedOrErrors => format!(
                "{source} is write-protected, or the kernel made its file system read-only because of errors; see \"dmesg\", \
                 then \"blockdev --setrw {source}\" or \"fsck {source}\""
            ),
            Refusal::ByServer => format!(
                "{source} is read-only where it comes from, a server or a host; have it exported writable (for NFS: \"rw\" in exports(5)), upgrade \
                 it there, {elsewhere}"
            ),
            Refusal::RootIsNobody => format!(
                "the server of {source} does not let root write; have it do so (for NFS: \"no_root_squash\" in exports(5)), \
                 upgrade it there, {elsewhere}"
            ),
            Refusal::FromBelow => {
                "it calls itself writable and takes no writes: its upper layer is read-only; remount \
                                   that first (\"findmnt\" shows it)"
                    .to_owned()
            }
            Refusal::NotPermitted => "this process may not change mounts here (a container, or a service without \
                                      CAP_SYS_ADMIN?); run apt from where mounts may be changed"
                .to_owned(),
            Refusal::KernelTooOld => "this kernel is too old: rokeep needs Linux 5.8".to_owned(),
            Refusal::Other(said) => said.clone(),
        }
    }
}
