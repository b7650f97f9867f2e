//! Bytes from outside: nothing in them breaks us, and what we write we can read.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rokeep::core::apt_stream::{self, Name, Stream};
use rokeep::core::dpkg_command::{self, Command};
use rokeep::core::inode::AliasName;
use rokeep::core::paths::{ListedPath, PathReader};
use rokeep::core::{deb, dpkg_db, journal, mountinfo, proc_maps, session::Session};

use crate::{config, given};

const STREAM: &[u8] = include_bytes!("../decisions/stream/04-reinstall/stream");
const STATUS: &[u8] = include_bytes!("../decisions/plan/13-lost-list/status");
const LIST: &[u8] = include_bytes!("../decisions/plan/09-names-are-bytes/info/names.list");
const MOUNTINFO: &[u8] = include_bytes!("../decisions/mountinfo/07-names-are-bytes/mountinfo");
const MAPS: &[u8] = include_bytes!("../decisions/maps/01-replaced-removed-and-aliased/maps");
const MD5SUMS: &[u8] = b"\
d41d8cd98f00b204e9800998ecf8427e  usr/bin/tool
0cc175b9c0f1b6a831c399e269772661  ./usr/share/doc/tool/a name
\\900150983cd24fb0d6963f7d28e17f72  usr/share/back\\\\slash\\n
";
const CONFFILES: &[u8] = b"/etc/tool.conf\nremove-on-upgrade /etc/old.conf\n/etc/a name \n";
const JOURNAL: &[u8] = include_bytes!("../decisions/journal/01-format-1/journal");

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_stream_is_read_whole_or_refused(stream in given::damaged(STREAM)) {
        match apt_stream::parse(&stream) {
            Ok(read) => {
                for step in dpkg_db::packages_that_lose_files(&read) {
                    let old = step.installed.as_ref().expect("only what is installed loses files");
                    for list in dpkg_db::list_files(&step.package, &old.arch, old.co_installable) {
                        prop_assert!(is_one_name(&list), "{list:?} leads out of its directory");
                    }
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

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

    /// A cut between two lines cannot be told from the end. It does no harm: apt is dead then, and starts no dpkg.
    #[test]
    fn a_cut_stream_is_refused_or_ends_between_two_lines(cut in any::<Index>()) {
        let Stream { dry_run, steps, .. } = apt_stream::parse(STREAM).expect("it is a recording");
        let cut = cut.index(STREAM.len());
        match apt_stream::parse(&STREAM[..cut]) {
            Ok(read) => {
                prop_assert!(STREAM[..cut].ends_with(b"\n"));
                prop_assert_eq!(&read.steps[..], &steps[..read.steps.len()]);
                prop_assert_eq!(read.dry_run, dry_run);
            }
            Err(error) => prop_assert!(!STREAM[..cut].ends_with(b"\n\n"), "{}", error),
        }
    }

    #[test]
    fn a_package_name_is_part_of_a_file_name(bytes in vec(any::<u8>(), 0..6)) {
        if let Some(name) = Name::parse(&bytes) {
            prop_assert!(is_one_name(name.as_str()));
            prop_assert_eq!(name.as_str().as_bytes(), bytes);
        }
    }

    #[test]
    fn what_a_list_names_stays_below_the_root(list in given::damaged(LIST)) {
        for path in dpkg_db::listed_paths(&list) {
            let full = path.full();
            prop_assert!(path.dir().is_absolute());
            prop_assert!(is_one_name(path.name().as_bytes()), "{path:?}");
            prop_assert!(full.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))));
            prop_assert_eq!(ListedPath::parse(full.as_os_str().as_bytes()), Some(path.clone()));
        }
    }

    #[test]
    fn lines_are_read_as_if_each_were_the_first(list in vec(select(&b"/.ab\n\0"[..]), 0..40)) {
        let one_by_one: Vec<_> = list.split(|byte| *byte == b'\n').filter_map(ListedPath::parse).collect();
        prop_assert_eq!(dpkg_db::listed_paths(&list).collect::<Vec<_>>(), one_by_one);
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
    fn what_a_package_archive_names_stays_below_the_root(
        md5sums in given::damaged(MD5SUMS),
        conffiles in given::damaged(CONFFILES),
        member in vec(select(&b"./a\0\\"[..]), 0..12),
    ) {
        let named = deb::md5sums(&md5sums).into_iter().flatten();
        let mut members = PathReader::default();
        deb::read_member(&member, &mut members);
        for path in named.chain(deb::conffiles(&conffiles)).chain(members.paths()) {
            let full = path.full();
            prop_assert!(path.dir().is_absolute());
            prop_assert!(is_one_name(path.name().as_bytes()), "{path:?}");
            prop_assert!(full.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))));
        }
    }

    #[test]
    fn every_path_that_md5sum_writes_is_read(paths in vec(given::path(), 1..8)) {
        let text: Vec<u8> = paths.iter().flat_map(|path| given::md5sum(path)).collect();
        let read = deb::md5sums(&text).expect("every line is one");
        prop_assert_eq!(read.iter().map(ListedPath::full).collect::<Vec<_>>(), paths);
    }

    /// A line that is not one makes all of them unbelievable; a cut between two lines cannot be told from the end.
    #[test]
    fn cut_checksums_are_refused_or_a_path_is_cut(cut in any::<Index>()) {
        let cut = cut.index(MD5SUMS.len());
        let lines = MD5SUMS[..cut].split(|b| *b == b'\n').filter(|line| !line.is_empty()).count();
        if let Some(read) = deb::md5sums(&MD5SUMS[..cut]) {
            prop_assert!(read.len() == lines || read.len() + 1 == lines);
        }
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
    fn any_status_is_read(status in given::damaged(STATUS)) {
        let name = |text: &str| Name::parse(text.as_bytes()).expect("a name");
        let _ = dpkg_db::has_files(&status, &name("tool"), &name("amd64"));
    }

    #[test]
    fn any_mountinfo_is_read(text in given::damaged(MOUNTINFO)) {
        prop_assert!(mountinfo::parse(&text).len() <= text.split(|b| *b == b'\n').count());
    }

    #[test]
    fn a_mount_point_is_read_as_the_kernel_escapes_it(point in given::path(), flags in given::flags()) {
        use rokeep::core::mount_state::Access;
        let word = |access| match access {
            Access::ReadOnly => "ro",
            Access::Writable => "rw",
        };
        let escape = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            other => vec![*other],
        };
        let escaped: Vec<u8> = point.as_os_str().as_bytes().iter().flat_map(escape).collect();
        let (mount, superblock) = (word(flags.mount), word(flags.superblock));
        let line = [b"9 1 8:1 / ", &escaped[..], format!(" {mount} - ext4 x {superblock}\n").as_bytes()].concat();
        let read = mountinfo::parse(&line);
        prop_assert_eq!(read.iter().map(|mount| (&mount.point, mount.flags)).collect::<Vec<_>>(), [(&point, flags)]);
    }

    #[test]
    fn anonymous_memory_is_never_taken_for_a_file(maps in given::damaged(MAPS)) {
        prop_assert!(proc_maps::parse(&maps).all(|mapping| mapping.ino != 0));
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
    fn a_journal_is_read_or_refused(text in given::damaged(JOURNAL)) {
        if let Ok(read) = journal::parse(&text) {
            let whole = &text[..read.whole_bytes];
            prop_assert!(whole.is_empty() || whole.ends_with(b"\n"));
            prop_assert_eq!(journal::parse(whole), Ok(read));
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
        more in given::record(),
    ) {
        let text = given::journal_of(&records);
        let torn = &text[..cut.index(text.len() + 1)];
        let read = journal::parse(torn).expect("only its end is missing");
        prop_assert_eq!(&read.records[..], &records[..read.records.len()]);
        prop_assert_eq!(torn.iter().filter(|b| **b == b'\n').count().saturating_sub(1), read.records.len());
        // And it can be written on.
        let mut again = torn[..read.whole_bytes].to_vec();
        if again.is_empty() {
            again.extend(journal::header());
        }
        again.extend(journal::encode(&more));
        prop_assert_eq!(journal::parse(&again).expect("whole lines only").records, [&read.records[..], &[more]].concat());
    }

    #[test]
    fn a_name_is_shown_on_one_line_and_is_the_same_again(name in vec(any::<u8>(), 0..40)) {
        let name = OsString::from_vec(name);
        let written = rokeep::core::text::escape(&name);
        prop_assert!(!written.chars().any(char::is_control));
        prop_assert_eq!(rokeep::core::text::unescape(&written), Some(name));
    }

    #[test]
    fn a_session_is_read_as_it_was_written(
        frontends in vec(given::frontend(), 0..3),
        mounts in vec((given::path(), given::flags()), 0..3),
    ) {
        let mut session = Session::default();
        frontends.into_iter().for_each(|frontend| session.join(frontend));
        mounts.iter().for_each(|(point, found)| session.note(&given::mount(point), *found));
        let text = serde_json::to_vec(&session).expect("it can be written");
        prop_assert_eq!(serde_json::from_slice::<Session>(&text).expect("it can be read"), session);
    }
}

fn is_one_name(name: impl AsRef<[u8]>) -> bool {
    let name = std::ffi::OsStr::from_bytes(name.as_ref());
    Path::new("/x").join(name).file_name() == Some(name) && !name.as_bytes().contains(&0)
}
