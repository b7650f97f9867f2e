//! What a package archive says about itself, and which files it brings (deb(5)).
//!
//! dpkg-deb decides what a package archive is, so every rule here is dpkg's own (dpkg-deb/extract.c,
//! lib/dpkg/ar.c): whatever dpkg would unpack can be read.
#![forbid(unsafe_code)]

use std::fmt;

use super::apt_stream::Name;
use super::dpkg_db;
use super::maintainer_script;
use super::message;
use super::paths::{ListedPath, PathReader};

/// A new package, as far as it matters for the files that it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deb {
    /// Name without architecture.
    pub package: Name,
    /// For people; never used to find anything.
    pub version: String,
    /// Debian architecture.
    pub arch: Name,
    /// `Multi-Arch: same`: dpkg's files will be named `package:arch`.
    pub co_installable: bool,
    /// What it says it takes on disk, in bytes; 0 where it does not say.
    pub installed_bytes: u64,
    /// What it brings, sorted, each once. Its symlinks and other special files are among them only where it has no
    /// checksums: nothing else tells of them before the archive is unpacked.
    pub paths: Vec<ListedPath>,
    /// See [`maintainer_script::minds_other_files`].
    pub minds_other_files: bool,
}

/// Why an archive cannot be read. The file's name is for the caller to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebError {
    /// It does not start as one.
    NoArchive,
    /// A format other than 2.x, as `debian-binary` has it.
    Format(String),
    /// A member's header that is none.
    BadHeader,
    /// It is shorter than its members' headers say.
    EndsInside(String),
    /// It is whole, and a member is missing that every package has.
    NoMember(&'static str),
    /// A member that has no business where it is.
    Misplaced(String),
    /// A member compressed by what rokeep cannot decompress.
    UnknownCompression(String),
    /// The paragraph `control` lacks a field or has nonsense in it.
    BadField(&'static str),
}

impl fmt::Display for DebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DebError::NoArchive => f.write_str("it is no Debian package: it does not start as an ar archive"),
            DebError::Format(version) => {
                write!(f, "its package format is {}, and only 2.x is known", message::text(version))
            }
            DebError::BadHeader => f.write_str("it is damaged: a member's header is none"),
            DebError::EndsInside(member) => write!(f, "it is cut off: it ends inside {}", message::text(member)),
            DebError::NoMember(member) => write!(f, "it is cut off or no Debian package: it has no {member}"),
            DebError::Misplaced(member) => {
                write!(f, "it is no Debian package: there is no reason for {} in it there", message::text(member))
            }
            DebError::UnknownCompression(member) => write!(
                f,
                "{} is compressed in an unknown way; known are none, .gz, .xz, .zst and .lzma",
                message::text(member)
            ),
            DebError::BadField(field) => write!(f, "its control file has no valid field {field}"),
        }
    }
}

impl std::error::Error for DebError {}

/// What the whole archive starts with.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";

/// The length of a member's header.
pub const HEADER: usize = 60;

/// The header of a member of the archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Without padding and without the slash that GNU ar adds.
    pub name: String,
    /// Length of its content in bytes.
    pub size: u64,
}

impl Header {
    /// Reads one.
    ///
    /// # Errors
    /// [`DebError::BadHeader`]; where the previous member's length was wrong, this is what notices it.
    pub fn parse(header: &[u8; HEADER]) -> Result<Header, DebError> {
        let (name, size, end) = (&header[..16], &header[48..58], &header[58..]);
        let name = name.trim_ascii_end();
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let size = std::str::from_utf8(size.trim_ascii_end()).ok().filter(|text| !text.starts_with('+'));
        match (end, size.and_then(|size| size.parse().ok())) {
            (b"`\n", Some(size)) => Ok(Header { name: String::from_utf8_lossy(name).into_owned(), size }),
            _ => Err(DebError::BadHeader),
        }
    }
}

/// The name of the first member.
pub const VERSION_MEMBER: &str = "debian-binary";

