//! What apt tells a Pre-Install-Pkgs hook: protocol version 3 (apt.conf(5), apt-pkg/deb/dpkgpm.cc).
//!
//! `VERSION 3`, the configuration as `Tag=value` lines, one empty line, then a line for each step that dpkg will be
//! asked for: `name oldversion oldarch oldmultiarch direction newversion newarch newmultiarch action`. Nine fields,
//! one space between them; the last runs to the end of the line, as an archive's path may contain spaces.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::message;

/// The whole announcement.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// apt only prints what it would do (`Debug::pkgDPkgPM`): dpkg will not run, yet the hooks do.
    pub dry_run: bool,
    /// Another Pre-Invoke hook that remounts something, as apt's configuration has it.
    pub other_remount: Option<String>,
    /// In apt's order; a package that is installed appears twice, to unpack and to configure.
    pub steps: Vec<Step>,
}

/// One line: one package, one thing that dpkg will do to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Name without architecture.
    pub package: Name,
    /// What is installed now.
    pub installed: Option<Version>,
    /// What will be installed in the end; of a package that is removed for a moment too.
    pub coming: Option<Version>,
    /// What will be done.
    pub action: Action,
}

/// A version as far as it matters for finding the package's files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// For people; never used to find anything.
    pub number: String,
    /// Debian architecture.
    pub arch: Name,
    /// `Multi-Arch: same`: dpkg's files are then named `package:arch`.
    pub co_installable: bool,
}

/// The last field of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Unpack this archive over what is installed. Empty where apt could not name it (`**ERROR**`).
    Unpack(PathBuf),
    /// `**REMOVE**`: remove or purge; apt does not say which.
    Remove,
    /// `**CONFIGURE**`: no file is replaced.
    Configure,
}

/// A package name or architecture: safe as a part of a file name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Debian policy 5.6.7: lower case letters, digits, `+ - .`; dpkg also takes upper case and `_`.
    pub fn parse(bytes: &[u8]) -> Option<Name> {
        let legal = |b: &u8| b.is_ascii_alphanumeric() || b"+-._".contains(b);
        let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let text = std::str::from_utf8(bytes).ok()?;
        (starts_well && bytes.iter().all(legal)).then(|| Name(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an announcement cannot be believed. Any of these must stop apt before dpkg starts.
#[derive(Debug, PartialEq, Eq)]
pub enum StreamError {
    /// Nothing at all was sent.
    Empty,
    /// Another protocol version; 1 has no header at all.
    Version(String),
    /// It ended inside the configuration or inside a line.
    Truncated,
    /// A package line that is not one; counted from 1.
    BadLine {
        /// The line's number in the stream.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Empty => f.write_str("apt announced nothing: the description of the package run is empty"),
            StreamError::Version(version) => write!(
                f,
                "apt announced the package run in protocol version {}, and only version 3 says enough; \
                 /etc/apt/apt.conf.d/zz-rokeep asks for 3 under DPkg::Tools::Options",
                message::text(version)
            ),
            StreamError::Truncated => f.write_str("apt's description of the package run ends in the middle"),
            StreamError::BadLine { line, why } => {
                write!(f, "apt's description of the package run cannot be read: line {line} {why}")
            }
        }
    }
}

impl std::error::Error for StreamError {}

/// Reads a whole announcement.
///
/// # Errors
/// Whatever is not complete and well-formed: a guess here would let dpkg free an inode unseen.
pub fn parse(stream: &[u8]) -> Result<Stream, StreamError> {
    if stream.is_empty() {
        return Err(StreamError::Empty);
    }
    let whole = stream.strip_suffix(b"\n");
    let mut lines = whole.unwrap_or(stream).split(|b| *b == b'\n').zip(1..);
    match lines.next() {
        Some((b"VERSION 3", _)) if whole.is_some() => {}
        Some((first, _)) => return Err(not_version_3(first, whole.is_some())),
        None => return Err(StreamError::Empty),
    }
    let Configuration { dry_run, other_remount } = read_configuration(&mut lines)?;
    let steps = lines.map(|(line, number)| step(line).map_err(|why| StreamError::BadLine { line: number, why }));
    Ok(Stream { dry_run, other_remount, steps: steps.collect::<Result<_, _>>()? })
}

fn not_version_3(first: &[u8], line_is_whole: bool) -> StreamError {
    match first.strip_prefix(b"VERSION ") {
        Some(version) if line_is_whole => StreamError::Version(String::from_utf8_lossy(version).into_owned()),
        Some(_) => StreamError::Truncated,
        None if b"VERSION ".starts_with(first) => StreamError::Truncated,
        None => StreamError::Version("1".to_owned()),
    }
}

/// What matters of apt's configuration.
#[derive(Default)]
struct Configuration {
    dry_run: bool,
    other_remount: Option<String>,
}

/// Reads up to the empty line.
fn read_configuration<'a>(lines: &mut impl Iterator<Item = (&'a [u8], usize)>) -> Result<Configuration, StreamError> {
    let mut configuration = Configuration::default();
    for (line, _) in lines {
        if line.is_empty() {
            return Ok(configuration);
        }
        if let Some(value) = strip_prefix_ignore_case(line, b"Debug::pkgDPkgPM=") {
            configuration.dry_run = is_true(value);
        }
        if let Some(hook) = strip_prefix_ignore_case(line, b"DPkg::Pre-Invoke::") {
            let hook = String::from_utf8_lossy(hook);
            let command = hook.split_once('=').map_or("", |(_name, command)| command);
            if command.contains("remount") && !command.contains("/etc/rokeep/") {
                configuration.other_remount = Some(command.replace("%20", " "));
            }
        }
    }
    Err(StreamError::Truncated)
}

