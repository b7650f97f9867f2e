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
