//! dpkg's own records of which files a package has: `/var/lib/dpkg/info/PACKAGE[:ARCH].list`.
#![forbid(unsafe_code)]

use super::apt_stream::{Action, Name, Step, Stream};
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
pub fn listed_paths(list: &[u8]) -> impl Iterator<Item = ListedPath> {
    list.split(|b| *b == b'\n').filter_map(ListedPath::parse)
}

/// Whether dpkg counts a package as having files on disk, from the text of `/var/lib/dpkg/status`.
///
/// A package that was removed but not purged, or whose first unpacking failed, may well have no list. `None` where the
/// package is not there at all.
pub fn has_files(status: &[u8], package: &Name, arch: &Name) -> Option<bool> {
    let field = |paragraph: &[&[u8]], key: &str| -> Option<Vec<u8>> {
        let value = |line: &&[u8]| line.strip_prefix(key.as_bytes()).map(|value| value.trim_ascii().to_vec());
        paragraph.iter().find_map(value)
    };
    let lines: Vec<&[u8]> = status.split(|b| *b == b'\n').collect();
    let ours = lines.split(|line| line.is_empty()).find(|paragraph| {
        field(paragraph, "Package:").as_deref() == Some(package.as_str().as_bytes())
            && field(paragraph, "Architecture:").as_deref() == Some(arch.as_str().as_bytes())
    })?;
    let state = field(ours, "Status:")?;
    let no_files = [&b"not-installed"[..], b"config-files", b"half-installed"];
    Some(!no_files.iter().any(|word| state.ends_with(word)))
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
    fn a_list_is_lines_of_bytes() {
        let list = b"/.\n/usr\n/usr/bin/a b\n/usr/share/\xff\xfe\nrelative\n/usr/../etc/shadow\n\n/usr/dir/\n";
        let paths: Vec<_> = listed_paths(list).map(|path| path.full()).collect();
        let expected: Vec<std::path::PathBuf> = [&b"/usr"[..], b"/usr/bin/a b", b"/usr/share/\xff\xfe", b"/usr/dir"]
            .map(|bytes| OsStr::from_bytes(bytes).into())
            .into();
        assert_eq!(paths, expected);
    }
}
