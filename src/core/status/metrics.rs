//! `status` for Prometheus: the text format that node_exporter's textfile collector reads (exposition format 0.0.4).
//! `docs/monitoring.md` lists what there is.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use super::{AliasCounts, GroupStatus, MountStatus, Status, WhoStatus};
use crate::core::mount_state::MountState;

/// The text.
pub fn metrics(status: &Status) -> String {
    let mut page = Page(String::new());
    let version = env!("CARGO_PKG_VERSION");
    page.gauge("rokeep_build_info", "The version of rokeep, always 1.", [(vec![("version", version.into())], 1)]);
    let time = [(vec![], status.time)];
    page.gauge("rokeep_status_time_seconds", "When this was so, in seconds since 1970.", time);
    let states = status.mounts.iter().flat_map(states);
    page.gauge("rokeep_mount_state", "1 for the state that the managed mount is in.", states);
    let aliases = status.mounts.iter().flat_map(aliases);
    page.gauge("rokeep_aliases", "Inodes that have one more name, by what they wait for.", aliases);
    let directories = status.mounts.iter().map(|mount| (on(mount), mount.aliases.directories));
    page.gauge("rokeep_kept_directories", "Directories that are kept by a marker.", directories);
    let bytes = status.mounts.iter().map(|mount| (on(mount), mount.aliases.bytes));
    page.gauge("rokeep_kept_bytes", "Bytes on disk that replaced files still take.", bytes);
    let groups = merged(&status.groups);
    let files = groups.iter().map(|group| (group.labels.clone(), group.files));
    page.gauge("rokeep_holder_files", "Replaced files that somebody uses, by who has to be restarted or ended.", files);
    let bytes = groups.iter().map(|group| (group.labels.clone(), group.bytes));
    page.gauge("rokeep_holder_bytes", "Bytes on disk of those files.", bytes);
    let since = groups.iter().filter_map(|group| Some((group.labels.clone(), group.since?)));
    page.gauge("rokeep_holder_start_time_seconds", "When the first of these was started, since 1970.", since);
    let session = [(vec![], u8::from(status.session.is_some()))];
    page.gauge("rokeep_session_open", "Whether a package run has the mounts writable now.", session);
    page.gauge(
        "rokeep_problems",
        "What needs a person: \"rokeep status\" says what.",
        [(vec![], status.problems.len())],
    );
    page.0
}

type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// All states, so that one that ends goes to 0 and not away.
fn states(mount: &MountStatus) -> impl Iterator<Item = (Labels<'_>, u8)> {
    const STATES: [(MountState, &str); 3] =
        [(MountState::ReadOnly, "read-only"), (MountState::Degraded, "degraded"), (MountState::Writable, "writable")];
    STATES
        .into_iter()
        .map(|(state, name)| ([on(mount), vec![("state", name.into())]].concat(), u8::from(mount.state == state)))
}

fn aliases(mount: &MountStatus) -> impl Iterator<Item = (Labels<'_>, usize)> {
    let AliasCounts { unchanged, held, droppable, unknown, guards, directories: _, bytes: _ } = mount.aliases;
    let counts =
        [("unchanged", unchanged), ("held", held), ("droppable", droppable), ("unknown", unknown), ("guards", guards)];
    counts.into_iter().map(|(state, count)| ([on(mount), vec![("state", state.into())]].concat(), count))
}

fn on(mount: &MountStatus) -> Labels<'_> {
    vec![("mount", mount.mount.as_str().into())]
}

/// Groups of one name, as the first process of a container and others of that name are, are one here: nobody may say two
/// things of the same labels.
struct Merged<'a> {
    labels: Labels<'a>,
    files: usize,
    bytes: u64,
    since: Option<u64>,
}

fn merged(groups: &[GroupStatus]) -> Vec<Merged<'_>> {
    let mut all: Vec<Merged> = Vec::new();
    for group in groups {
        let labels = group_of(group);
        match all.iter_mut().find(|known| known.labels == labels) {
            Some(known) => {
                known.files += group.holds.files;
                known.bytes += group.holds.bytes;
                known.since = known.since.into_iter().chain(group.since).min();
            }
            None => all.push(Merged { labels, files: group.holds.files, bytes: group.holds.bytes, since: group.since }),
        }
    }
    all
}

