//! dpkg's own records of which files a package has: `/var/lib/dpkg/info/PACKAGE[:ARCH].list`, `/var/lib/dpkg/diversions`.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::apt_stream::{Action, Name, Step, Stream, Version};
use super::paths::ListedPath;

/// The installed packages that lose or replace files, each once.
pub fn packages_that_lose_files(stream: &Stream) -> Vec<&Step> {
    let mut seen = std::collections::HashSet::new();
    let loses = |step: &&Step| match step.action {
        Action::Unpack(_) | Action::Remove => true,
        Action::Configure => false,
    };
    stream
        .steps
        .iter()
        .filter(loses)
        .filter(|step| step.installed.as_ref().is_some_and(|old| seen.insert((&step.package, &old.arch))))
        .collect()
}

/// The names under which dpkg may keep the package's list, likeliest first.
///
/// The installed version decides: `Multi-Arch: same` is qualified (dpkg lib/dpkg/db-ctrl-format.c). A database of the
/// old format has plain names only, so the other spelling is always worth a look.
pub fn list_files(package: &Name, arch: &Name, co_installable: bool) -> [String; 2] {
    let plain = format!("{package}.list");
    let qualified = format!("{package}:{arch}.list");
    if co_installable { [qualified, plain] } else { [plain, qualified] }
}

/// The paths of a `.list`: raw bytes, one a line. Directories are among them; nothing says which.
///
/// Lines that no package can have written (relative, `..`, NUL) are left out.
pub fn listed_paths(list: &[u8]) -> impl Iterator<Item = ListedPath> + use<> {
    ListedPath::in_lines(list)
}

/// Whether a list is that of a package for another architecture than this one: `PACKAGE:OTHER.list`.
pub fn is_list_of_another_arch(file: &[u8], package: &Name, arch: &Name) -> bool {
    let other = file.strip_prefix(format!("{package}:").as_bytes()).and_then(|rest| rest.strip_suffix(b".list"));
    other.is_some_and(|other| other != arch.as_str().as_bytes())
}

/// Which files stand in another place than the one that their package gives them (dpkg-divert(1)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diversions(HashMap<ListedPath, Diversion>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Diversion {
    to: ListedPath,
    /// The package whose own file keeps the name; none for a diversion by the administrator.
    by: Option<Vec<u8>>,
}

impl Diversions {
    /// Reads `/var/lib/dpkg/diversions`: three lines each, the name, where it is diverted to, and by which package or
    /// `:` (dpkg lib/dpkg/db-fsys-divert.c). What is none is left out.
    pub fn parse(text: &[u8]) -> Diversions {
        let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        let diversion = |lines: &[&[u8]]| match lines {
            [from, to, by] if !by.is_empty() => {
                let by = (*by != b":").then(|| by.to_vec());
                Some((ListedPath::parse(from)?, Diversion { to: ListedPath::parse(to)?, by }))
            }
            _ => None,
        };
        Diversions(lines.chunks(3).filter_map(diversion).collect())
    }

    /// Where dpkg puts and finds a file of this package (dpkg src/main/help.c, namenodetouse).
    pub fn place(&self, path: ListedPath, package: &Name) -> ListedPath {
        match self.0.get(&path) {
            Some(diversion) if diversion.by.as_deref() != Some(package.as_str().as_bytes()) => diversion.to.clone(),
            Some(_) | None => path,
        }
    }
}

/// The installed versions of a package, one for each architecture, from the text of `/var/lib/dpkg/status`.
pub fn installed(status: &[u8], package: &Name) -> Vec<Version> {
    let lines: Vec<&[u8]> = status.split(|b| *b == b'\n').collect();
    let is_it = |paragraph: &&[&[u8]]| field(paragraph, "Package") == Some(package.as_str().as_bytes());
    lines.split(|line| line.is_empty()).filter(is_it).filter_map(version_on_disk).collect()
}

/// What is installed and selected to be removed or purged (`dpkg --set-selections`, the first word of `Status`), which
/// `dpkg --remove --pending` then does.
pub fn selected_for_removal(status: &[u8]) -> Vec<(Name, Version)> {
    let lines: Vec<&[u8]> = status.split(|b| *b == b'\n').collect();
    let selected = |paragraph: &[&[u8]]| {
        let wanted = field(paragraph, "Status")?.split(|b| *b == b' ').next()?;
        let is_to_go = [&b"deinstall"[..], b"purge"].contains(&wanted);
        let package = Name::parse(field(paragraph, "Package")?).filter(|_| is_to_go)?;
        Some((package, version_on_disk(paragraph)?))
    };
    lines.split(|line| line.is_empty()).filter_map(selected).collect()
}

