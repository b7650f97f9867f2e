//! rokeep is removed: what it kept stays kept, and /usr is read-only.

use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const REMOVE: Scenario =
    Scenario { name: "remove", expected: "read-only; its copy drops what was held, and goes", play: is_removed };

const COPY: &str = "/var/lib/rokeep/rokeep";

fn is_removed(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.install_tool();
    machine.package_run(&["apt-get", "-y", "install", "/tool/tool_2.deb"]);
    assert_eq!(machine.aliases(), 1, "the tool's program is in use");

    machine.package_run(&["apt-get", "-y", "remove", "rokeep"]);

    machine.assert_read_only();
    machine.assert_configured();
    machine.assert_gone("/usr/sbin/rokeep");
    machine.assert_gone("/usr/lib/systemd/system/rokeep-boot.service");
    assert_eq!(machine.aliases(), 1, "it is in use still");
    machine.sh("systemctl stop tool");
    machine.must(&[COPY, "cleanup"]);
    machine.assert_read_only();
    machine.assert_gone("/usr/.rokeep");
    machine.assert_gone(COPY);
    machine.reboot();
    machine.assert_read_only();

    machine.install_rokeep();
    machine.package_run(&["apt-get", "-y", "purge", "rokeep"]);
    // The hooks are gone before apt is: the watcher does it.
    machine.wait_for("grep -q ' /usr ro,.* - [^ ]* [^ ]* ro' /proc/self/mountinfo");
    machine.assert_read_only();
    machine.wait_for("[ ! -e /var/lib/rokeep ]");
    for path in ["/usr/.rokeep", "/usr/sbin/rokeep", "/etc/rokeep", "/var/lib/rokeep"] {
        machine.assert_gone(path);
    }
    "removed and purged, read-only; nothing is left".to_owned()
}
