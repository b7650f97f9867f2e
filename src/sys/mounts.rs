//! The mounts of this process's mount namespace.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::files::{Directory, Root};
use super::kernel;
use crate::core::message;
use crate::core::mount_state::{Flags, Step};
use crate::core::mountinfo::{self, Mount};
use crate::core::session::MountId;

/// A mounted file system, held by a descriptor of its root directory.
#[derive(Debug)]
pub struct Mounted {
    /// What mountinfo said of it when it was looked up.
    pub mount: Mount,
    dir: Directory,
    namespace: u64,
}

impl AsFd for Mounted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// The mount that a path leads to, if the path is a mount point. Of several on top of each other it is the visible one.
///
/// # Errors
/// Where the path or mountinfo cannot be read.
pub fn at(root: &Root, point: &Path) -> Result<Option<Mounted>> {
    let Some(dir) = root.open_dir(point).with_context(|| format!("cannot open {}", message::path(point)))? else {
        return Ok(None);
    };
    let id = dir.stat()?.mount_id;
    let mount = table(root)?.into_iter().find(|mount| mount.id == id && mount.point == point);
    let namespace = namespace()?;
    Ok(mount.map(|mount| Mounted { mount, dir, namespace }))
}

/// The mount that a path is on, mount point or not.
///
/// # Errors
/// Where the path or mountinfo cannot be read.
pub fn holding(root: &Root, path: &Path) -> Result<Option<Mount>> {
    let Some(dir) = root.open_dir(path)? else { return Ok(None) };
    let id = dir.stat()?.mount_id;
    Ok(table(root)?.into_iter().find(|mount| mount.id == id))
}

/// This process's mount namespace.
///
/// # Errors
/// Where /proc cannot be read.
pub fn namespace() -> Result<u64> {
    let path = "/proc/self/ns/mnt";
    Ok(std::fs::metadata(path).with_context(|| format!("cannot look at {path}"))?.ino())
}

/// Every mount that this process can see.
///
/// # Errors
/// Where mountinfo cannot be read.
pub fn table(root: &Root) -> Result<Vec<Mount>> {
    let path = root.path("/proc/self/mountinfo");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(mountinfo::parse(&text))
}

impl Mounted {
    /// Which mount it is.
    pub fn id(&self) -> MountId {
        let Mount { point, device, id, .. } = &self.mount;
        MountId { point: point.clone(), device: *device, id: *id, namespace: self.namespace }
    }

    /// How it is now, read again.
    ///
    /// # Errors
    /// Where mountinfo cannot be read, or the mount is gone.
    pub fn flags(&self, root: &Root) -> Result<Flags> {
        let now = table(root)?.into_iter().find(|mount| mount.id == self.mount.id);
        Ok(now.with_context(|| format!("{} is not mounted any more", message::path(&self.mount.point)))?.flags)
    }

    /// Performs one change.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn perform(&self, step: Step) -> nix::Result<()> {
        match step {
            Step::Superblock(access) => kernel::set_superblock(self, access),
            Step::Mount(access) => kernel::set_mount(self, access),
        }
    }
}
