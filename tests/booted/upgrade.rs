//! The upgrade that fails in [`crate::pair`], with rokeep, and what a person does afterwards.

use crate::Scenario;
use crate::support::booted::{Machine, Release};
use crate::support::sandbox::Access::ReadOnly;

pub const UPGRADE: Scenario = Scenario {
    name: "upgrade",
    expected: "read-only, services run on; no alias once they are restarted",
    play: ends_read_only,
};

fn ends_read_only(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.assert_tidy();
    let before = machine.services();

    let run = machine.apt(&["dist-upgrade"]);

    assert!(run.code == 0, "apt ended with {}", run.code);
    machine.assert_usr(ReadOnly);
    assert!(machine.deleted_files() == 0);
    everything_is_installed(&machine);
    machine.assert_services_work();
    let same = machine.same_as_before(&before);
    assert!(same.iter().any(|service| service.unit == "clerk.service"), "nobody was to restart it: {same:?}");
    let (kept, commands) = what_is_kept_is_named(&machine);

    for command in &commands {
        machine.sh(command);
    }
    machine.wait_until_up();
    machine.must(&["rokeep", "cleanup"]);

    machine.assert_tidy();
    machine.assert_services_work();
    let upgrades = machine.upgrades().len();
    let (running, restarted) = (same.len(), commands.len());
    format!("{upgrades} upgrades, {kept} files kept, {running} services ran on; none kept after {restarted} commands")
}

fn everything_is_installed(machine: &Machine) {
    for upgrade in machine.upgrades() {
        let version = machine.must(&["dpkg-query", "--show", "--showformat=${Version}", &upgrade.package]);
        assert!(version == upgrade.to, "{} is {version}, not {}", upgrade.package, upgrade.to);
    }
    machine.assert_configured();
}

/// How many files are kept, and what to type. There is something to type for whoever holds one.
fn what_is_kept_is_named(machine: &Machine) -> (usize, Vec<String>) {
    machine.run(&["rokeep", "status"]);
    let status = machine.status();
    assert!(status.kept.files > 0 && status.unknown.is_none(), "{status:#?}");
    assert!(status.mount("/usr").aliases.held == machine.aliases(), "{status:#?}");
    assert!(status.groups.iter().any(|group| group.kind == "unit"), "{:#?}", status.groups);
    let lasting = status.groups.iter().filter(|group| group.remedy.kind != "wait");
    let commands: Option<Vec<String>> = lasting.map(|group| group.remedy.command.clone()).collect();
    (status.kept.files, commands.unwrap_or_else(|| panic!("somebody has no command: {:#?}", status.groups)))
}
