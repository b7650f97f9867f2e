//! A boot: what is left goes, and where nothing is left it costs next to nothing.

use crate::Scenario;
use crate::support::booted::{Machine, Release};
use crate::support::sandbox::Access::ReadOnly;

pub const REBOOT: Scenario = Scenario {
    name: "reboot",
    expected: "aliases gone, read-only; a boot with nothing to do waits at most 100 ms",
    play: drops_what_is_left,
};

fn drops_what_is_left(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.install_tool();
    let upgrade = machine.apt(&["install", "/tool/tool_2.deb"]);
    assert!(upgrade.code == 0, "apt ended with {}", upgrade.code);
    machine.assert_usr(ReadOnly);
    let left = machine.aliases();
    assert!(left == 1, "the tool's program is in use: {left}");

    machine.reboot();
    machine.assert_usr(ReadOnly);
    machine.assert_tidy();
    let busy = boot_unit(&machine);

    machine.reboot();
    machine.assert_tidy();
    let idle = boot_unit(&machine);
    format!("{left} alias gone in {busy} ms; with nothing to do {idle} ms")
}

/// How long the boot unit took, in milliseconds.
fn boot_unit(machine: &Machine) -> u64 {
    machine.run(&["systemd-analyze"]);
    machine.run(&["systemd-analyze", "critical-chain", "--no-pager"]);
    let property = |name: &str| {
        let value = machine.must(&["systemctl", "show", "--value", "--property", name, "rokeep-boot.service"]);
        value.trim().parse::<u64>().unwrap_or_else(|_| panic!("{name} is {value:?}"))
    };
    assert!(property("ExecMainStatus") == 0, "the boot unit failed");
    let (start, end) = (property("ExecMainStartTimestampMonotonic"), property("ExecMainExitTimestampMonotonic"));
    assert!(start > 0 && end > start, "the boot unit did not run");
    (end - start) / 1000
}
