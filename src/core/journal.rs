//! The journal: which aliases exist or are about to, and which names they were made for.
//!
//! One JSON object a line. The first names the format; each other one is an alias, or the marker of a directory, written
//! before it is made. A line that was torn by a crash can only be the last, and what it tells of was not made yet: it is
//! left out. Nothing is ever taken back by a record; the journal is written anew without it.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::inode::{AliasName, Born};
use super::text::EscapedPath;
use super::verdict::Kind;

/// The version that this program writes. It reads the older ones too: format 1 knows planned aliases in the mount's own
/// store and nothing else, format 2 does not say when an inode was made.
pub const FORMAT: u32 = 3;

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    rokeep_journal: u32,
}

/// An alias, or the marker of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The mount point of the managed mount that it serves.
    pub mount: Arc<Path>,
    /// Where it stands.
    pub spot: Spot,
    /// The number of the inode that it keeps, which is part of its name.
    pub alias: AliasName,
    /// When that inode was made, where it can be told. Another one of that number, on this disk or on the one that stands in
    /// its place now, is not what was written down.
    pub born: Option<Born>,
    /// The names that led to it when it was made; none where it could be reached by no name. Those of a directory are its
    /// own and those of the directories above it that may go with it, from the nearest up.
    pub names: Names,
    /// What it was made for.
    pub kind: Kind,
}

/// The names of one inode: nearly always one. Paths are shared, as there may be hundreds of thousands of records and more
/// than one thing that is known of each.
pub type Names = SmallVec<[Arc<Path>; 1]>;

/// Where an alias, or a marker, stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spot {
    /// `DIRECTORY/.rokeep/INODE`. The directory is the root of the mount, or of another mount or a btrfs subvolume below
    /// it: link(2) reaches no further.
    Store(Arc<Path>),
    /// `.NAME.rokeep.INODE` beside this file, where link(2) does not even reach the store.
    Beside(Arc<Path>),
    /// `.rokeep.INODE` in this directory: a directory cannot be linked, but one that is not empty cannot be removed.
    Inside(Arc<Path>),
}

impl Spot {
    /// The directory whose store it is in, if it is in one.
    pub fn store(&self) -> Option<&Path> {
        match self {
            Spot::Store(directory) => Some(directory),
            Spot::Beside(_) | Spot::Inside(_) => None,
        }
    }
}

impl Record {
    /// An alias in the mount's own store, of a file that dpkg was to replace.
    pub fn planned(mount: PathBuf, alias: AliasName, names: Vec<PathBuf>) -> Record {
        let (mount, names) = (Arc::<Path>::from(mount), names.into_iter().map(Arc::from).collect());
        Record { spot: Spot::Store(mount.clone()), mount, alias, born: None, names, kind: Kind::Planned }
    }

    /// Whether it may be of an inode that was made then; of one of which that cannot be told it may be.
    pub fn may_be_of(&self, born: Option<Born>) -> bool {
        self.born.is_none() || born.is_none() || self.born == born
    }
}

/// A record as it is written. What is not said is as [`Record::planned`] has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    mount: EscapedPath<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    store: Option<EscapedPath<'a>>,
    inode: AliasName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<Born>,
    #[serde(borrow)]
    names: SmallVec<[EscapedPath<'a>; 1]>,
    #[serde(default, skip_serializing_if = "is_not")]
    guard: bool,
    /// Beside the first of its names.
    #[serde(default, skip_serializing_if = "is_not")]
    beside: bool,
    /// A marker in the directory that the first of its names is.
    #[serde(default, skip_serializing_if = "is_not")]
    directory: bool,
}

fn is_not(flag: &bool) -> bool {
    !flag
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Line<'a> {
        let Record { mount, spot, alias, born, names, kind } = record;
        let written = |path: &'a Path| EscapedPath(Cow::Borrowed(path));
        let (store, beside, directory) = match spot {
            Spot::Store(at) if at == mount => (None, false, false),
            Spot::Store(at) => (Some(written(at)), false, false),
            Spot::Beside(_) => (None, true, false),
            Spot::Inside(_) => (None, false, true),
        };
        let (mount, names) = (written(mount), names.iter().map(|name| written(name)).collect());
        let guard = *kind == Kind::Guard;
        Line { mount, store, inode: *alias, born: *born, names, guard, beside, directory }
    }
}

