//! What `status` says about who holds what, to a person and to a program. What it says in which words is decided in
//! `tests/decisions/status`; here it is asked of real processes. That it keeps to its schema is checked wherever a test asks
//! for [`Small::status`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::schema;
use crate::support::small::{
    Alias,
    Change::Upgrade,
    Small,
    State::{Executed, Mapped, Open},
};
use crate::support::status::{Amount, Status};

const TOOL: &str = "/usr/bin/tool";
const LIBRARY: &str = "/usr/lib/library";

/// Both files were replaced, and these are in use.
fn replaced<H>(hold: impl FnOnce(&Small) -> H) -> (Small, H) {
    let world = Small::ext4().installed_program("tool", "1", TOOL).installed("library", "1", &[LIBRARY]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2"), Upgrade("library", "1", "2")]);
    let holders = hold(&world);
    world.dpkg_replaces(TOOL);
    world.dpkg_replaces(LIBRARY);
    world.end();
    (world, holders)
}

#[test]
fn what_processes_of_one_name_hold_is_said_once() {
    let (world, holders) =
        replaced(|world| [world.hold(Mapped(LIBRARY)), world.hold(Open(LIBRARY)), world.hold(Mapped(TOOL))]);
    let status = world.status();
    let [group] = &status.groups[..] else { panic!("not one group: {status:#?}") };
    assert_eq!((group.kind.as_str(), group.name.as_deref()), ("command", Some("holder")));
    let pids: BTreeSet<u32> = group.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, holders.iter().map(|holder| holder.pid()).collect());
    let bytes = status.held.iter().map(|held| held.bytes).sum();
    assert_eq!(group.holds, Amount { files: 2, directories: 0, bytes });
    assert_eq!(group.shared, Amount { files: 0, directories: 0, bytes: 0 });
    assert_eq!(status.kept, group.holds);
    assert_eq!(status.mount("/usr").aliases.bytes, bytes);
}

#[test]
fn what_two_of_them_hold_is_counted_to_both_and_once_in_all() {
    let (world, _holders) = replaced(|world| [world.hold(Mapped(TOOL)), world.hold(Executed(TOOL))]);
    let status = world.status();
    assert_eq!(status.groups.len(), 2, "{status:#?}");
    for group in &status.groups {
        assert_eq!((group.holds.files, group.shared, status.kept), (1, group.holds, group.holds), "{group:#?}");
    }
    let [held] = &status.held[..] else { panic!("{status:#?}") };
    let names: BTreeSet<_> = held.holders.iter().map(|holder| status.group(holder).name.as_deref()).collect();
    assert_eq!(names, BTreeSet::from([Some("holder"), Some("tool")]));
    let said = world.rokeep(["status"]).stdout;
    assert!(said.contains("(all shared)") && said.contains("Together: 1 file"), "{said}");
}

#[test]
fn since_when_is_when_the_first_of_them_was_started() {
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let before = seconds();
    let (world, _holders) = replaced(|world| [world.hold(Mapped(TOOL)), world.hold(Mapped(TOOL))]);
    let status = world.status();
    let [group] = &status.groups[..] else { panic!("{status:#?}") };
    // The kernel counts from when it was booted, which is known to the second.
    let since = group.since.expect("a start");
    assert!((before - 2..=seconds() + 1).contains(&since), "{before}, {group:#?}");
    assert_eq!(status.held[0].holders.iter().filter_map(|holder| holder.since).min(), Some(since));
    assert!((before..=seconds()).contains(&status.time));
    assert!(world.rokeep(["status"]).stdout.contains("started just now"));
}

#[test]
fn an_alias_is_named_by_a_path_that_leads_to_it() {
    let (world, _holder) = replaced(|world| world.hold(Mapped(TOOL)));
    world.assert_alias(TOOL, Alias::Kept);
    let status = world.status();
    let alias = status.held[0].alias.as_deref().expect("a file has one");
    assert_eq!(world.inode(alias).map(|(_, number)| number), Some(status.held[0].inode));
}

#[test]
fn what_apt_itself_holds_ends_by_itself() {
    let world = Small::ext4().installed_program("apt", "1", "/usr/bin/apt").apt_runs_from("/usr/bin/apt");
    world.begin();
    world.protect(&[Upgrade("apt", "1", "2")]);
    let holder = world.hold(Mapped("/usr/bin/apt"));
    world.dpkg_replaces("/usr/bin/apt");
    let status = world.status();
    let session = status.session.as_ref().expect("a session");
    let [apt] = &session.frontends[..] else { panic!("{status:#?}") };
    let holders = status.holders("/usr/bin/apt").into_iter();
    let kinds: BTreeMap<u32, &str> =
        holders.map(|holder| (holder.pid.expect("a process"), status.group(holder).kind.as_str())).collect();
    assert_eq!(kinds, BTreeMap::from([(apt.pid, "package-run"), (holder.pid(), "command")]), "{status:#?}");
    let run = status.groups.iter().find(|group| group.kind == "package-run").expect("seen above");
    assert_eq!((run.remedy.kind.as_str(), run.remedy.command.as_deref()), ("wait", None));
}

