//! Debian's other layout: all of / is read-only, with /usr inside, and only /var can be written.

use crate::Scenario;
use crate::support::booted::{Layout, Machine, Release};

pub const ROOT: Scenario = Scenario {
    name: "root",
    expected: "the upgrade completes, / read-only; no replaced file kept once services are restarted",
    play: all_of_it_is_read_only,
};

fn all_of_it_is_read_only(release: Release) -> String {
    let machine = Machine::boot_with(release, Layout::Root);
    machine.install_rokeep();
    let before = machine.services();

    machine.package_run(&["apt-get", "-y", "dist-upgrade"]);

    machine.assert_read_only();
    machine.assert_upgraded();
    machine.assert_services_work();
    let same = machine.same_as_before(&before).len();
    let (kept, commands) = machine.follow_what_status_says();
    machine.reboot();
    machine.assert_tidy();
    format!("{kept} files kept, {same} services ran on; none kept after {commands} commands")
}
