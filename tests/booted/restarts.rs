//! Services that are restarted while /usr is writable: by needrestart at the end of the run, or in the middle of it with a
//! mount namespace of their own, in which /usr is then a writable mount.

use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const NEEDRESTART: Scenario = Scenario {
    name: "needrestart",
    expected: "read-only; what it restarted holds nothing",
    play: needrestart_restarts,
};

pub const SANDBOXED: Scenario = Scenario {
    name: "sandboxed",
    expected: "read-only in its mount namespace too",
    play: a_sandboxed_service_is_restarted,
};

/// It is one of apt's Post-Invoke hooks, and comes before rokeep's.
fn needrestart_restarts(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    start_guarded(&machine);
    machine.package_run(&["apt-get", "-y", "--no-install-recommends", "install", "needrestart"]);
    machine.sh("echo '$nrconf{restart} = \"a\";' > /etc/needrestart/conf.d/restart.conf");
    let before = machine.services();

    machine.package_run(&["apt-get", "-y", "dist-upgrade"]);

    machine.assert_read_only();
    machine.assert_upgraded();
    machine.assert_services_work();
    assert_nothing_can_be_written(&machine);
    let same = machine.same_as_before(&before);
    let status = machine.status();
    for unit in ["clerk.service", "guarded.service", "private.service"] {
        assert!(!same.iter().any(|service| service.unit == unit), "{unit} was not restarted");
        let holds = |name: &Option<String>| name.as_deref() == Some(unit);
        assert!(!status.groups.iter().any(|group| holds(&group.name)), "{unit} holds something: {:#?}", status.groups);
    }
    let restarted = before.len() - same.len();
    let (left, commands) = machine.follow_what_status_says();
    format!("{restarted} services restarted; {left} files kept by the rest, none after {commands} commands")
}

fn a_sandboxed_service_is_restarted(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.install_tool();
    start_guarded(&machine);
    machine.upgrade_tool_half_way();

    machine.must(&["systemctl", "restart", "guarded", "private"]);
    machine.sh(&inside("private", "touch /usr/written; rm /usr/written"));
    machine.sh("rm /run/wait");
    machine.wait_for("! systemctl --quiet is-active upgrade");

    machine.assert_read_only();
    assert_eq!(machine.version("tool"), "2");
    assert_nothing_can_be_written(&machine);
    machine.sh("systemctl stop tool");
    machine.must(&["rokeep", "cleanup"]);
    machine.assert_tidy();
    "restarted in the middle, wrote then; read-only there and everywhere".to_owned()
}

/// Like the administrator's own service, each in a mount namespace of its own; in one of them /usr is a mount that is
/// read-only by itself.
fn start_guarded(machine: &Machine) {
    machine.sh(
        "sed 's/, 7)/, 9)/' /opt/clerk.py > /opt/guarded.py
        sed 's/, 7)/, 11)/' /opt/clerk.py > /opt/private.py
        unit() { printf '[Service]\nExecStart=python3 /opt/%s.py\nPrivateTmp=yes\n' $1 > /etc/systemd/system/$1.service; }
        unit private
        unit guarded
        echo ProtectSystem=yes >> /etc/systemd/system/guarded.service
        systemctl daemon-reload
        systemctl start guarded private",
    );
    for unit in GUARDED {
        machine.sh(&inside(unit, "[ $(readlink /proc/1/ns/mnt) != $(readlink /proc/self/ns/mnt) ]"));
    }
}

const GUARDED: [&str; 2] = ["guarded", "private"];

fn assert_nothing_can_be_written(machine: &Machine) {
    for unit in GUARDED {
        machine.sh(&inside(unit, "! touch /usr/written 2>/dev/null"));
    }
}

/// A shell's command, done in the mount namespace of a unit.
fn inside(unit: &str, command: &str) -> String {
    format!("nsenter --mount --target $(systemctl show --value --property=MainPID {unit}) sh -euc '{command}'")
}
