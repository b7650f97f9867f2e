//! What dpkg-deb does not write: what dpkg takes all the same, and what nobody should take.

use nix::sys::stat::Mode;
use rokeep::core::deb::Deb;
use rokeep::sys::deb::read;
use tar::{EntryType, Header};

use crate::building::{CONTROL, Paths, Scratch, filtered, output, paths, shown};
use crate::tar_entry::entry;

/// Names and contents.
type Members<'a> = &'a [(&'a str, &'a [u8])];

const FORMAT: (&str, &[u8]) = ("debian-binary", b"2.0\n");

/// An ar archive of these members.
pub fn archive(members: Members) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in members {
        archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes());
        archive.extend(*content);
        archive.resize(archive.len().next_multiple_of(2), b'\n');
    }
    archive
}

/// A tar archive of these members: type, name as it is, content.
fn tar(members: &[(EntryType, &[u8], &[u8])]) -> Vec<u8> {
    let mut archive: Vec<u8> = members.iter().flat_map(|(kind, name, content)| entry(*kind, name, content)).collect();
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn control(md5sums: &str) -> Vec<u8> {
    let control = (EntryType::Regular, &b"./control"[..], CONTROL.as_bytes());
    let md5sums = (EntryType::Regular, &b"./md5sums"[..], md5sums.as_bytes());
    if md5sums.2.is_empty() { tar(&[control]) } else { tar(&[control, md5sums]) }
}

fn read_bytes(archive: &[u8]) -> Result<Deb, String> {
    let scratch = Scratch::new();
    read(&scratch.file("x.deb", archive)).map_err(|error| format!("{error:#}"))
}

/// A package of this data and no checksums.
fn read_data(data: &[u8]) -> Result<Paths, String> {
    read_bytes(&archive(&[FORMAT, ("control.tar", &control("")), ("data.tar", data)])).map(|deb| paths(&deb))
}

fn these(paths: &[&[u8]]) -> Result<Paths, String> {
    Ok(paths.iter().map(|path| shown(path)).collect())
}

fn usr_bin_tool() -> Vec<u8> {
    tar(&[(EntryType::Directory, b"./usr/", b""), (EntryType::Regular, b"./usr/bin/tool", b"x")])
}

#[test]
fn names_of_members_may_end_in_a_slash_and_unknown_ones_may_start_with_an_underscore() {
    let (control, data) = (control(""), usr_bin_tool());
    let deb = read_bytes(&archive(&[
        ("debian-binary/", b"2.0\nand what later versions may add\n"),
        ("_before", b"odd"),
        ("control.tar/", &control),
        ("_between", b"even"),
        ("data.tar/", &data),
        ("_after", b""),
    ]));
    assert_eq!(deb.map(|deb| paths(&deb)), these(&[b"/usr/bin/tool"]));
}

#[test]
fn what_is_no_package_is_refused_with_the_reason() {
    let (control, data) = (&control("")[..], &usr_bin_tool()[..]);
    let cases: &[(Members, &str)] = &[
        (&[], "it has no debian-binary"),
        (&[("debian-binary", b"3.0\n"), ("control.tar", control), ("data.tar", data)], "its package format is 3.0"),
        (&[("debian-split", b"2.1\n")], "no reason for debian-split"),
        (&[("control.tar", control), FORMAT, ("data.tar", data)], "no reason for control.tar"),
        (&[FORMAT, ("data.tar", data), ("control.tar", control)], "no reason for data.tar"),
        (&[FORMAT, ("control.tar", control), ("control.tar", control)], "no reason for control.tar"),
        (&[FORMAT, ("control.tar", control), ("extra", b""), ("data.tar", data)], "no reason for extra"),
        (&[FORMAT, ("control.tar", control)], "it has no data.tar"),
        (&[FORMAT], "it has no control.tar"),
        (&[FORMAT, ("control.tar", control), ("data.tar.bz2", data)], "data.tar.bz2 is compressed in an unknown way"),
        (&[FORMAT, ("control.tar.xz", control), ("data.tar", data)], "its control.tar.xz: "),
        (&[FORMAT, ("control.tar.gz", control), ("data.tar", data)], "its control.tar.gz: "),
        (&[FORMAT, ("control.tar.zst", control), ("data.tar", data)], "its control.tar.zst: "),
        (&[FORMAT, ("control.tar", b"no tar"), ("data.tar", data)], "its control.tar: "),
        (&[FORMAT, ("control.tar", &tar(&[])), ("data.tar", data)], "no valid field Package"),
    ];
    for (members, reason) in cases {
        let error = read_bytes(&archive(members)).unwrap_err();
        assert!(error.contains("x.deb cannot be read as a package: "), "{error}");
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert!(read_bytes(b"0.939000\n").unwrap_err().contains("does not start as an ar archive"));
    assert!(read_bytes(b"").unwrap_err().contains("does not start as an ar archive"));
}

/// dpkg-deb does not write bzip2 any more, and dpkg still unpacks it.
#[test]
fn with_checksums_it_does_not_matter_how_the_data_is_compressed() {
    let control = control("d41d8cd98f00b204e9800998ecf8427e  usr/bin/tool\n");
    let deb = read_bytes(&archive(&[FORMAT, ("control.tar", &control), ("data.tar.bz2", b"BZh9")]));
    assert_eq!(deb.map(|deb| paths(&deb)), these(&[b"/usr/bin/tool"]));
}

/// The file of a stranger would have lines of its own among those of rokeep.
#[test]
fn a_name_in_an_archive_that_is_refused_stays_in_one_line() {
    let mut bad_size = tar(&[(EntryType::Regular, b"./a\nrokeep: all is well", b"")]);
    bad_size[124..135].copy_from_slice(b"not a size!");
    let mut header = Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&bad_size[..512]);
    header.set_cksum();
    bad_size[..512].copy_from_slice(header.as_bytes());
    for (member, data, shown) in [
        ("data.tar", &bad_size[..], "./a%0Arokeep: all is well"),
        ("data.tar.\n\x1b[2J", b"", "its data.tar.%0A%1B[2J: "),
    ] {
        let error = read_bytes(&archive(&[FORMAT, ("control.tar", &control("")), (member, data)])).unwrap_err();
        assert!(error.contains(shown) && !error.chars().any(char::is_control), "{error}");
    }
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let scratch = Scratch::new();
    let error = |name: &str| format!("{:#}", read(&scratch.path(name)).unwrap_err());
    nix::unistd::mkfifo(&scratch.path("pipe"), Mode::S_IRWXU).unwrap();
    assert!(error("pipe").contains("it is not a file"));
    assert!(error(".").contains("it is not a file"));
    assert!(error("missing").contains("No such file"));
}

#[test]
fn whatever_is_no_directory_is_brought() {
    let data = tar(&[
        (EntryType::Directory, b"usr/", b""),
        (EntryType::Regular, b"written/as/once/", b""),
        (EntryType::Regular, b"regular", b"content"),
        (EntryType::Continuous, b"continuous", b"content"),
        (EntryType::Link, b"link", b""),
        (EntryType::Symlink, b"symlink", b""),
        (EntryType::Fifo, b"fifo", b""),
        (EntryType::Char, b"char", b""),
        (EntryType::Block, b"block", b""),
    ]);
    let names: [&[u8]; 7] = [b"/block", b"/char", b"/continuous", b"/fifo", b"/link", b"/regular", b"/symlink"];
    assert_eq!(read_data(&data), these(&names));
}

#[test]
fn a_path_that_could_lead_elsewhere_is_not_brought() {
    let file = |name: &'static [u8]| (EntryType::Regular, name, &b""[..]);
    let names = [b"../up".as_slice(), b"usr/../../up", b"..", b".", b"./", b"/", b"/absolute", b".//./odd"];
    let data = tar(&names.map(file));
    assert_eq!(read_data(&data), these(&[b"/absolute", b"/odd"]));
    let sum = "d41d8cd98f00b204e9800998ecf8427e";
    let control = control(&format!("{sum}  ../up\n{sum}  usr/bin/tool\n\\{sum}  usr/a\\n/../b\n"));
    let deb = read_bytes(&archive(&[FORMAT, ("control.tar", &control), ("data.tar", &data)])).unwrap();
    assert_eq!(Ok(paths(&deb)), these(&[b"/usr/bin/tool"]));
}

#[test]
fn a_long_name_belongs_to_the_next_member_only() {
    let long = [&b"./usr/"[..], &[b'l'; 300], b"\0"].concat();
    let path = [&b"/usr/"[..], &[b'l'; 300]].concat();
    let data = |next| {
        tar(&[
            (EntryType::GNULongName, b"././@LongLink", &long),
            (EntryType::GNULongLink, b"././@LongLink", b"./target\0"),
            (next, b"./usr/lll", b""),
            (EntryType::Regular, b"./usr/bin/tool", b""),
        ])
    };
    assert_eq!(read_data(&data(EntryType::Symlink)), these(&[b"/usr/bin/tool", &path]));
    assert_eq!(read_data(&data(EntryType::Directory)), these(&[b"/usr/bin/tool"]));
}

#[test]
fn names_as_posix_and_v7_tar_write_them() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let dirs = format!("p/usr/{}/{}", "d".repeat(70), "e".repeat(70));
    std::fs::create_dir_all(scratch.path(&dirs)).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"\xff = 7\\n");
    std::fs::write(scratch.path(&dirs).join(odd), "").unwrap();
    std::fs::write(scratch.path("p/usr/short"), "").unwrap();
    let archive = |format: &str, what: &str| {
        let mut tar = std::process::Command::new("tar");
        tar.arg(format!("--format={format}")).arg("-C").arg(scratch.path("p")).args(["-c", what]);
        output(&mut tar)
    };
    let long = [&dirs.as_bytes()[1..], b"/", odd.as_bytes()].concat();
    let both = || these(&[&long, b"/usr/short"]);
    for format in ["gnu", "oldgnu", "pax", "ustar"] {
        assert_eq!(read_data(&archive(format, "./usr")), both(), "{format}");
    }
    assert_eq!(read_data(&archive("v7", "./usr/short")), these(&[b"/usr/short"]));
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    let scratch = Scratch::new();
    let zeroes = format!("head -c {} /dev/zero", 70 << 20);
    let bomb = output(std::process::Command::new("sh").args(["-c", &format!("{zeroes} | gzip -1")]));
    let huge = |name: &[u8], kind| {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(8 << 30);
        header.set_cksum();
        // Two gzip streams are one file.
        [filtered(&["gzip"], header.as_bytes(), &scratch), bomb.clone()].concat()
    };
    let data = usr_bin_tool();
    let md5sums = huge(b"./md5sums", EntryType::Regular);
    let error = read_bytes(&archive(&[FORMAT, ("control.tar.gz", &md5sums), ("data.tar", &data)])).unwrap_err();
    assert!(error.contains("its control.tar.gz: it is larger than 64 MiB"), "{error}");
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let name = huge(b"name", kind);
        let error = read_bytes(&archive(&[FORMAT, ("control.tar", &control("")), ("data.tar.gz", &name)])).unwrap_err();
        assert!(error.contains("a file's name is longer than 64 KiB"), "{error}");
    }
}

