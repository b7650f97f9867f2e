use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use rokeep::core::deb::{Deb, HEADER, MAGIC};
use rokeep::sys::deb::read;

use super::bounds::within;
use super::words::{is_one_name, is_said_in_one_line, stays_below_the_root};

/// An archive is read or refused, in bounded memory whatever it unpacks to; what it brings stays below the root; and one that
/// is cut off before the end of its data is refused.
pub fn deb(archive: &[u8]) {
    if read_as_file(archive).is_some() {
        let end = end_of_data(archive).expect("it has been found");
        assert_eq!(read_as_file(&archive[..end - 1]), None, "a part is taken for the whole");
    }
}

/// Some of what is kept may be there twice for a moment: while more room is made, and while it is handed over.
const MOST_MEMORY: usize = 448 << 20;

/// What is read, if it is not refused.
pub fn read_as_file(archive: &[u8]) -> Option<Deb> {
    let file = Anonymous::of(archive);
    match within(MOST_MEMORY, || read(file.path())) {
        Ok(deb) => {
            assert!([&deb.package, &deb.arch].iter().all(|name| is_one_name(name.as_str())));
            assert!(deb.paths.is_sorted_by(|a, b| a < b), "a path is there twice");
            deb.paths.iter().for_each(stays_below_the_root);
            Some(deb)
        }
        Err(error) => {
            is_said_in_one_line(error);
            None
        }
    }
}

/// Where the data member ends, where all that is asked for is that there is one.
fn end_of_data(archive: &[u8]) -> Option<usize> {
    let mut at = MAGIC.len();
    loop {
        let header = archive.get(at..at + HEADER)?;
        let size: usize = std::str::from_utf8(&header[48..58]).ok()?.trim_end().parse().ok()?;
        let end = at + HEADER + size;
        if header.starts_with(b"data.tar") {
            return Some(end);
        }
        at = end.next_multiple_of(2);
    }
}

/// A file that has a name only in here.
struct Anonymous {
    _file: File,
    path: PathBuf,
}

impl Anonymous {
    fn of(content: &[u8]) -> Anonymous {
        let file = File::from(memfd_create("archive", MFdFlags::MFD_CLOEXEC).expect("memory for a file"));
        file.write_all_at(content, 0).expect("it can be written");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        Anonymous { _file: file, path }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
