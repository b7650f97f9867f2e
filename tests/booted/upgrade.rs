//! The upgrade that fails in [`crate::pair`], with rokeep, and what a person does afterwards.

use crate::Scenario;
use crate::support::booted::{Machine, Release};
use crate::support::status::Group;

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

    machine.package_run(&["apt-get", "-y", "dist-upgrade"]);

    machine.assert_read_only();
    assert!(machine.deleted_files() == 0);
    machine.assert_upgraded();
    machine.assert_services_work();
    let same = machine.same_as_before(&before);
    assert!(same.iter().any(|service| service.unit == "clerk.service"), "nobody was to restart it: {same:?}");
    let kept = what_is_kept_is_named(&machine);

    let (_, commands) = machine.follow_what_status_says();
    machine.assert_services_work();
    let upgrades = machine.upgrades().len();
    let running = same.len();
    format!("{upgrades} upgrades, {kept} files kept, {running} services ran on; none kept after {commands} commands")
}

/// How many files are kept. The service of the administrator's own is among those that keep some.
fn what_is_kept_is_named(machine: &Machine) -> usize {
    let status = machine.status();
    assert!(status.kept.files > 0 && status.unknown.is_none(), "{status:#?}");
    assert!(status.mount("/usr").aliases.held == machine.aliases(), "{status:#?}");
    let is_clerk = |group: &Group| group.kind == "unit" && group.name.as_deref() == Some("clerk.service");
    assert!(status.groups.iter().any(is_clerk), "{:#?}", status.groups);
    status.kept.files
}
