//! What the laws are tried on.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rokeep::core::inode::{AliasName, Born};
use rokeep::core::journal::{self, Record, Spot};
use rokeep::core::mount_state::{Access, Flags};
use rokeep::core::paths::ListedPath;
use rokeep::core::session::Frontend;
use rokeep::core::verdict::{Kind, Lease, Original, Run, Shown, Use};

/// Any bytes, or a recording of which something is cut out and something else put there.
pub fn damaged(recording: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let piece = |longest| {
        (any::<Index>(), 0..longest).prop_map(|(start, length)| {
            let start = start.index(recording.len());
            start..recording.len().min(start + length)
        })
    };
    let foreign = prop_oneof![
        vec(any::<u8>(), 0..8),
        vec(select(&b" \n\t\\/:-%+,.0189\"{}[]\0\r"[..]), 0..8),
        piece(200_usize).prop_map(|piece| recording[piece].to_vec()),
    ];
    let edited = (piece(40), foreign)
        .prop_map(|(cut, foreign)| [&recording[..cut.start], &foreign, &recording[cut.end..]].concat());
    prop_oneof![1 => vec(any::<u8>(), 0..400), 4 => edited]
}

/// The name of a file: whatever Linux permits.
pub fn name() -> impl Strategy<Value = OsString> {
    let byte = prop_oneof![3 => select(&b"ab .%\\\n"[..]), 1 => 1..=255_u8];
    let name = vec(byte.prop_filter("no / in a name", |b| *b != b'/'), 1..12);
    name.prop_filter("not . or ..", |name| name != b"." && name != b"..").prop_map(OsString::from_vec)
}

/// An absolute path below one of a few directories.
pub fn path() -> impl Strategy<Value = PathBuf> {
    let dir = select(vec!["/", "/usr/bin", "/bin", "/usr/share/doc"]);
    (dir, name()).prop_map(|(dir, name)| PathBuf::from(dir).join(name))
}

pub fn listed_path() -> impl Strategy<Value = ListedPath> {
    path().prop_map(|path| ListedPath::parse(path.as_os_str().as_encoded_bytes()).expect("an absolute path"))
}

/// A line of md5sum(1): the path below the root, escaped where it has to be.
pub fn md5sum(path: &Path) -> Vec<u8> {
    let path = &path.as_os_str().as_bytes()[1..];
    let escaped: Vec<u8> = path
        .iter()
        .flat_map(|byte| match byte {
            b'\\' => b"\\\\".to_vec(),
            b'\n' => b"\\n".to_vec(),
            b'\r' => b"\\r".to_vec(),
            other => vec![*other],
        })
        .collect();
    let mark: &[u8] = if escaped == path { b"" } else { b"\\" };
    [mark, b"d41d8cd98f00b204e9800998ecf8427e  ", &escaped, b"\n"].concat()
}

pub fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::ReadOnly), Just(Access::Writable)]
}

pub fn flags() -> impl Strategy<Value = Flags> {
    (access(), access()).prop_map(|(mount, superblock)| Flags { mount, superblock })
}

pub fn original() -> impl Strategy<Value = Original> {
    prop_oneof![Just(Original::StillThere), Just(Original::Replaced), Just(Original::Unknown)]
}

pub fn used() -> impl Strategy<Value = Use> {
    prop_oneof![Just(Use::Held), Just(Use::Free), Just(Use::Unknown)]
}

pub fn lease() -> impl Strategy<Value = Lease> {
    select(vec![Lease::Held, Lease::Granted, Lease::NotApplicable, Lease::Unknown])
}

pub fn shown() -> impl Strategy<Value = Shown> {
    select(vec![Shown::Somebody, Shown::Nobody, Shown::NotAll])
}

/// One of a few processes; some have had the same number.
pub fn frontend() -> impl Strategy<Value = Frontend> {
    (1..4_i32, 10..12_u64).prop_map(|(pid, started)| Frontend { pid, started, command: format!("apt-{pid}") })
}

pub fn record() -> impl Strategy<Value = Record> {
    let names = vec(path(), 1..4);
    (path(), any::<u64>(), names, 0..4, path(), kind()).prop_map(|(mount, ino, names, spot, other, kind)| {
        let spot = match (spot, names.first()) {
            (0, Some(name)) => Spot::Beside(name.clone()),
            (1, Some(name)) => Spot::Inside(name.clone()),
            (2, _) => Spot::Store(other),
            _ => Spot::Store(mount.clone()),
        };
        Record { mount, spot, alias: AliasName(ino), born: Some(Born(ino / 2)).filter(|_| ino % 2 == 0), names, kind }
    })
}

pub fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Planned), Just(Kind::Guard)]
}

pub fn run() -> impl Strategy<Value = Run> {
    prop_oneof![Just(Run::On), Just(Run::Over)]
}

/// The journal of these records, as it is written.
pub fn journal_of(records: &[Record]) -> Vec<u8> {
    std::iter::once(journal::header()).chain(records.iter().map(journal::encode)).flatten().collect()
}

/// The mount at this point; always the same one.
pub fn mount(point: impl Into<std::path::PathBuf>) -> rokeep::core::session::MountId {
    let device = rokeep::core::inode::Device { major: 8, minor: 1 };
    rokeep::core::session::MountId { point: point.into(), device, id: 0, namespace: 1 }
}