#[test]
fn more_names_than_any_package_has_are_refused() {
    let scratch = Scratch::new();
    let longest = [&[b'l'; 65_000][..], b"\0"].concat();
    let file = [entry(EntryType::GNULongName, b"name", &longest), entry(EntryType::Regular, b"l", b"")].concat();
    let files = filtered(&["gzip"], &file, &scratch).repeat((64 << 20) / 65_000 + 1);
    let error = read_bytes(&archive(&[FORMAT, ("control.tar", &control("")), ("data.tar.gz", &files)])).unwrap_err();
    assert!(error.contains("more than 64 MiB of names"), "{error}");
}

#[test]
fn what_takes_too_much_memory_to_unpack_is_refused() {
    let scratch = Scratch::new();
    let data = usr_bin_tool();
    let zstd_of_4_gib = [&[0x28, 0xb5, 0x2f, 0xfd, 0x04, 22 << 3][..], &[0; 32]].concat();
    for (suffix, data) in [
        ("zst", zstd_of_4_gib),
        ("xz", filtered(&["xz", "--lzma2=dict=256MiB"], &data, &scratch)),
        ("lzma", filtered(&["xz", "--format=lzma", "--lzma1=dict=256MiB"], &data, &scratch)),
    ] {
        let member = format!("data.tar.{suffix}");
        let error = read_bytes(&archive(&[FORMAT, ("control.tar", &control("")), (&member, &data)])).unwrap_err();
        assert!(error.contains(&member) && error.contains("mem"), "{error}");
    }
}

#[test]
fn what_dpkg_deb_compresses_best_is_not_too_much() {
    let scratch = Scratch::new();
    let data = filtered(&["xz", "-9e"], &usr_bin_tool(), &scratch);
    let deb = read_bytes(&archive(&[FORMAT, ("control.tar", &control("")), ("data.tar.xz", &data)]));
    assert_eq!(deb.map(|deb| paths(&deb)), these(&[b"/usr/bin/tool"]));
    let tree = crate::building::Tree::new().file("/usr/bin/tool");
    let deb = read(&tree.build_with(&["-Zzstd", "-z22"])).unwrap();
    assert_eq!(Ok(paths(&deb)), these(&[b"/usr/bin/tool"]));
}