/// What tells a group from others; what does not apply is empty, which to Prometheus is as good as not there.
fn group_of(group: &GroupStatus) -> Labels<'_> {
    let (kind, name, user, inside) = match &group.who {
        WhoStatus::PackageRun => ("package-run", "", "", None),
        WhoStatus::Unit { name } => ("unit", name.as_str(), "", None),
        WhoStatus::UserUnit { name, user } => ("user-unit", name.as_str(), user.as_str(), None),
        WhoStatus::User { user } => ("user", "", user.as_str(), None),
        WhoStatus::Command { name } => ("command", name.as_str(), "", None),
        WhoStatus::Mount { at, inside } => ("mount", at.as_str(), "", *inside),
        WhoStatus::LoopDevice { device } => ("loop-device", device.as_str(), "", None),
        WhoStatus::Swap { file } => ("swap", file.as_str(), "", None),
        WhoStatus::Interpreter { rule } => ("interpreter", rule.as_str(), "", None),
        WhoStatus::Unseen => ("unseen", "", "", None),
    };
    let inside = inside.map(|pid| pid.to_string()).unwrap_or_default();
    vec![("kind", kind.into()), ("name", name.into()), ("user", user.into()), ("inside", inside.into())]
}

struct Page(String);

impl Page {
    /// One metric, with all that is to be said of it.
    fn gauge<'a, V: Display>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels<'a>, V)>) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{} {value}", in_braces(&labels));
        }
    }
}

fn in_braces(labels: &Labels) -> String {
    let shown: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if shown.is_empty() { String::new() } else { format!("{{{}}}", shown.join(",")) }
}

/// What would end a label's value, or its line.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::holding::Amount;
    use crate::core::remedy::Remedy;

    fn status() -> Status {
        let who = WhoStatus::Unit { name: "a\"b\\c\n.service".into() };
        let holds = Amount { files: 2, directories: 0, bytes: 4096 };
        let group = GroupStatus {
            who,
            processes: vec![],
            since: Some(7),
            holds,
            shared: Amount::default(),
            remedy: Remedy::Itself,
        };
        let aliases = AliasCounts { held: 2, bytes: 4096, ..AliasCounts::default() };
        Status {
            format: 2,
            time: 9,
            groups: vec![group],
            held: vec![],
            kept: holds,
            unknown: None,
            mounts: vec![MountStatus { mount: "/usr".into(), state: MountState::Degraded, aliases }],
            session: None,
            problems: vec!["a problem".into()],
        }
    }

    #[test]
    fn what_there_is_to_say_is_said_once_and_in_lines() {
        let text = metrics(&status());
        for line in [
            "rokeep_status_time_seconds 9",
            "rokeep_mount_state{mount=\"/usr\",state=\"read-only\"} 0",
            "rokeep_mount_state{mount=\"/usr\",state=\"degraded\"} 1",
            "rokeep_aliases{mount=\"/usr\",state=\"held\"} 2",
            "rokeep_kept_bytes{mount=\"/usr\"} 4096",
            "rokeep_session_open 0",
            "rokeep_problems 1",
        ] {
            assert_eq!(text.lines().filter(|one| *one == line).count(), 1, "{line}:\n{text}");
        }
        assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("rokeep_")), "{text}");
    }

    #[test]
    fn nobody_says_two_things_of_the_same() {
        let mut status = status();
        status.groups.extend(self::status().groups);
        let text = metrics(&status);
        let samples: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        assert!(samples.iter().all(|one| samples.iter().filter(|other| *other == one).count() == 1), "{text}");
        assert!(text.contains("inside=\"\"} 8192\n") && text.contains("inside=\"\"} 7\n"), "{text}");
    }

    #[test]
    fn nothing_in_a_name_ends_it() {
        let text = metrics(&status());
        let labels = r#"{kind="unit",name="a\"b\\c\n.service",user="",inside=""}"#;
        assert!(text.contains(&format!("rokeep_holder_files{labels} 2\n")), "{text}");
    }
}
