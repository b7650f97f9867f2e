use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use flate2::{Compression, write::GzEncoder};
use rokeep::core::deb::Deb;
use rokeep::core::paths::ListedPath;
use tar::{EntryType, Header};

use super::deb::read_as_file;
use super::tar_entry::entry;

/// The member of an archive that is whole apart from it. The first byte says which member, and how it is compressed; where
/// it is not, the checksums in it are put right, or no other byte could ever be tried.
///
/// What is read of it stands under the laws of archives; and the same files in another archive are the same, compressed or
/// not.
pub fn members(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    const SUFFIXES: [&str; 5] = ["", ".gz", ".xz", ".zst", ".lzma"];
    let suffix = SUFFIXES[usize::from(kind & 0x7F) % SUFFIXES.len()];
    let content = if suffix.is_empty() { with_checksums(content) } else { content.to_vec() };
    let is_control = kind & 0x80 != 0;
    let read = if is_control {
        read_as_file(&archive(&format!("control.tar{suffix}"), &content, "data.tar", &tar_of(&[])))
    } else {
        read_data(&format!("data.tar{suffix}"), &content)
    };
    if let Some(Deb { paths, .. }) = read.filter(|deb| deb.paths.len() <= 64) {
        let again = tar_of(&paths.iter().map(member).collect::<Vec<_>>());
        assert_eq!(read_data("data.tar", &again).map(|deb| deb.paths), Some(paths.clone()));
        if is_control {
            assert_eq!(read_data("data.tar.gz", &gzip(&again)).map(|deb| deb.paths), Some(paths));
        }
    }
}

fn read_data(name: &str, content: &[u8]) -> Option<Deb> {
    let control = b"Package: tool\nVersion: 1\nArchitecture: all\n";
    let control = tar_of(&[entry(EntryType::Regular, b"./control", control)]);
    read_as_file(&archive("control.tar", &control, name, content))
}

fn archive(control: &str, control_content: &[u8], data: &str, data_content: &[u8]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), (control, control_content), (data, data_content)] {
        archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes());
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(2), b'\n');
    }
    archive
}

fn tar_of(members: &[Vec<u8>]) -> Vec<u8> {
    [&members.concat()[..], &[0; 1024]].concat()
}

/// A file of that name, with the name in a member of its own: so GNU tar has it if it is long.
fn member(path: &ListedPath) -> Vec<u8> {
    let name = path.full().as_os_str().as_bytes();
    let long_name = entry(EntryType::GNULongName, b"././@LongLink", &[b".", name, b"\0"].concat());
    [long_name, entry(EntryType::Regular, b"./short", b"")].concat()
}

/// The checksum of whatever stands where a header would.
fn with_checksums(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    tar.resize(tar.len().next_multiple_of(512), 0);
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + 512) {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        let is_end = block.iter().all(|b| *b == 0);
        if !is_end {
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        let content = if is_end { 0 } else { header.entry_size().unwrap_or(0) };
        at = usize::try_from(content)
            .ok()
            .and_then(|size| (at + 512).checked_add(size.checked_next_multiple_of(512)?))
            .unwrap_or(tar.len());
    }
    tar.extend([0; 1024]);
    tar
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