fn version_on_disk(paragraph: &[&[u8]]) -> Option<Version> {
    let arch = Name::parse(field(paragraph, "Architecture")?).filter(|_| is_on_disk(paragraph) == Some(true))?;
    let number = String::from_utf8_lossy(field(paragraph, "Version")?).into_owned();
    Some(Version { number, arch, co_installable: field(paragraph, "Multi-Arch") == Some(b"same") })
}

/// Whether dpkg counts a package as having files on disk, from the text of `/var/lib/dpkg/status`.
///
/// A package that was removed but not purged, or whose first unpacking failed, may well have no list. `None` where the
/// package is not there at all.
pub fn has_files(status: &[u8], package: &Name, arch: &Name) -> Option<bool> {
    let lines: Vec<&[u8]> = status.split(|b| *b == b'\n').collect();
    let ours = lines.split(|line| line.is_empty()).find(|paragraph| {
        field(paragraph, "Package") == Some(package.as_str().as_bytes())
            && field(paragraph, "Architecture") == Some(arch.as_str().as_bytes())
    })?;
    is_on_disk(ours)
}

/// The lists of packages that were removed and not purged, from the text of `/var/lib/dpkg/status`: of directories they
/// have what dpkg could not remove. Not one that another paragraph has too.
pub fn lists_of_removed(status: &[u8]) -> HashSet<String> {
    let (mut removed, mut others) = (HashSet::new(), HashSet::new());
    let lines: Vec<&[u8]> = status.split(|b| *b == b'\n').collect();
    for paragraph in lines.split(|line| line.is_empty()) {
        let names = ["Package", "Architecture"].map(|name| field(paragraph, name).and_then(Name::parse));
        let ([Some(package), Some(arch)], Some(state)) = (names, field(paragraph, "Status")) else { continue };
        let [list, _] = list_files(&package, &arch, field(paragraph, "Multi-Arch") == Some(b"same"));
        let to = if state.ends_with(b" config-files") { &mut removed } else { &mut others };
        to.insert(list);
    }
    removed.retain(|list| !others.contains(list));
    removed
}

fn is_on_disk(paragraph: &[&[u8]]) -> Option<bool> {
    let state = field(paragraph, "Status")?;
    let no_files = [&b"not-installed"[..], b"config-files", b"half-installed"];
    Some(!no_files.iter().any(|word| state.ends_with(word)))
}

