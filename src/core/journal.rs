//! The journal: which aliases exist or are about to, and which names they were made for.
//!
//! One JSON object a line. The first names the format; each other one is an alias, written before it is linked. A line
//! that was torn by a crash can only be the last, and its alias was not linked yet: it is left out. Nothing is ever
//! taken back by a record; the journal is written anew without it.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::inode::AliasName;
use super::text::{path_as_text, paths_as_text};

/// The version that this program writes and reads.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    rokeep_journal: u32,
}

/// An alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The mount point whose store has it.
    #[serde(with = "path_as_text")]
    pub mount: PathBuf,
    /// The inode's number, which is the alias's name.
    #[serde(rename = "inode")]
    pub alias: AliasName,
    /// The names that led to it when it was made.
    #[serde(with = "paths_as_text")]
    pub names: Vec<PathBuf>,
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
    if header.rokeep_journal != FORMAT {
        return Err(JournalError::Format(header.rokeep_journal));
    }
    let record = |(line, number)| serde_json::from_slice(line).map_err(|_| JournalError::Damaged(number));
    Ok(Journal { records: lines.map(record).collect::<Result<_, _>>()?, whole_bytes })
}

/// The first line.
pub fn header() -> Vec<u8> {
    line(&Header { rokeep_journal: FORMAT })
}

/// A record's line.
pub fn encode(record: &Record) -> Vec<u8> {
    line(record)
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Numbers and strings only: serde_json has no way to fail on these.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn record(ino: u64, name: &[u8]) -> Record {
        let name = PathBuf::from(OsStr::from_bytes(name));
        Record { mount: "/usr".into(), alias: AliasName(ino), names: vec![name] }
    }

    fn text(records: &[Record]) -> Vec<u8> {
        records.iter().fold(header(), |text, record| [text, encode(record)].concat())
    }

    /// The written form itself, so that a change of it is seen here first.
    #[test]
    fn format_1_is_this() {
        let written = String::from_utf8(text(&[record(12, b"/usr/bin/a%b\n\xff")])).unwrap();
        let expected = "{\"rokeep_journal\":1}\n\
                        {\"mount\":\"/usr\",\"inode\":12,\"names\":[\"/usr/bin/a%25b%0A%FF\"]}\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn another_format_is_not_touched() {
        assert_eq!(parse(b"{\"rokeep_journal\":2}\nanything\n"), Err(JournalError::Format(2)));
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
