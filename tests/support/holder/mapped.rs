//! Mappings. Their descriptors are closed: the mapping alone keeps the file.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

use super::states::{Kept, kept};

const PAGE: usize = 4096;

pub fn mapped(path: &Path) -> Result<Kept> {
    map(&File::open(path)?)
}

pub fn map(file: &File) -> Result<Kept> {
    kept(map_pages(file, 0, 1, None, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE))
}

/// The kernel counts it as a writer for as long as the mapping lasts.
pub fn shared(path: &Path) -> Result<Kept> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    kept(map_pages(&file, 0, 1, None, protection, MapFlags::MAP_SHARED))
}

pub fn mapped_all(list: &Path) -> Result<Kept> {
    let list = fs::read(list)?;
    let paths = list.split(|byte| *byte == b'\n').filter(|path| !path.is_empty());
    kept(paths.map(|path| mapped(Path::new(OsStr::from_bytes(path)))).collect::<Result<Vec<_>>>())
}

/// What dlopen(3) leaves: this program is static, and has none of its own. The whole file first, then each of its parts
/// over that, with its own protection (glibc, elf/dl-map-segments.h).
pub fn library(path: &Path) -> Result<Kept> {
    let file = File::open(path)?;
    let start = map_pages(&file, 0, 3, None, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE)?;
    let parts = [(1, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC), (2, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)];
    for (page, protection) in parts {
        let at = NonZeroUsize::new(start + page * PAGE).context("an address")?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | MapFlags::from_bits_retain(libc::MAP_DENYWRITE);
        map_pages(&file, page, 1, Some(at), protection, flags)?;
    }
    kept(Ok::<_, anyhow::Error>(()))
}

/// Memory that /proc shows like files with names that are gone: a memfd by the name of this file, shared memory of
/// /dev/zero, and a segment of System V.
#[allow(unsafe_code, reason = "nix knows no segments")]
pub fn memory(path: &Path) -> Result<Kept> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let memory = File::from(nix::sys::memfd::memfd_create(name.as_c_str(), nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?);
    memory.set_len(PAGE as u64)?;
    map(&memory)?;
    shared(Path::new("/dev/zero"))?;
    // SAFETY: a new segment of this process's own, at an address of the kernel's choice; nobody looks at its bytes.
    let attached = unsafe {
        let segment = libc::shmget(libc::IPC_PRIVATE, PAGE, libc::IPC_CREAT | 0o600);
        let address = libc::shmat(segment, std::ptr::null(), 0);
        libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut());
        address as isize
    };
    anyhow::ensure!(attached != -1, "no segment: {}", std::io::Error::last_os_error());
    kept(Ok::<_, anyhow::Error>(memory))
}

/// So many pages of a file, from this one on, and the address they have now. They stay mapped until the process ends.
#[allow(unsafe_code, reason = "nothing in std maps a file")]
fn map_pages(
    file: &File,
    first: usize,
    count: usize,
    at: Option<NonZeroUsize>,
    protection: ProtFlags,
    flags: MapFlags,
) -> Result<usize> {
    let (length, offset) = (NonZeroUsize::new(count * PAGE).context("no page")?, (first * PAGE) as i64);
    // SAFETY: what it covers, if anything, is a mapping of this module's, and nobody ever looks at its bytes.
    let address = unsafe { mmap(at, length, protection, flags, file, offset) }?;
    Ok(address.as_ptr() as usize)
}
