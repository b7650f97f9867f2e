//! A boot: what is left goes, and where nothing is left it costs next to nothing.

use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const REBOOT: Scenario = Scenario {
    name: "reboot",
    expected: "aliases gone, read-only; a boot with nothing to do starts no process for it",
    play: drops_what_is_left,
};

fn drops_what_is_left(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.install_tool();
    machine.package_run(&["apt-get", "-y", "install", "/tool/tool_2.deb"]);
    machine.assert_read_only();
    let left = machine.aliases();
    assert!(left == 1, "the tool's program is in use: {left}");

    let program = "/usr/lib/tool/sleep";
    assert!(machine.status().held.iter().any(|held| held.names == [program]), "{:#?}", machine.status());

    machine.reboot();
    machine.assert_tidy();
    let took = machine.boot_unit().expect("something was left");

    machine.reboot();
    machine.assert_tidy();
    machine.run(&["systemd-analyze", "critical-chain", "--no-pager"]);
    assert_eq!(machine.boot_unit(), None, "nothing was left");
    let blamed = machine.must(&["systemd-analyze", "blame", "--no-pager"]);
    assert!(!blamed.contains("rokeep"), "{blamed}");
    format!("{left} alias gone in {took} ms; with nothing to do no process is started")
}