/// Whether the first member's content names a format that can be read: `2.`, a number, a newline, and what later
/// versions may add.
///
/// # Errors
/// [`DebError::Format`]
pub fn check_format(content: &[u8]) -> Result<(), DebError> {
    let line = content.split(|b| *b == b'\n').next().unwrap_or_default();
    let known = content.contains(&b'\n')
        && line.strip_prefix(b"2.").is_some_and(|minor| minor.first().is_some_and(u8::is_ascii_digit));
    if known { Ok(()) } else { Err(DebError::Format(String::from_utf8_lossy(line).into_owned())) }
}

/// What a member after the first one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// `control.tar`: what the package says of itself.
    Control,
    /// `data.tar`: its files.
    Data,
    /// A name with `_` in front: of no importance to those who do not know it.
    Unimportant,
}

impl Member {
    /// What its name says.
    ///
    /// # Errors
    /// [`DebError::Misplaced`]: any other name.
    pub fn parse(name: &str) -> Result<Member, DebError> {
        match name {
            _ if name.starts_with('_') => Ok(Member::Unimportant),
            _ if name.starts_with("control.tar") => Ok(Member::Control),
            _ if name.starts_with("data.tar") => Ok(Member::Data),
            _ => Err(DebError::Misplaced(name.to_owned())),
        }
    }
}

/// How a member is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
    Lzma,
}

impl Compression {
    /// What the member's name says.
    ///
    /// # Errors
    /// [`DebError::UnknownCompression`]
    pub fn parse(member: &str) -> Result<Compression, DebError> {
        match member.split_once(".tar").map(|(_, suffix)| suffix) {
            Some("") => Ok(Compression::None),
            Some(".gz") => Ok(Compression::Gzip),
            Some(".xz") => Ok(Compression::Xz),
            Some(".zst") => Ok(Compression::Zstd),
            Some(".lzma") => Ok(Compression::Lzma),
            _ => Err(DebError::UnknownCompression(member.to_owned())),
        }
    }
}

/// The window that a zstd frame asks for, in bytes: how much of what it decoded a decoder has to keep (RFC 8878, 3.1.1.1).
///
/// `None` for what does not start as a frame.
pub fn zstd_window(frame: &[u8]) -> Option<u64> {
    let (descriptor, rest) = frame.strip_prefix(&0xFD2F_B528_u32.to_le_bytes())?.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    let dictionary_id = [0, 1, 2, 4].get(usize::from(descriptor & 3))?;
    let (length, more) = [(1, 0), (2, 256), (4, 0), (8, 0)].get(usize::from(descriptor >> 6))?;
    let size = rest.get(*dictionary_id..)?.get(..*length)?;
    size.iter().rev().try_fold(0_u64, |sum, byte| Some(sum << 8 | u64::from(*byte)))?.checked_add(*more)
}

/// The files of the control member that tell something, as they are.
#[derive(Debug, Default)]
pub struct ControlFiles {
    control: Vec<u8>,
    md5sums: Vec<u8>,
    conffiles: Vec<u8>,
    /// One after the other.
    scripts: Vec<u8>,
}

impl ControlFiles {
    /// How many files they can name at most: one a line.
    pub fn lines(&self) -> usize {
        let lines = |text: &[u8]| text.split(|b| *b == b'\n').count();
        lines(&self.md5sums).max(lines(&self.conffiles))
    }

    /// Where to append the content of this file. `None`: it tells nothing.
    pub fn place(&mut self, member: &[u8]) -> Option<&mut Vec<u8>> {
        let place = match below_root(member) {
            b"preinst" | b"postinst" | b"prerm" | b"postrm" => return Some(&mut self.scripts),
            b"control" => &mut self.control,
            b"md5sums" => &mut self.md5sums,
            b"conffiles" => &mut self.conffiles,
            _ => return None,
        };
        // Of two files of one name the later one is what dpkg finds.
        place.clear();
        Some(place)
    }

    /// Every file that the package brings, as far as these files know. `None` where they do not: then the data member
    /// has to be read.
    pub fn paths(&self) -> Option<Vec<ListedPath>> {
        let mut paths = md5sums(&self.md5sums)?;
        paths.extend(conffiles(&self.conffiles));
        Some(paths)
    }

