//! What the command line of a package manager says of the run.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::apt_stream::is_true;

/// Whether the program only pretends: apt with `-o Debug::pkgDPkgPM=1`, or unattended-upgrade with `--dry-run`, which
/// sets the same. Both call every hook, and never dpkg.
pub fn only_pretends(arguments: &[&[u8]]) -> bool {
    let is_unattended = |argument: &&[u8]| {
        let name = Path::new(OsStr::from_bytes(argument)).file_name();
        name.is_some_and(|name| name == "unattended-upgrade" || name == "unattended-upgrades")
    };
    let unattended = arguments.iter().take(3).any(is_unattended);
    (unattended && arguments.contains(&&b"--dry-run"[..]))
        || arguments.iter().any(|argument| is_dry_run_option(argument))
}

fn is_dry_run_option(argument: &[u8]) -> bool {
    let option = [&b"--option="[..], b"-o="].iter().find_map(|prefix| argument.strip_prefix(*prefix));
    let option = option.or_else(|| argument.strip_prefix(b"-o")).unwrap_or(argument);
    let Some((name, value)) = option.split_at_checked(b"Debug::pkgDPkgPM=".len()) else { return false };
    name.eq_ignore_ascii_case(b"Debug::pkgDPkgPM=") && is_true(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pretence_is_told_from_the_real_thing() {
        for (line, expected) in [
            ("apt-get -y dist-upgrade", false),
            ("apt-get -o Debug::pkgDPkgPM=1 -y dist-upgrade", true),
            ("apt-get -odebug::pkgdpkgpm=true upgrade", true),
            ("apt --option=Debug::pkgDPkgPM=yes upgrade", true),
            ("apt -o Debug::pkgDPkgPM=0 upgrade", false),
            ("apt install Debug::pkgDPkgPM", false),
            ("/usr/bin/python3 /usr/bin/unattended-upgrade --dry-run -v", true),
            ("/usr/bin/python3 /usr/bin/unattended-upgrade", false),
            ("apt-get --dry-run upgrade", false),
        ] {
            let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(only_pretends(&arguments), expected, "{line}");
        }
    }
}