#[test]
fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
    let (world, _holder) = replaced(|world| world.hold(Mapped(TOOL)));
    let plain = world.rokeep(["status"]).stdout;
    assert!(plain.contains("holder"), "{plain}");
    let painted = world.on_a_terminal(80, &[("TERM", "xterm")], &["status"]);
    assert!(painted.contains("\x1b[1mholder") && painted.contains("\x1b[32mread-only"), "{painted:?}");
    for settings in [&[("TERM", "xterm"), ("NO_COLOR", "1")][..], &[("TERM", "dumb")], &[]] {
        assert_eq!(world.on_a_terminal(80, settings, &["status"]), plain, "{settings:?}");
    }
    let with_empty = world.on_a_terminal(80, &[("TERM", "xterm"), ("NO_COLOR", "")], &["status"]);
    assert_eq!(with_empty, painted, "no-color.org: \"not an empty string\"");
    let json = world.on_a_terminal(80, &[("TERM", "xterm")], &["status", "--json"]);
    assert!(Status::read(&json).is_ok(), "{json}");
}

#[test]
fn a_wider_terminal_is_used_and_a_narrower_one_is_taken_for_80_columns() {
    let long = format!("/usr/lib/{}", ["directory"; 12].join("/"));
    let world = Small::ext4().installed("tool", "1", &[&long]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    let _holder = world.hold(Mapped(&long));
    world.dpkg_replaces(&long);
    world.end();
    assert!(world.on_a_terminal(200, &[], &["status"]).contains(&long));
    let usual = world.on_a_terminal(80, &[], &["status"]);
    assert!(!usual.contains(&long) && usual.lines().all(|line| line.len() <= 80), "{usual}");
    assert_eq!(world.on_a_terminal(20, &[], &["status"]), usual);
    assert_eq!(world.rokeep(["status"]).stdout, usual);
}

// ── what docs/status-json.md says ───────────────────────────────────────────────────────────────────────────────────

const PAGE: &str = include_str!("../../docs/status-json.md");
const SCHEMA: &str = include_str!("../../docs/status.schema.json");

#[test]
fn the_example_in_the_documentation_is_one() {
    let example = PAGE.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let status = Status::read(example).unwrap_or_else(|error| panic!("{error}"));
    assert!(!status.groups.is_empty() && !status.held.is_empty());
}

#[test]
fn every_field_is_documented_and_no_other() {
    schema::assert_documented(SCHEMA, "status", PAGE);
}

// ── what docs/monitoring.md says ────────────────────────────────────────────────────────────────────────────────────

/// Each metric of a system on which there is something to say of all of them; and its labels.
#[test]
fn every_metric_is_documented_with_its_labels_and_no_other() {
    const PAGE: &str = include_str!("../../docs/monitoring.md");
    let (world, _holder) = replaced(|world| world.hold(Mapped(TOOL)));
    let said = world.rokeep(["status", "--prometheus"]).assert_code(0).stdout;
    let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in said.lines().filter(|line| !line.starts_with('#')) {
        let (what, value) = sample.rsplit_once(' ').expect("a value");
        assert!(value.parse::<u64>().is_ok(), "{sample}");
        let (name, labels) = what.split_once('{').unwrap_or((what, ""));
        assert!(said.contains(&format!("# TYPE {name} gauge\n")), "{name}");
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0));
        told.entry(name).or_default().extend(labels);
    }

    let mut documented: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut before = BTreeSet::new();
    for row in PAGE.lines().filter_map(|line| line.strip_prefix("| `rokeep_")) {
        let mut cells = row.split(" | ");
        let name = cells.next().expect("a name").trim_end_matches('`');
        let labels = cells.next().expect("labels");
        let of_its_own = || labels.split(", ").map(|label| label.trim_matches('`')).filter(|label| *label != "none");
        before = if labels == "the same" { before } else { of_its_own().collect() };
        documented.insert(name, before.clone());
    }
    let told: BTreeMap<&str, BTreeSet<&str>> =
        told.into_iter().map(|(name, labels)| (name.trim_start_matches("rokeep_"), labels)).collect();
    assert_eq!(documented, told, "{said}");
    assert!(said.contains("rokeep_holder_files{kind=\"command\",name=\"holder\",user=\"\",inside=\"\"} 1\n"), "{said}");
    assert!(said.contains("rokeep_mount_state{mount=\"/usr\",state=\"read-only\"} 1\n"), "{said}");
}

#[test]
fn one_form_at_a_time() {
    let world = Small::ext4();
    world.rokeep(["status", "--json", "--prometheus"]).assert_code(2);
}