    /// All together.
    ///
    /// # Errors
    /// [`DebError::BadField`]
    pub fn deb(&self, mut paths: Vec<ListedPath>) -> Result<Deb, DebError> {
        let lines: Vec<&[u8]> = self.control.split(|b| *b == b'\n').collect();
        let field = |name| dpkg_db::field(&lines, name);
        let name = |key| field(key).and_then(Name::parse).ok_or(DebError::BadField(key));
        let kibibytes = field("Installed-Size").and_then(|size| std::str::from_utf8(size).ok()?.parse::<u64>().ok());
        paths.sort_unstable();
        paths.dedup();
        Ok(Deb {
            package: name("Package")?,
            version: String::from_utf8_lossy(field("Version").ok_or(DebError::BadField("Version"))?).into_owned(),
            arch: name("Architecture")?,
            co_installable: field("Multi-Arch") == Some(b"same"),
            installed_bytes: kibibytes.unwrap_or(0).saturating_mul(1024),
            paths,
            minds_other_files: maintainer_script::minds_other_files(&self.scripts),
        })
    }
}

/// The paths of `md5sums` (deb-md5sums(5)): `HEX  path`, below the root.
///
/// A path that could lead elsewhere is left out. `None` if there are no checksums, or if something is none: then who
/// knows what is missing.
///
/// md5sum puts `\` before a line whose path it escaped. debhelper takes that away again, so other lines are as they are.
pub fn md5sums(text: &[u8]) -> Option<Vec<ListedPath>> {
    let mut reader = PathReader::default();
    let mut lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).peekable();
    lines.peek()?;
    lines.try_for_each(|line| checksummed(line, &mut reader))?;
    Some(reader.paths())
}

/// Reads the path of a line; `None` if it is no line.
fn checksummed(line: &[u8], reader: &mut PathReader) -> Option<()> {
    let escaped = line.strip_prefix(b"\\");
    let (digest, path) = escaped.unwrap_or(line).split_at_checked(32)?;
    let path = path.strip_prefix(b"  ").or_else(|| path.strip_prefix(b" *"))?;
    if !digest.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    match escaped {
        Some(_) => read_member(&unescape(path)?, reader),
        None => read_member(path, reader),
    }
    Some(())
}

/// What md5sum (coreutils) escapes.
fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = path.iter();
    let mut plain = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(plain)
}

/// The paths of `conffiles` (deb-conffiles(5)): absolute, one a line, space at its end is none of it. Before a path may
/// be the word `remove-on-upgrade`: that file is not in the package.
pub fn conffiles(text: &[u8]) -> impl Iterator<Item = ListedPath> {
    let mut reader = PathReader::default();
    text.split(|b| *b == b'\n').for_each(|line| reader.absolute(line.trim_ascii_end()));
    reader.paths().into_iter()
}

/// Reads the path at which dpkg unpacks a member of the data archive: whatever its name starts with, it is below the root.
///
/// The root itself, and what could lead elsewhere, is passed over.
pub fn read_member(name: &[u8], reader: &mut PathReader) {
    reader.below_root(below_root(name));
}