/// The first line of a field of a paragraph, without the space around it; upper and lower case are the same in its
/// name (deb-control(5)).
pub(super) fn field<'a>(paragraph: &[&'a [u8]], name: &str) -> Option<&'a [u8]> {
    paragraph.iter().find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        key.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::apt_stream::parse;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn packages_are_taken_once_and_only_if_they_lose_files() {
        let stream = parse(
            b"VERSION 3\n\n\
              up 1 amd64 none < 2 amd64 none /up.deb\n\
              up 1 amd64 none < 2 amd64 none **CONFIGURE**\n\
              down 2 amd64 none > 1 amd64 none /down.deb\n\
              again 1 amd64 none = 1 amd64 none /again.deb\n\
              gone 1 amd64 none > - - none **REMOVE**\n\
              new - - none < 1 amd64 none /new.deb\n\
              half 1 amd64 none = 1 amd64 none **CONFIGURE**\n\
              both 1 amd64 same < 2 amd64 same /both.deb\n\
              both 1 i386 same < 2 i386 same /both.deb\n\
              there-and-back 1 amd64 none < 2 amd64 none **REMOVE**\n\
              there-and-back 1 amd64 none < 2 amd64 none /there.deb\n",
        )
        .unwrap();
        let taken: Vec<_> = packages_that_lose_files(&stream).iter().map(|step| step.package.as_str()).collect();
        assert_eq!(taken, ["up", "down", "again", "gone", "both", "both", "there-and-back"]);
    }

    #[test]
    fn only_a_package_on_disk_must_have_a_list() {
        let status = b"Package: tool\nStatus: install ok installed\nArchitecture: amd64\n\n\
                       Package: tool\nStatus: deinstall ok config-files\nArchitecture: i386\nDescription: x\n y\n\n\
                       Package: half\nStatus: install reinstreq half-installed\nArchitecture: amd64\n";
        let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
        assert_eq!(has_files(status, &name("tool"), &name("amd64")), Some(true));
        assert_eq!(has_files(status, &name("tool"), &name("i386")), Some(false));
        assert_eq!(has_files(status, &name("half"), &name("amd64")), Some(false));
        assert_eq!(has_files(status, &name("none"), &name("amd64")), None);
    }

    #[test]
    fn the_lists_of_what_was_removed_and_not_purged() {
        let status = b"Package: tool\nStatus: deinstall ok config-files\nArchitecture: all\n\n\
                       Package: lib\nStatus: deinstall ok config-files\nArchitecture: amd64\nMulti-Arch: same\n\n\
                       Package: lib\nStatus: install ok installed\nArchitecture: i386\nMulti-Arch: same\n\n\
                       Package: half\nStatus: deinstall ok half-installed\nArchitecture: all\n";
        let lists = lists_of_removed(status);
        assert_eq!(lists, HashSet::from(["tool.list", "lib:amd64.list"].map(str::to_owned)));
    }

    #[test]
    fn the_versions_that_are_installed() {
        let status =
            b"Package: tool\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\n\n\
                       Package: tool\nStatus: deinstall ok config-files\nArchitecture: i386\nVersion: 1\n\n\
                       Package: other\nStatus: install ok installed\nArchitecture: all\nVersion: 3\n";
        let versions = installed(status, &Name::parse(b"tool").unwrap());
        assert_eq!(versions.len(), 1);
        assert_eq!((versions[0].arch.as_str(), versions[0].co_installable), ("amd64", true));
        assert!(!installed(status, &Name::parse(b"other").unwrap())[0].co_installable);
    }

    #[test]
    fn what_is_installed_and_selected_to_go() {
        let status = b"Package: stays\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
                       Package: goes\nStatus: deinstall ok installed\nArchitecture: all\nVersion: 2\n\n\
                       Package: all-of-it\nStatus: purge ok half-configured\nArchitecture: amd64\nVersion: 3\n\n\
                       Package: gone\nStatus: purge ok config-files\nArchitecture: all\nVersion: 4\n";
        let selected = selected_for_removal(status);
        let names: Vec<_> = selected.iter().map(|(name, version)| (name.as_str(), version.number.as_str())).collect();
        assert_eq!(names, [("goes", "2"), ("all-of-it", "3")]);
    }

    #[test]
    fn a_diverted_file_is_where_the_diversion_says_except_for_who_diverted_it() {
        let diversions = Diversions::parse(
            b"/usr/bin/vi\n/usr/bin/vi.real\nvim\n/usr/bin/ls\n/usr/bin/ls.distrib\n:\nrelative\n/x\n:\n/cut\n/short\n",
        );
        let place = |path: &str, package: &str| {
            let path = ListedPath::parse(path.as_bytes()).unwrap();
            diversions.place(path, &Name::parse(package.as_bytes()).unwrap()).full().display().to_string()
        };
        assert_eq!(place("/usr/bin/vi", "nvi"), "/usr/bin/vi.real");
        assert_eq!(place("/usr/bin/vi", "vim"), "/usr/bin/vi");
        assert_eq!(place("/usr/bin/ls", "coreutils"), "/usr/bin/ls.distrib");
        assert_eq!(place("/usr/bin/cp", "coreutils"), "/usr/bin/cp");
        assert_eq!(diversions.0.len(), 2);
    }

    #[test]
    fn lists_of_other_architectures_are_told_from_this_ones() {
        let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
        let is_other = |file: &str| is_list_of_another_arch(file.as_bytes(), &name("libx"), &name("i386"));
        assert!(is_other("libx:amd64.list"));
        for not in ["libx:i386.list", "libx.list", "libxy:amd64.list", "libx:amd64.md5sums"] {
            assert!(!is_other(not), "{not}");
        }
    }

    #[test]
    fn a_list_is_lines_of_bytes() {
        let list = b"/.\n/usr\n/usr/bin/a b\n/usr/share/\xff\xfe\nrelative\n/usr/../etc/shadow\n\n/usr/dir/\n";
        let paths: Vec<_> = listed_paths(list).map(|path| path.full().to_owned()).collect();
        let expected: Vec<std::path::PathBuf> = [&b"/usr"[..], b"/usr/bin/a b", b"/usr/share/\xff\xfe", b"/usr/dir"]
            .map(|bytes| OsStr::from_bytes(bytes).into())
            .into();
        assert_eq!(paths, expected);
    }
}
