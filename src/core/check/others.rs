//! Other packages that work with apt, as far as they are installed: how they and rokeep get along. One whose hook comes at the
//! wrong place is said with apt's hooks.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::apt_hooks::{ConfigFile, Configuration, List, contains};
use super::seen::Seen;
use super::{Finding, Topic};
use crate::core::apt_stream::is_true;

/// The packages that are asked for.
pub const PACKAGES: [&str; 7] =
    ["apt-listbugs", "apt-listchanges", "etckeeper", "localepurge", "needrestart", "packagekit", "unattended-upgrades"];

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Which of [`PACKAGES`] are installed.
    pub installed: Seen<BTreeSet<&'static str>>,
    /// apt's configuration, where it could be read.
    pub configuration: Option<Configuration>,
    /// needrestart's, in its order.
    pub needrestart: Vec<ConfigFile>,
}

/// Which of [`PACKAGES`] are installed, by the text of `/var/lib/dpkg/status`.
pub fn installed(status: &[u8]) -> BTreeSet<&'static str> {
    let mut package = None;
    let mut found = BTreeSet::new();
    for line in status.split(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(b"Package: ") {
            package = PACKAGES.into_iter().find(|known| known.as_bytes() == name.trim_ascii());
        } else if line.starts_with(b"Status: ") && line.ends_with(b" installed") {
            found.extend(package);
        }
    }
    found
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    match &facts.installed {
        Seen::There(installed) => installed.iter().filter_map(|package| one(facts, package)).collect(),
        Seen::Missing => Vec::new(),
        Seen::Unknown(why) => vec![Topic::Others.unknown(format!("what is installed could not be read: {why}"))],
    }
}

fn one(facts: &Facts, package: &str) -> Option<Finding> {
    let topic = Topic::Others;
    if comes_late(facts.configuration.as_ref(), package) {
        return None;
    }
    let set = |name: &str| facts.configuration.as_ref().and_then(|all| all.value(name.as_bytes())).is_some_and(is_true);
    Some(match package {
        "apt-listbugs" | "apt-listchanges" => topic.ok(format!("{package} may stop apt while all is read-only")),
        "etckeeper" => topic.ok("etckeeper commits before rokeep opens and closes"),
        "localepurge" => topic.ok("localepurge deletes files before /usr is closed"),
        "needrestart" if only_lists(&facts.needrestart) => topic.attention(
            "needrestart only lists services ($nrconf{restart} = 'l'): what they hold is kept until they are restarted, and \
             \"rokeep status\" says what frees it",
        ),
        "needrestart" => topic.ok("needrestart frees what services hold before that is looked at"),
        "packagekit" => topic.ok("each package run of PackageKit has its own session"),
        "unattended-upgrades" if set("Unattended-Upgrade::InstallOnShutdown") => topic.attention(
            "unattended-upgrades installs while the machine goes down (InstallOnShutdown): what is in use then goes after the \
             next start",
        ),
        "unattended-upgrades" => topic.ok("each step of unattended-upgrades is a package run"),
        _ => return None,
    })
}

/// Whether a hook of it comes after ours in the same list.
fn comes_late(configuration: Option<&Configuration>, package: &str) -> bool {
    let hooks: Vec<_> = configuration.iter().flat_map(|all| all.hooks()).collect();
    List::OURS.into_iter().any(|list| {
        let mut in_list = hooks.iter().filter(|hook| hook.list == list).skip_while(|hook| !hook.is_ours());
        list != List::PreInvoke && in_list.any(|hook| contains(hook.command, package.as_bytes()))
    })
}

/// needrestart's configuration is Perl; the last assignment counts.
fn only_lists(files: &[ConfigFile]) -> bool {
    let lines = files.iter().flat_map(|file| file.text.split(|byte| *byte == b'\n'));
    let value = |line: &[u8]| {
        let solid: Vec<u8> = line
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'"' && *byte != b'\'')
            .collect();
        solid.strip_prefix(b"$nrconf{restart}=").and_then(|value| value.first().copied())
    };
    lines.filter_map(value).next_back() == Some(b'l')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;

    const STATUS: &[u8] = b"Package: needrestart\nStatus: install ok installed\nVersion: 1\n\n\
        Package: etckeeper\nStatus: deinstall ok config-files\n\nPackage: etckeeper-extras\nStatus: install ok installed\n\n\
        Package: unattended-upgrades\nStatus: hold ok installed\n\nPackage: localepurge\nStatus: install ok installed\n";

    fn facts(dump: &str, needrestart: &str) -> Facts {
        Facts {
            installed: Seen::There(installed(STATUS)),
            configuration: Some(Configuration::parse(dump.as_bytes())),
            needrestart: vec![ConfigFile {
                path: "/etc/needrestart/needrestart.conf".into(),
                text: needrestart.into(),
            }],
        }
    }

    #[test]
    fn only_what_is_installed_is_spoken_of() {
        assert_eq!(installed(STATUS), BTreeSet::from(["localepurge", "needrestart", "unattended-upgrades"]));
        let found = find(&facts("", "#$nrconf{restart} = 'l';\n"));
        assert_eq!(found.iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Ok; 3], "{found:#?}");
    }

    #[test]
    fn what_is_to_be_known_needs_nobody() {
        let found = find(&facts("Unattended-Upgrade::InstallOnShutdown=true\n", "$nrconf{restart} = 'l';\n"));
        let states: Vec<_> = found.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [State::Ok, State::Attention, State::Attention], "{found:#?}");
        assert!(!found.iter().any(Finding::needs_somebody));
    }

    #[test]
    fn one_that_comes_late_is_said_elsewhere() {
        let late =
            "DPkg::Post-Invoke::rokeep=/etc/rokeep/hooks/post-invoke\nDPkg::Post-Invoke::=/usr/sbin/localepurge\n";
        assert_eq!(find(&facts(late, "")).len(), 2);
        let early =
            "DPkg::Post-Invoke::=/usr/sbin/localepurge\nDPkg::Post-Invoke::rokeep=/etc/rokeep/hooks/post-invoke\n";
        assert_eq!(find(&facts(early, "")).len(), 3);
    }
}