/// Without any `/` and `./` in front (path_skip_slash_dotslash in dpkg's lib/dpkg/path.c).
fn below_root(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"/").or_else(|| name.strip_prefix(b"./")) {
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    const SUM: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn shown(paths: impl IntoIterator<Item = ListedPath>) -> Vec<String> {
        paths.into_iter().map(|path| path.full().as_os_str().as_bytes().escape_ascii().to_string()).collect()
    }

    fn sums(paths: &[&[u8]]) -> Option<Vec<String>> {
        let line = |path: &&[u8]| [SUM.as_bytes(), b"  ", path, b"\n"].concat();
        md5sums(&paths.iter().flat_map(line).collect::<Vec<u8>>()).map(shown)
    }

    #[test]
    fn checksums_name_paths_below_the_root() {
        let all: &[&[u8]] = &[b"usr/bin/a b", b"./usr/bin/c", b"/usr/bin/d", b".//e", b"usr/share/\xff", b"usr/\\n"];
        let paths = ["/usr/bin/a b", "/usr/bin/c", "/usr/bin/d", "/e", "/usr/share/\\xff", "/usr/\\\\n"];
        assert_eq!(sums(all).unwrap(), paths);
        assert_eq!(md5sums(format!("{SUM} *usr/bin/binary").as_bytes()).map(shown).unwrap(), ["/usr/bin/binary"]);
    }

    #[test]
    fn a_line_that_md5sum_escaped_is_unescaped() {
        let line = |path: &str| md5sums(format!("\\{SUM}  {path}\n").as_bytes()).map(shown);
        assert_eq!(line(r"usr/a\\b\nc\rd").unwrap(), [r"/usr/a\\b\nc\rd"]);
        assert_eq!(line(r"usr/a\tb"), None, "md5sum does not write that");
        assert_eq!(line(r"usr/a\"), None);
    }

    #[test]
    fn what_could_lead_elsewhere_is_left_out() {
        let all: &[&[u8]] = &[b"../etc/shadow", b"usr/../../x", b"usr/./x", b"./..", b".", b"usr/a\0b", b"usr/good"];
        assert_eq!(sums(all).unwrap(), ["/usr/good"]);
    }

    #[test]
    fn checksums_that_are_none_tell_nothing() {
        for text in
            ["", "\n\n", "not a checksum\n", &SUM[..31], SUM, &format!("{SUM} usr/x"), &format!("g{}  x", &SUM[1..])]
        {
            assert_eq!(md5sums(text.as_bytes()), None, "{text:?}");
        }
        let one_is_none = format!("{SUM}  usr/x\n{}  usr/y\n", &SUM[..31]);
        assert_eq!(md5sums(one_is_none.as_bytes()), None);
    }

    #[test]
    fn conffiles_are_absolute_and_those_to_be_removed_are_not_brought() {
        let text = b"/etc/a\n/etc/b c \t\nremove-on-upgrade /etc/gone\n\netc/d\n/etc/../e\n/etc/last";
        assert_eq!(shown(conffiles(text)), ["/etc/a", "/etc/b c", "/etc/last"]);
    }

    fn control_files(files: &[(&str, &str)]) -> ControlFiles {
        let mut control = ControlFiles::default();
        for (name, content) in files {
            control.place(name.as_bytes()).unwrap().extend(content.as_bytes());
        }
        control
    }

    #[test]
    fn all_that_the_control_files_tell() {
        let checksums = format!("{SUM}  usr/bin/tool\n{SUM}  etc/tool.conf\n");
        let control = "Package: tool\nversion: 1:2-3\nArchitecture: amd64\nMulti-Arch: same\nInstalled-Size: 12\n\
                       Description: x\n Package: other\n";
        let files = [("./control", control), ("md5sums", &checksums), ("./conffiles", "/etc/tool.conf\n")];
        let read = control_files(&files);
        let deb = read.deb(read.paths().unwrap()).unwrap();
        assert_eq!((deb.package.as_str(), &*deb.version, deb.arch.as_str()), ("tool", "1:2-3", "amd64"));
        assert_eq!((deb.co_installable, deb.installed_bytes, deb.minds_other_files), (true, 12 * 1024, false));
        assert_eq!(shown(deb.paths), ["/etc/tool.conf", "/usr/bin/tool"], "sorted, each once");
    }

    #[test]
    fn what_a_package_need_not_say_may_be_missing() {
        let read = control_files(&[("control", "Package: a\nVersion: 1\nArchitecture: all\n")]);
        let deb = read.deb(vec![]).unwrap();
        assert_eq!((deb.co_installable, deb.installed_bytes, deb.minds_other_files), (false, 0, false));
        assert_eq!(read.paths(), None);
    }

    #[test]
    fn a_field_that_every_package_has_is_named_if_it_is_missing() {
        let whole = "Package: a\nVersion: 1\nArchitecture: all\n";
        for (line, field) in whole.lines().zip(["Package", "Version", "Architecture"]) {
            let read = control_files(&[("control", &whole.replace(line, "X: y"))]);
            assert_eq!(read.deb(vec![]), Err(DebError::BadField(field)));
        }
        let read = control_files(&[("control", &whole.replace(": a\n", ": ../a\n"))]);
        assert_eq!(read.deb(vec![]), Err(DebError::BadField("Package")));
    }

    #[test]
    fn a_script_that_minds_other_files_is_noticed() {
        let control = ("control", "Package: a\nVersion: 1\nArchitecture: all\n");
        let line = "dpkg-maintscript-helper dir_to_symlink /usr/share/doc/a b 1 -- \"$@\"\n";
        for script in ["./preinst", "./postinst", "./prerm", "./postrm"] {
            let deb_with = |text| control_files(&[control, ("preinst", "#!/bin/sh\n"), (script, text)]).deb(vec![]);
            assert!(deb_with(line).unwrap().minds_other_files, "{script}");
            assert!(!deb_with("dpkg-maintscript-helper rm_conffile\n").unwrap().minds_other_files, "{script}");
        }
        assert!(control_files(&[control]).place(b"./config").is_none(), "debconf asks with it, and runs it before");
    }

    #[test]
    fn the_later_of_two_control_files_of_one_name_counts() {
        let text = |name| format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
        let read = control_files(&[("control", &text("one")), ("./control", &text("two"))]);
        assert_eq!(read.deb(vec![]).unwrap().package.as_str(), "two");
    }

    fn header(name: &str, size: &str, end: &str) -> [u8; HEADER] {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}{end}", 0, 0, 0, 100_644).as_bytes().try_into().unwrap()
    }

    #[test]
    fn a_member_is_named_with_a_slash_or_without() {
        for name in ["data.tar.xz", "data.tar.xz/"] {
            let read = Header::parse(&header(name, "7", "`\n")).unwrap();
            assert_eq!((&*read.name, read.size), ("data.tar.xz", 7));
        }
    }

    #[test]
    fn a_header_that_is_none_is_noticed() {
        for (size, end) in [("7", "\n`"), ("", "`\n"), ("-7", "`\n"), ("+7", "`\n"), ("0x7", "`\n"), ("7 7", "`\n")] {
            assert_eq!(Header::parse(&header("data.tar", size, end)), Err(DebError::BadHeader), "{size:?} {end:?}");
        }
    }

    #[test]
    fn every_format_2_is_known() {
        for known in ["2.0\n", "2.1\n", "2.0\nmore\n"] {
            assert_eq!(check_format(known.as_bytes()), Ok(()), "{known:?}");
        }
        for other in ["", "2.0", "3.0\n", "2.\n", "2\n", "0.939000\n"] {
            assert!(matches!(check_format(other.as_bytes()), Err(DebError::Format(_))), "{other:?}");
        }
    }

    #[test]
    fn members_and_their_compression_are_told_by_name() {
        use Compression::*;
        for (suffix, compression) in [("", None), (".gz", Gzip), (".xz", Xz), (".zst", Zstd), (".lzma", Lzma)] {
            let (control, data) = (format!("control.tar{suffix}"), format!("data.tar{suffix}"));
            assert_eq!((Member::parse(&control), Compression::parse(&control)), (Ok(Member::Control), Ok(compression)));
            assert_eq!((Member::parse(&data), Compression::parse(&data)), (Ok(Member::Data), Ok(compression)));
        }
        assert_eq!(Member::parse("_gpgorigin"), Ok(Member::Unimportant));
        assert_eq!(Member::parse("extra"), Err(DebError::Misplaced("extra".into())));
        for name in ["data.tar.bz2", "data.tarx", "data.tar.xz.xz"] {
            assert_eq!(Member::parse(name), Ok(Member::Data));
            assert_eq!(Compression::parse(name), Err(DebError::UnknownCompression(name.into())));
        }
    }

    /// Frames of the zstd program, as far as their headers go.
    #[test]
    fn the_window_of_a_zstd_frame() {
        let window = |rest: &[u8]| zstd_window(&[b"\x28\xb5\x2f\xfd", rest].concat());
        assert_eq!(window(b"\x04\x88"), Some(128 << 20), "zstd -22 --ultra");
        assert_eq!(window(b"\x04\x58"), Some(2 << 20), "zstd -3");
        assert_eq!(window(b"\x24\x05"), Some(5), "one segment of five bytes");
        assert_eq!(window(b"\x64\x00\x01"), Some(512), "one segment of 256 + 256 bytes");
        assert_eq!(window(b"\xe4\xff\xff\xff\xff\xff\xff\xff\xff"), Some(u64::MAX));
        assert_eq!(window(b"\x04"), None);
        assert_eq!(zstd_window(b"\x50\x2a\x4d\x18\0\0\0\0"), None, "a frame to be skipped");
    }
}
