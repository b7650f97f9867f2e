//! What the laws are tried on.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rokeep::core::by_hand::ByHand;
use rokeep::core::inode::{AliasName, Born, Device};
use rokeep::core::journal::{self, Names, Record, Spot};
use rokeep::core::mount_state::{Access, Flags};
use rokeep::core::paths::ListedPath;
use rokeep::core::session::{self, FoundMount, Frontend, MountId, Session};
use rokeep::core::verdict::{Kind, Lease, Original, Pin, Run, Shown, Use};

/// Any bytes, or a recording of which something is cut out and something else put there.
pub fn damaged(recording: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = recording.len();
    let piece = move |longest| {
        (any::<Index>(), 0..longest).prop_map(move |(start, most)| {
            let start = start.index(length.max(1));
            start.min(length)..length.min(start + most)
        })
    };
    let another = recording.clone();
    let foreign = prop_oneof![
        vec(any::<u8>(), 0..8),
        vec(select(&b" \n\t\\/:-%+,.0189\"{}[]\0\r"[..]), 0..8),
        piece(200_usize).prop_map(move |piece| another[piece].to_vec()),
    ];
    let edited = (piece(40), foreign)
        .prop_map(move |(cut, foreign)| [&recording[..cut.start], &foreign, &recording[cut.end..]].concat());
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

pub fn pin() -> impl Strategy<Value = Option<Pin>> {
    select(vec![None, Some(Pin::Pinned), Some(Pin::Forgotten), Some(Pin::Unknown)])
}

/// One of a few processes; some have had the same number.
pub fn frontend() -> impl Strategy<Value = Frontend> {
    (1..4_i32, 10..12_u64).prop_map(|(pid, started)| Frontend { pid, started, command: format!("apt-{pid}") })
}

/// For a while, or for good.
pub fn by_hand() -> impl Strategy<Value = ByHand> {
    let why = select(vec!["alice asked for it", "\u{1b}%\"\n"]).prop_map(str::to_owned);
    (0..100_u64, proptest::option::of(0..100_u64), why).prop_map(|(since, until, why)| ByHand { since, until, why })
}

/// With everything that a session can have.
pub fn session() -> impl Strategy<Value = Session> {
    let id = || {
        (path(), any::<u32>(), any::<u64>()).prop_map(|(point, major, id)| MountId {
            point,
            device: Device { major, minor: 1 },
            id,
            namespace: id / 2,
        })
    };
    let open_before = proptest::option::of(vec(id(), 0..3));
    let found = (id(), flags(), open_before, proptest::option::of(by_hand()))
        .prop_map(|(mount, found, open_before, by_hand)| FoundMount { mount, found, open_before, by_hand });
    (vec(frontend(), 0..3), vec(found, 0..3), vec(id(), 0..3)).prop_map(|(frontends, mounts, closed)| Session {
        format: session::FORMAT,
        frontends,
        mounts,
        closed,
    })
}

pub fn record() -> impl Strategy<Value = Record> {
    let names = vec(path(), 1..4);
    (path(), any::<u64>(), names, 0..4, path(), kind()).prop_map(|(mount, ino, names, spot, other, kind)| {
        let (mount, names) = (Arc::<Path>::from(mount), names.into_iter().map(Arc::from).collect::<Names>());
        let spot = match (spot, names.first()) {
            (0, Some(name)) => Spot::Beside(name.clone()),
            (1, Some(name)) => Spot::Inside(name.clone()),
            (2, _) => Spot::Store(other.into()),
            _ => Spot::Store(mount.clone()),
        };
        Record { mount, spot, alias: AliasName(ino), born: Some(Born(ino / 2)).filter(|_| ino % 2 == 0), names, kind }
    })
}

pub fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Planned), Just(Kind::Guard)]
}

pub fn run() -> impl Strategy<Value = Run> {
    prop_oneof![Just(Run::On), Just(Run::Over), Just(Run::Released)]
}

/// The journal of these records, as it is written.
pub fn journal_of(records: &[Record]) -> Vec<u8> {
    std::iter::once(journal::header()).chain(records.iter().map(journal::encode)).flatten().collect()
}

/// The mount at this point; always the same one.
pub fn mount(point: impl Into<PathBuf>) -> MountId {
    let device = Device { major: 8, minor: 1 };
    MountId { point: point.into(), device, id: 0, namespace: 1 }
}