fn strip_prefix_ignore_case<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, tail) = line.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

/// apt's own idea of true (StringToBool in apt-pkg/contrib/strutl.cc).
pub(super) fn is_true(value: &[u8]) -> bool {
    match std::str::from_utf8(value).map(str::to_ascii_lowercase).as_deref() {
        Ok("yes" | "true" | "with" | "on" | "enable") => true,
        Ok(number) => number.parse::<i64>().is_ok_and(|n| n != 0),
        Err(_) => false,
    }
}

fn step(line: &[u8]) -> Result<Step, &'static str> {
    const SHORT: &str = "has fewer than nine fields";
    let mut fields = line.splitn(9, |b| *b == b' ');
    let mut field = || fields.next().ok_or(SHORT);
    let package = Name::parse(field()?).ok_or("does not start with a package name")?;
    let installed = version(field()?, field()?, field()?)?;
    if ![&b"<"[..], b"=", b">"].contains(&field()?) {
        return Err("has no direction (<, = or >) as its fifth field");
    }
    let coming = version(field()?, field()?, field()?)?;
    let action = action(field()?)?;
    Ok(Step { package, installed, coming, action })
}

fn version(number: &[u8], arch: &[u8], multi_arch: &[u8]) -> Result<Option<Version>, &'static str> {
    if number == b"-" {
        return Ok(None);
    }
    Ok(Some(Version {
        number: String::from_utf8_lossy(number).into_owned(),
        arch: Name::parse(arch).ok_or("names no architecture")?,
        co_installable: multi_arch == b"same",
    }))
}

fn action(field: &[u8]) -> Result<Action, &'static str> {
    match field {
        b"**CONFIGURE**" => Ok(Action::Configure),
        b"**REMOVE**" => Ok(Action::Remove),
        b"**ERROR**" => Ok(Action::Unpack(PathBuf::new())),
        path if path.starts_with(b"/") => Ok(Action::Unpack(PathBuf::from(OsStr::from_bytes(path)))),
        _ => Err("ends in neither a path nor an action"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "VERSION 3\nAPT::Architecture=amd64\nDebug::pkgDPkgPM=0\n\n";

    fn steps(lines: &str) -> Result<Vec<Step>, StreamError> {
        parse(format!("{HEAD}{lines}").as_bytes()).map(|stream| stream.steps)
    }

    #[test]
    fn each_kind_of_line_as_apt_writes_it() {
        let read = steps(
            "sudo - - none < 1.9.13p3-1+deb12u4 amd64 none /var/cache/apt/archives/sudo_1%3a1_amd64.deb\n\
             hostname 3.23+nmu1 amd64 none = 3.23+nmu1 amd64 none /a dir/hostname.deb\n\
             libsame 1 i386 same < 2 i386 same **CONFIGURE**\n\
             tree 2.1.0-1 amd64 none > - - none **REMOVE**\n",
        )
        .unwrap();
        assert_eq!(read[0].installed, None);
        assert_eq!(read[1].action, Action::Unpack("/a dir/hostname.deb".into()), "a path may contain spaces");
        assert!(read[2].installed.as_ref().unwrap().co_installable);
        assert_eq!(read[3].action, Action::Remove);
    }

    #[test]
    fn a_run_of_no_packages_is_a_run() {
        assert_eq!(steps(""), Ok(vec![]));
    }

    #[test]
    fn a_dry_run_is_seen() {
        for (value, expected) in [("1", true), ("true", true), ("0", false), ("no", false)] {
            let stream = format!("VERSION 3\ndebug::pkgdpkgpm={value}\n\n");
            assert_eq!(parse(stream.as_bytes()).unwrap().dry_run, expected, "{value}");
        }
    }

    #[test]
    fn another_hook_that_remounts_is_seen() {
        let stream = |line: &str| parse(format!("VERSION 3\n{line}\n\n").as_bytes()).unwrap().other_remount;
        let pair = stream("DPkg::Pre-Invoke::=mount%20-o%20remount,rw%20/usr");
        assert_eq!(pair.as_deref(), Some("mount -o remount,rw /usr"));
        assert_eq!(stream("DPkg::Pre-Invoke::rokeep=hook=/etc/rokeep/hooks/pre-invoke%20&&%20remount"), None);
        assert_eq!(stream("DPkg::Post-Invoke::=mount%20-o%20remount,ro%20/usr"), None);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let whole = format!("{HEAD}tool 1 amd64 none < 2 amd64 none /t.deb\n");
        assert!(parse(whole.as_bytes()).is_ok());
        let empty_list = HEAD.len();
        for length in (0..whole.len()).filter(|length| *length != empty_list) {
            assert!(parse(&whole.as_bytes()[..length]).is_err(), "cut after {length} bytes");
        }
    }

    #[test]
    fn other_versions_are_named() {
        assert_eq!(parse(b"VERSION 2\nA=b\n\nx - < 1 /x.deb\n"), Err(StreamError::Version("2".into())));
        assert_eq!(parse(b"/var/cache/apt/archives/x.deb\n"), Err(StreamError::Version("1".into())));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        for bad in [
            "x 1 amd64 none < 2 amd64 none\n",
            "../x 1 amd64 none < 2 amd64 none /x.deb\n",
            "x 1 ../a none < 2 amd64 none /x.deb\n",
            "x 1 amd64 none ~ 2 amd64 none /x.deb\n",
            "x 1 amd64 none < 2 amd64 none x.deb\n",
            "\n",
        ] {
            assert!(matches!(steps(bad), Err(StreamError::BadLine { line: 5, .. })), "{bad}");
        }
    }
}
