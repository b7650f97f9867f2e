//! The control: the pair of remounts that every guide gives. What the others show would mean nothing if this went well.

use crate::Scenario;
use crate::support::booted::{Machine, Release};
use crate::support::sandbox::Access::Writable;

pub const PAIR: Scenario = Scenario { name: "pair", expected: "apt fails, /usr stays writable: busy", play: ends_busy };

fn ends_busy(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.assert_services_work();
    machine.sh("cat > /etc/apt/apt.conf.d/zz-remount <<-'END'
	DPkg::Pre-Invoke {\"mount -o remount,rw /usr\";};
	DPkg::Post-Invoke {\"mount -o remount,ro /usr\";};
	END");

    let run = machine.apt(&["dist-upgrade"]);

    assert!(run.code == 100, "apt ended with {}", run.code);
    assert!(run.stderr.contains("busy"), "{}", run.stderr);
    machine.assert_usr(Writable);
    let deleted = machine.deleted_files();
    assert!(deleted > 0, "nothing is in the way");
    format!("{} upgrades, apt ended with 100, /usr writable: {deleted} deleted files in use", machine.upgrades().len())
}