impl Line<'_> {
    /// `None` where the fields contradict each other. What the record before it says as well is shared with it.
    fn record(self, before: Option<&Record>) -> Option<Record> {
        let Line { mount, store, inode: alias, born, names, guard, beside, directory } = self;
        let shared = |EscapedPath(path): EscapedPath| match before {
            Some(Record { mount, .. }) if mount.as_os_str() == path.as_os_str() => mount.clone(),
            Some(Record { spot: Spot::Store(at), .. }) if at.as_os_str() == path.as_os_str() => at.clone(),
            Some(_) | None => path.into(),
        };
        let mount = shared(mount);
        let names: Names = names.into_iter().map(|EscapedPath(name)| name.into()).collect();
        let spot = match (store, beside, directory) {
            (None, false, false) => Spot::Store(mount.clone()),
            (Some(at), false, false) => Spot::Store(shared(at)),
            (None, true, false) => Spot::Beside(names.first()?.clone()),
            (None, false, true) => Spot::Inside(names.first()?.clone()),
            (Some(_), _, _) | (None, true, true) => return None,
        };
        let kind = if guard { Kind::Guard } else { Kind::Planned };
        Some(Record { mount, spot, alias, born, names, kind })
    }

    /// Whether it says nothing that a journal of that format does not know.
    fn is_of_format(&self, format: u32) -> bool {
        let is_of_2 = self.born.is_none();
        let is_of_1 = is_of_2 && self.store.is_none() && !(self.guard || self.beside || self.directory);
        match format {
            1 => is_of_1,
            2 => is_of_2,
            _ => true,
        }
    }
}

/// Why a journal cannot be used. It is left as it is.
#[derive(Debug, PartialEq, Eq)]
pub enum JournalError {
    /// Written by another version of rokeep.
    Format(u32),
    /// Not a journal, or damaged in the middle; the line is counted from 1.
    Damaged(usize),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Format(version) => {
                write!(
                    f,
                    "it is of format {version}, and this rokeep knows format {FORMAT}: it was left alone; \
                     install the rokeep that wrote it"
                )
            }
            JournalError::Damaged(line) => {
                write!(f, "line {line} is damaged: it was left alone; move it away, the aliases themselves are kept")
            }
        }
    }
}

impl std::error::Error for JournalError {}

/// A journal as read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// In the order of writing. The same alias may appear again with further names.
    pub records: Vec<Record>,
    /// How many bytes of the text are whole lines; after them comes a torn tail, or nothing.
    pub whole_bytes: usize,
    /// Whether it is of an older format: to add to it, it has to be written anew.
    pub is_old: bool,
}

/// Reads a journal. No text at all is a journal of no records.
///
/// # Errors
/// Another format, or a line other than the last that cannot be read.
pub fn parse(text: &[u8]) -> Result<Journal, JournalError> {
    let whole_bytes = text.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let (whole, _torn) = text.split_at_checked(whole_bytes).unwrap_or((text, &[]));
    let mut lines = whole.split_inclusive(|b| *b == b'\n').zip(1..);
    let Some((first, _)) = lines.next() else { return Ok(Journal::default()) };
    let header: Header = serde_json::from_slice(first).map_err(|_| JournalError::Damaged(1))?;
    let format = match header.rokeep_journal {
        known @ 1..=FORMAT => known,
        other => return Err(JournalError::Format(other)),
    };
    let mut records = Vec::new();
    for (line, number) in lines {
        let line: Option<Line> = serde_json::from_slice(line).ok();
        let known = line.filter(|line| line.is_of_format(format));
        let record = known.and_then(|line| line.record(records.last()));
        records.push(record.ok_or(JournalError::Damaged(number))?);
    }
    Ok(Journal { records, whole_bytes, is_old: format < FORMAT })
}

/// The first line.
pub fn header() -> Vec<u8> {
    line(&Header { rokeep_journal: FORMAT })
}

/// A record's line.
pub fn encode(record: &Record) -> Vec<u8> {
    line(&Line::from(record))
}

/// Replaces what is in `line` by a record's line.
pub fn encode_into(line: &mut Vec<u8>, record: &Record) {
    line.clear();
    write(line, &Line::from(record));
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::new();
    write(&mut line, value);
    line
}

