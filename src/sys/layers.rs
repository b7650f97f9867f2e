//! The two layers of an overlay, looked at directly: what is above, and what is below each of it.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use super::files::Directory;
use super::link;
use crate::core::overlay::layers::{Above, Attributes, Below, Layered};

/// Calls `each` for everything that is in the directory of what is above, with what there is below: what is in a directory
/// after that, by name. Whether it wants to see what is in a directory it answers itself.
///
/// # Errors
/// Where what is above cannot be read.
pub fn walk(upper: &Path, lower: &Path, each: &mut impl FnMut(Layered) -> Within) -> io::Result<()> {
    let walk = Walk { upper, lower };
    walk.directory(Path::new(""), Some(Path::new("")), each)
}

/// Whether what is in a directory is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// It is.
    Too,
    /// It is not.
    Not,
}

struct Walk<'a> {
    upper: &'a Path,
    lower: &'a Path,
}

impl Walk<'_> {
    /// A directory that is above, and the one below that it shows, if any; both from the mount point.
    fn directory(&self, path: &Path, below: Option<&Path>, each: &mut impl FnMut(Layered) -> Within) -> io::Result<()> {
        let mut names: Vec<OsString> =
            fs::read_dir(self.upper.join(path))?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            self.entry(path, &name, below, each)?;
        }
        Ok(())
    }

    fn entry(
        &self,
        dir: &Path,
        name: &OsStr,
        below_dir: Option<&Path>,
        each: &mut impl FnMut(Layered) -> Within,
    ) -> io::Result<()> {
        let path = dir.join(name);
        let upper = self.upper.join(&path);
        let above = above(&upper, below_dir.unwrap_or(dir))?;
        let below_path = below_dir.map(|below| below.join(name));
        let below = below_path.as_ref().map_or(Below::Nothing, |below| below_at(&self.lower.join(below)));
        let shown = match &above {
            Above::Directory { was: Some(was), .. } => Some(was.clone()),
            Above::Directory { is_opaque: false, .. } => below_path.filter(|_| below != Below::Nothing),
            Above::Directory { is_opaque: true, .. } | Above::Whiteout | Above::File { .. } => None,
        };
        let is_directory = matches!(above, Above::Directory { .. });
        if each(Layered { path: path.clone(), above, below, shown: shown.clone() }) == Within::Too && is_directory {
            self.directory(&path, shown.as_deref(), each)?;
        }
        Ok(())
    }
}

/// Whether anything is seen in a directory that is below: whether that has names which the one above does not have. What cannot
/// be read may well.
pub fn shows_below(upper: &Path, lower: &Path, directory: &Layered) -> bool {
    let Some(below) = &directory.shown else { return false };
    let Ok(names) = fs::read_dir(lower.join(below)) else { return true };
    let is_above = |name: &OsStr| upper.join(&directory.path).join(name).symlink_metadata().is_ok();
    names.into_iter().any(|entry| entry.map_or(true, |entry| !is_above(&entry.file_name())))
}

/// `dir` is where its directory is below.
fn above(path: &Path, dir: &Path) -> io::Result<Above> {
    let found = path.symlink_metadata()?;
    if is_whiteout(&found) {
        return Ok(Above::Whiteout);
    }
    if !found.is_dir() {
        return Ok(Above::File { bytes: found.blocks() * 512 });
    }
    let is_opaque = says_opaque(path)?;
    let was = attribute(path, c"trusted.overlay.redirect")?.map(|value| redirected(dir, value));
    Ok(Above::Directory { attributes: attributes(&found), is_opaque, was })
}

/// An absolute path is one from the mount point, any other a name beside the one below (fs/overlayfs/namei.c, `ovl_check_redirect`).
fn redirected(dir: &Path, value: Vec<u8>) -> PathBuf {
    let was = PathBuf::from(OsString::from_vec(value));
    was.strip_prefix("/").map_or_else(|_| dir.join(&was), Path::to_owned)
}

/// What there is below.
fn below_at(path: &Path) -> Below {
    match path.symlink_metadata() {
        // A whiteout below belongs to an overlay that was made of it: there is nothing.
        Ok(found) if is_whiteout(&found) => Below::Nothing,
        Ok(found) if found.is_dir() => Below::Directory(attributes(&found)),
        Ok(_) => Below::File,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Below::Nothing,
        Err(error) => Below::Unknown(error.to_string()),
    }
}

/// A character device that no driver has (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
fn is_whiteout(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

fn attributes(found: &Metadata) -> Attributes {
    Attributes { mode: found.mode() & 0o7777, user: found.uid(), group: found.gid() }
}

/// An extended attribute of what is there, and not of what it points to; `None` where it has none of that name.
///
/// # Errors
/// Those of getxattr(2).
pub fn attribute(path: &Path, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    const LONGEST: usize = libc::PATH_MAX as usize;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut value = vec![0; LONGEST];
    // SAFETY: both names are NUL-terminated, and the buffer is as long as is said; all outlive the call.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    match Errno::result(length) {
        Ok(length) => {
            value.truncate(usize::try_from(length).unwrap_or_default());
            Ok(Some(value))
        }
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether there is such a directory, and it says that nothing of one of that name below is to be seen in it.
///
/// # Errors
/// Those of getxattr(2).
pub fn is_opaque(directory: &Path) -> io::Result<bool> {
    match says_opaque(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        says => says,
    }
}

fn says_opaque(path: &Path) -> io::Result<bool> {
    Ok(attribute(path, OPAQUE)?.is_some_and(|value| value == b"y"))
}

/// The attribute by which a directory says so.
const OPAQUE: &CStr = c"trusted.overlay.opaque";

/// Says of a directory above that nothing of one of that name below is to be seen in it.
///
/// # Errors
/// Those of setxattr(2).
pub fn make_opaque(directory: &Path) -> nix::Result<()> {
    set_attribute(directory, OPAQUE, b"y")
}

/// Gives what is there, and not what it points to, an extended attribute.
///
/// # Errors
/// Those of setxattr(2).
pub fn set_attribute(path: &Path, name: &CStr, value: &[u8]) -> nix::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: both names are NUL-terminated, the value is as long as is said, and all outlive the call.
    let set = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(set).map(drop)
}

/// The directory that has a path below another one, and the name in it; no symbolic link is followed.
///
/// # Errors
/// Those of openat2(2); `EINVAL` where the path is none.
pub fn entry_in<'a>(top: &Directory, path: &'a Path) -> nix::Result<(Directory, &'a OsStr)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::EINVAL) };
    Ok((top.open_on_same_mount(dir)?, name))
}

/// Removes what says in a directory, or in one below it, that a path is not there.
///
/// # Errors
/// Those of openat2(2) and unlinkat(2); `EINVAL` where something else is there by now.
pub fn remove_whiteout(top: &Directory, path: &Path) -> nix::Result<()> {
    let (dir, name) = entry_in(top, path)?;
    let is_one = dir.entry(name)?.is_some_and(|found| found.mode & libc::S_IFMT == libc::S_IFCHR);
    if is_one { link::unlink(&dir, name) } else { Err(Errno::EINVAL) }
}

/// Says above that a path is not there, while nobody has the overlay mounted.
///
/// # Errors
/// Those of mknod(2).
pub fn make_whiteout(path: &Path) -> nix::Result<()> {
    use nix::sys::stat::{Mode, SFlag, mknod};
    mknod(path, SFlag::S_IFCHR, Mode::empty(), 0)
}
