//! Bytes from outside: nothing in them breaks us, and what we write we can read.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rokeep::core::apt_stream::Name;
use rokeep::core::dpkg_command::{self, Command};
use rokeep::core::inode::{AliasName, Born};
use rokeep::core::journal::{JournalError, Record, Spot};
use rokeep::core::paths::{ListedPath, PathReader};
use rokeep::core::verdict::Kind;
use rokeep::core::{deb, dpkg_db, journal, mountinfo, session};

use crate::{config, given, laws};

proptest! {
    #![proptest_config(config())]

    /// Whatever dpkg was called with: what it was told to unpack is that, to the byte, or nothing is believed.
    #[test]
    fn a_command_line_of_dpkg_is_read_or_refused(
        options in vec(select(vec!["-i", "--install", "-R", "-E", "--no-act", "--force-all", "-D", "1", "--new", "-"]), 0..5),
        archives in vec(vec(1..=u8::MAX, 0..20), 0..4),
    ) {
        let mut words: Vec<&[u8]> = options.iter().map(|option| option.as_bytes()).collect();
        words.push(b"--");
        words.extend(archives.iter().map(Vec::as_slice));
        let all_are_options = options.iter().all(|option| !["-D", "1", "-"].contains(option));
        match dpkg_command::parse(&words, b"install") {
            Ok(Command::Unpack { archives: read, .. }) if all_are_options => {
                prop_assert!(read.iter().map(|path| path.as_os_str().as_bytes()).eq(archives.iter().map(Vec::as_slice)));
            }
            Ok(Command::Unpack { archives: read, .. }) => {
                prop_assert!(read.iter().all(|path| words.contains(&path.as_os_str().as_bytes())));
            }
            Ok(Command::Pretend) => prop_assert!(options.contains(&"--no-act")),
            Ok(other) => prop_assert!(false, "{:?} is no installation", other),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn a_package_name_is_part_of_a_file_name(bytes in vec(any::<u8>(), 0..6)) {
        if let Some(name) = Name::parse(&bytes) {
            prop_assert!(laws::words::is_one_name(name.as_str()));
            prop_assert_eq!(name.as_str().as_bytes(), bytes);
        }
    }

    #[test]
    fn lines_are_read_as_if_each_were_the_first(list in vec(select(&b"/.ab\n\0"[..]), 0..40)) {
        laws::list(&list);
    }

    #[test]
    fn every_line_of_a_list_that_is_a_path_is_read(paths in vec(given::path(), 0..8)) {
        let on_one_line = |path: &&std::path::PathBuf| !path.as_os_str().as_bytes().contains(&b'\n');
        let paths: Vec<_> = paths.iter().filter(on_one_line).collect();
        let list: Vec<u8> = paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\n"].concat()).collect();
        let read: Vec<_> = dpkg_db::listed_paths(&list).map(|path| path.full().to_owned()).collect();
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), paths);
    }

    #[test]
    fn what_a_package_archive_names_stays_below_the_root(member in vec(select(&b"./a\0\\"[..]), 0..12)) {
        let mut members = PathReader::default();
        deb::read_member(&member, &mut members);
        members.paths().iter().for_each(laws::words::stays_below_the_root);
    }

    #[test]
    fn every_path_that_md5sum_writes_is_read(paths in vec(given::path(), 1..8)) {
        let text: Vec<u8> = paths.iter().flat_map(|path| laws::md5sums::line(path.as_os_str().as_bytes())).collect();
        let read = deb::md5sums(&text).expect("every line is one");
        prop_assert_eq!(read.iter().map(ListedPath::full).collect::<Vec<_>>(), paths);
    }

    #[test]
    fn the_header_of_a_member_is_read_or_refused(header in vec(select(&b"0123456789 /+-`\nx\xff"[..]), deb::HEADER)) {
        let mut header: [u8; deb::HEADER] = header.try_into().expect("just so long");
        header[58..].copy_from_slice(b"`\n");
        if let Ok(read) = deb::Header::parse(&header) {
            let size = read.size.to_string();
            let written = String::from_utf8_lossy(&header[48..58]).trim_end().trim_start_matches('0').to_owned();
            prop_assert_eq!(size.trim_start_matches('0'), written);
        }
    }

    #[test]
    fn any_start_of_a_zstd_frame_is_read(rest in vec(any::<u8>(), 0..16)) {
        let window = deb::zstd_window(&[&b"\x28\xb5\x2f\xfd"[..], &rest].concat());
        prop_assert!(window.is_some() || rest.len() < 13);
    }

    #[test]
    fn a_mount_point_is_read_as_the_kernel_escapes_it(point in given::path(), flags in given::flags()) {
        use rokeep::core::mount_state::Access;
        let word = |access| match access {
            Access::ReadOnly => "ro",
            Access::Writable => "rw",
        };
        let escaped = laws::mountinfo::escaped(point.as_os_str().as_bytes());
        let (mount, superblock) = (word(flags.mount), word(flags.superblock));
        let line = [b"9 1 8:1 / ", &escaped[..], format!(" {mount} - ext4 x {superblock}\n").as_bytes()].concat();
        let read = mountinfo::parse(&line);
        prop_assert_eq!(read.iter().map(|mount| (&mount.point, mount.flags)).collect::<Vec<_>>(), [(&point, flags)]);
    }

    #[test]
    fn only_the_name_of_an_alias_is_one(entry in vec(select(&b"0123456789+- "[..]), 0..4), ino in any::<u64>()) {
        prop_assert_eq!(AliasName::parse(AliasName(ino).entry().as_bytes()), Some(AliasName(ino)));
        if let Some(name) = AliasName::parse(&entry) {
            let again = name.entry();
            prop_assert_eq!(again.as_bytes(), entry);
        }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written(records in vec(given::record(), 0..6)) {
        let text = given::journal_of(&records);
        let read = journal::parse(&text).expect("it is whole");
        prop_assert_eq!((read.records, read.whole_bytes), (records, text.len()));
    }

    /// What a crash leaves is always good enough: no alias whose record is not whole was linked.
    #[test]
    fn every_prefix_of_a_journal_is_the_journal_of_its_first_records(
        records in vec(given::record(), 0..6),
        cut in any::<Index>(),
    ) {
        let text = given::journal_of(&records);
        let torn = &text[..cut.index(text.len() + 1)];
        let read = journal::parse(torn).expect("only its end is missing");
        prop_assert_eq!(&read.records[..], &records[..read.records.len()]);
        laws::journal(torn);
    }

    #[test]
    fn a_name_is_shown_on_one_line_and_is_the_same_again(name in vec(any::<u8>(), 0..40)) {
        let name = OsString::from_vec(name);
        let written = rokeep::core::text::escape(&name);
        prop_assert!(!written.chars().any(char::is_control));
        prop_assert_eq!(rokeep::core::text::unescape(&written), Some(name));
    }

    #[test]
    fn a_session_is_read_as_it_was_written(session in given::session()) {
        let text = serde_json::to_vec(&session).expect("it can be written");
        prop_assert_eq!(session::parse(&text).expect("it can be read"), session);
        laws::session(&text);
    }

    /// Another inode of the number of an alias is told from it where both say when they were made, and only there.
    #[test]
    fn a_record_is_of_whatever_it_does_not_contradict(
        record in given::record(),
        said in proptest::option::of(0..4_u64),
        found in proptest::option::of(0..4_u64),
    ) {
        let (record, born) = (Record { born: said.map(Born), ..record }, found.map(Born));
        let contradicts = matches!((record.born, born), (Some(said), Some(found)) if said != found);
        prop_assert_eq!(record.may_be_of(born), !contradicts);
        prop_assert!(record.may_be_of(record.born) && record.may_be_of(None));
    }

    /// A journal of an older format has nothing in it that its rokeep did not know.
    #[test]
    fn an_older_journal_is_read_if_it_says_no_more_than_it_could(records in vec(given::record(), 0..6), format in 1..3_u32) {
        let header = format!("{{\"rokeep_journal\":{format}}}\n").into_bytes();
        let text = records.iter().fold(header, |text, record| [text, journal::encode(record)].concat());
        let is_planned_here = |record: &Record| record.kind == Kind::Planned && record.spot == Spot::Store(record.mount.clone());
        let is_known = |record: &Record| record.born.is_none() && (format == 2 || is_planned_here(record));
        match journal::parse(&text) {
            Ok(read) => {
                prop_assert!(records.iter().all(is_known));
                prop_assert!(read.is_old);
                prop_assert_eq!(read.records, records);
            }
            Err(error) => {
                let first = records.iter().position(|record| !is_known(record)).expect("all are known");
                prop_assert_eq!(error, JournalError::Damaged(first + 2));
            }
        }
        laws::journal(&text);
    }
}