fn write(line: &mut Vec<u8>, value: &impl Serialize) {
    // Numbers and strings only: serde_json has no way to fail on these.
    let _ = serde_json::to_writer(&mut *line, value);
    line.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn record(ino: u64, name: &[u8]) -> Record {
        Record::planned("/usr".into(), AliasName(ino), vec![PathBuf::from(OsStr::from_bytes(name))])
    }

    fn text(records: &[Record]) -> Vec<u8> {
        records.iter().fold(header(), |text, record| [text, encode(record)].concat())
    }

    /// The written form itself, so that a change of it is seen here first.
    #[test]
    fn format_3_is_this() {
        let name = PathBuf::from("/usr/lib/x");
        let with = |spot: fn(Arc<Path>) -> Spot, at: &str, kind| Record {
            spot: spot(Path::new(at).into()),
            kind,
            ..Record::planned("/usr".into(), AliasName(7), vec![name.clone()])
        };
        let records = [
            record(12, b"/usr/bin/a%b\n\xff"),
            Record { born: Some(Born(1_700_000_000_123_456_789)), ..record(13, b"/usr/bin/b") },
            with(Spot::Store, "/usr", Kind::Guard),
            with(Spot::Store, "/usr/lib", Kind::Planned),
            with(Spot::Beside, "/usr/lib/x", Kind::Planned),
            with(Spot::Inside, "/usr/lib/x", Kind::Guard),
        ];
        let expected = "{\"rokeep_journal\":3}\n\
                        {\"mount\":\"/usr\",\"inode\":12,\"names\":[\"/usr/bin/a%25b%0A%FF\"]}\n\
                        {\"mount\":\"/usr\",\"inode\":13,\"born\":1700000000123456789,\"names\":[\"/usr/bin/b\"]}\n\
                        {\"mount\":\"/usr\",\"inode\":7,\"names\":[\"/usr/lib/x\"],\"guard\":true}\n\
                        {\"mount\":\"/usr\",\"store\":\"/usr/lib\",\"inode\":7,\"names\":[\"/usr/lib/x\"]}\n\
                        {\"mount\":\"/usr\",\"inode\":7,\"names\":[\"/usr/lib/x\"],\"beside\":true}\n\
                        {\"mount\":\"/usr\",\"inode\":7,\"names\":[\"/usr/lib/x\"],\"guard\":true,\"directory\":true}\n";
        assert_eq!(String::from_utf8(text(&records)).unwrap(), expected);
        assert_eq!(parse(expected.as_bytes()).unwrap().records, records);
    }

    #[test]
    fn an_older_format_is_read_and_has_nothing_of_a_newer_one() {
        let line = "{\"mount\":\"/usr\",\"inode\":12,\"names\":[\"/usr/bin/a\"]}\n";
        let read = parse(format!("{{\"rokeep_journal\":1}}\n{line}").as_bytes()).unwrap();
        assert_eq!((read.records, read.is_old), (vec![record(12, b"/usr/bin/a")], true));
        let newer = line.replace('}', ",\"guard\":true}");
        assert_eq!(parse(format!("{{\"rokeep_journal\":1}}\n{newer}").as_bytes()), Err(JournalError::Damaged(2)));
        assert_eq!(parse(format!("{{\"rokeep_journal\":2}}\n{newer}").as_bytes()).map(|read| read.is_old), Ok(true));
        let newest = line.replace(",\"names\"", ",\"born\":5,\"names\"");
        assert_eq!(parse(format!("{{\"rokeep_journal\":2}}\n{newest}").as_bytes()), Err(JournalError::Damaged(2)));
        assert_eq!(parse(format!("{{\"rokeep_journal\":3}}\n{newest}").as_bytes()).map(|read| read.is_old), Ok(false));
    }

    #[test]
    fn a_record_may_be_of_what_it_does_not_contradict() {
        let (old, new) = (Some(Born(1)), Some(Born(2)));
        let record = |born| Record { born, ..record(12, b"/usr/bin/a") };
        for (said, found, expected) in [(None, old, true), (old, None, true), (old, old, true), (old, new, false)] {
            assert_eq!(record(said).may_be_of(found), expected, "{said:?} {found:?}");
        }
    }

    #[test]
    fn another_format_is_not_touched() {
        assert_eq!(parse(b"{\"rokeep_journal\":4}\nanything\n"), Err(JournalError::Format(4)));
        assert_eq!(parse(b"hello\n"), Err(JournalError::Damaged(1)));
        assert_eq!(parse(b"{\"rokeep_journal\":1}\nhello\n"), Err(JournalError::Damaged(2)));
        assert_eq!(parse(b""), Ok(Journal::default()));
    }

    proptest! {
        #[test]
        fn every_cut_reads_as_the_whole_records_before_it(
            names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..6),
            cut in any::<proptest::sample::Index>(),
        ) {
            let records: Vec<_> = names.iter().zip(1..).map(|(name, ino)| record(ino, name)).collect();
            let text = text(&records);
            let cut = cut.index(text.len() + 1);
            let read = parse(&text[..cut]).unwrap();
            prop_assert_eq!(&read.records[..], &records[..read.records.len()]);
            prop_assert!(read.whole_bytes <= cut);
            prop_assert_eq!(parse(&text[..read.whole_bytes]).unwrap().records.len(), read.records.len());
        }
    }
}
