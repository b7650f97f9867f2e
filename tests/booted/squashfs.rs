//! /usr is an image that nobody can write to, as appliances have it: packages are installed on an overlay over it, which is
//! there again at each boot, as early as what starts from it. In the end its directories are there by themselves.

use std::time::Duration;

use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const SQUASHFS: Scenario = Scenario {
    name: "squashfs",
    expected: "stopped before dpkg; with an overlay upgraded; boots with what is above, after a power cut, over a new image and by themselves too",
    play: is_upgraded_over_an_image,
};

/// To read all that is installed takes minutes.
const PATIENCE: Duration = Duration::from_secs(1800);

const LAID_BY: &str = "rokeep-overlay-usr.service";
const LOWER: &str = "/var/lib/rokeep/overlay/usr/lower";

fn is_upgraded_over_an_image(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    build(&machine);
    has_usr_from_an_image(&machine);
    let stopped = machine.apt(&["install", "/srv/early_1.deb"]);
    assert!(stopped.code == 100 && stopped.stderr.contains("\"rokeep overlay enable /usr\""), "{}", stopped.stderr);
    machine.assert_configured();

    machine.must(&["rokeep", "overlay", "enable", "/usr"]);
    machine.wait_until_up();
    machine.must(&["rokeep", "check"]);
    machine.package_run(&["apt-get", "-y", "dist-upgrade"]);
    machine.package_run(&["apt-get", "-y", "install", "/srv/early_1.deb"]);
    machine.sh("systemctl enable early");
    machine.reboot();
    assert_is_above(&machine);
    machine.assert_upgraded();
    machine.assert_services_work();
    assert_started_early(&machine);
    is_upgraded_while_it_runs(&machine, "2", "/usr");
    assert_is_above(&machine);

    machine.install_tool();
    machine.upgrade_tool_half_way();
    machine.power_cut();
    machine.package_run(&["dpkg", "--configure", "-a"]);
    machine.package_run(&["apt-get", "-y", "-f", "install"]);
    machine.assert_configured();
    assert_is_above(&machine);
    assert_started_early(&machine);

    boots_without_it_once(&machine);
    has_a_new_image(&machine);
    assert_started_early(&machine);
    lives_on_by_itself(&machine);
    let upgrades = machine.upgrades().len();
    format!(
        "stopped; {upgrades} upgrades; booted with them, after a power cut, once without, over a new image without modules for its \
         kernel, and from directories by themselves"
    )
}

/// A package whose service is started when the machine starts, and that says what is set then: by systemd, and by udev.
fn build(machine: &Machine) {
    machine.sh("cd /srv
        for version in 1 2 3; do
            lib=tree/usr/lib
            mkdir -p tree/DEBIAN $lib/early $lib/systemd/system $lib/tmpfiles.d $lib/sysctl.d $lib/modules-load.d $lib/udev/rules.d
            cp /usr/bin/sleep $lib/early/sleep
            echo $version > $lib/early/version
            printf '%s\n' '[Service]' 'ExecStart=/usr/lib/early/sleep infinity' '[Install]' 'WantedBy=multi-user.target' \
                > $lib/systemd/system/early.service
            echo 'd /run/early' > $lib/tmpfiles.d/early.conf
            echo 'vm.swappiness = 33' > $lib/sysctl.d/early.conf
            echo dummy > $lib/modules-load.d/early.conf
            echo 'KERNEL==\"null\", SYMLINK+=\"early\"' > $lib/udev/rules.d/60-early.rules
            printf '%s\n' 'Package: early' \"Version: $version\" 'Architecture: all' 'Maintainer: A Test <test@example.org>' \
                'Description: package for a test' > tree/DEBIAN/control
            dpkg-deb --root-owner-group -Znone --build tree early_$version.deb
            rm -r tree
        done");
}

/// With what was installed until now. It is on the second disk.
fn has_usr_from_an_image(machine: &Machine) {
    machine.sh("sed -i 's|^LABEL=usr .*|/dev/vdb /usr squashfs ro,noatime 0 0|' /etc/fstab");
    machine.seal_usr("");
    machine.assert_mounted("/usr", "squashfs");
}

/// The overlay, once, read-only, with no cycle in what systemd was to start, and however much is started later.
#[track_caller]
fn assert_is_above(machine: &Machine) {
    machine.assert_read_only();
    machine.assert_mounted("/usr", "overlay");
    machine.must(&["rokeep", "overlay", "status"]);
    let mounts = || machine.sh(&format!("grep -E ' (/usr|{LOWER}) ' /proc/1/mountinfo"));
    let before = mounts();
    assert!(before.lines().count() == 3, "the image, once more below, and the overlay: {before}");
    machine.must(&["systemd-run", "--wait", "--quiet", "true"]);
    assert_eq!(mounts(), before, "a service lays it again");
    let cycles = machine.sh("journalctl --quiet --boot --grep 'ordering cycle' || true");
    assert!(cycles.is_empty(), "{cycles}");
    assert_eq!(state_of_the_service(machine), ["success", "active"]);
}

fn state_of_the_service(machine: &Machine) -> Vec<String> {
    let state = machine.must(&["systemctl", "show", "--value", "--property=Result,ActiveState", LAID_BY]);
    state.split_whitespace().map(str::to_owned).collect()
}

/// All that the package brings for the start of a machine, of which nothing is below.
#[track_caller]
fn assert_started_early(machine: &Machine) {
    assert!(machine.run(&["test", "-e", &format!("{LOWER}/lib/early")]).code == 1, "it is below");
    machine.wait_for("systemctl --quiet is-active early.service");
    machine.sh("test -d /run/early; test -d /sys/module/dummy");
    assert_eq!(machine.sh("cat /proc/sys/vm/swappiness").trim(), "33");
    machine.wait_for("[ -e /dev/early ]");
}

fn is_upgraded_while_it_runs(machine: &Machine, version: &str, mount: &str) {
    let early = machine.must(&["systemctl", "show", "--value", "--property=MainPID", "early"]);
    machine.package_run(&["apt-get", "-y", "install", &format!("/srv/early_{version}.deb")]);
    assert_eq!(machine.status().mount(mount).aliases.held, 1);
    let (status, early) = (machine.status(), early.trim().parse().expect("a process"));
    assert!(status.uses("/usr/lib/early/sleep", early).contains(&"executed"), "{status:#?}");
    machine.must(&["systemctl", "restart", "early"]);
    machine.must(&["rokeep", "cleanup"]);
    machine.assert_tidy();
}

/// A running machine cannot let go of /usr.
fn boots_without_it_once(machine: &Machine) {
    let busy = machine.run(&["rokeep", "overlay", "disable", "/usr"]);
    assert!(busy.code == 3 && busy.stderr.contains("--at-next-start"), "{busy:?}");
    assert_is_above(machine);
    machine.must(&["rokeep", "overlay", "disable", "--at-next-start", "/usr"]);
    let stopped = machine.apt(&["install", "/srv/early_1.deb", "--allow-downgrades"]);
    assert!(stopped.code == 100 && stopped.stderr.contains("with the next start"), "{}", stopped.stderr);
    machine.reboot();
    machine.assert_mounted("/usr", "squashfs");
    machine.assert_gone("/usr/lib/early");
    machine.must(&["rokeep", "overlay", "enable", "/usr"]);
    assert_eq!(machine.sh("cat /usr/lib/early/version").trim(), "2");
}

/// Whoever makes the image puts another one in its place, which has no modules for the kernel that was installed above.
fn has_a_new_image(machine: &Machine) {
    machine.must(&[
        "rokeep",
        "run",
        "--",
        "sh",
        "-euc",
        "cd /usr/lib/modules; for kernel in *; do
        cp -a $kernel above; rm -r $kernel; mv above $kernel; done",
    ]);
    machine.seal_usr("rm -r lib/modules/*; echo new > share/of-the-new-image");
    assert_eq!(machine.sh("cat /usr/share/of-the-new-image").trim(), "new");
    assert!(machine.sh(&format!("ls {LOWER}/lib/modules")).is_empty(), "modules below");
    machine.assert_mounted("/usr", "overlay");
    let status = machine.run(&["rokeep", "overlay", "status"]);
    assert!(status.code == 1 && status.stdout.contains("OTHER"), "{status:?}");
    // It is laid over the new one, so that nothing has to be unmounted.
    machine.must(&["rokeep", "overlay", "enable", "/usr"]);
    assert_is_above(machine);
}

/// What dpkg misses, or finds changed: what the image was made without.
fn verified(machine: &Machine) -> Vec<String> {
    let lines = machine.run_within(PATIENCE, &["dpkg", "--verify"]).stdout;
    lines.lines().filter(|line| line.contains(" /usr/") && !line.contains("/early/")).map(str::to_owned).collect()
}

/// Nobody is in an overlay that went with the last start, and what is seen in these directories is copied.
fn lives_on_by_itself(machine: &Machine) {
    let as_before = verified(machine);
    machine.must(&["rokeep", "overlay", "disable", "--at-next-start", "/usr"]);
    machine.reboot();
    machine.assert_mounted("/usr", "squashfs");
    let listed = machine.run(&["rokeep", "overlay", "bind", "/usr"]);
    let bind = listed.stdout.lines().find_map(|line| line.strip_prefix('"')?.split_once("\" copies"));
    let (bind, _) = bind.unwrap_or_else(|| panic!("no way on is said: {listed:?}"));
    assert!(listed.code == 3 && bind.contains(" --copy ") && bind.contains(" lib "), "{bind}");
    // It takes as long.
    machine.package_run(&bind.split(' ').collect::<Vec<_>>());
    // Whoever starts a service asks for all that the machine starts with, which is for its next start.
    machine.must(&["systemd-run", "--wait", "--quiet", "true"]);
    assert_eq!(state_of_the_service(machine)[1], "inactive");
    machine.reboot();
    assert_is_by_itself(machine, &as_before);
    machine.assert_services_work();
    assert_started_early(machine);
    is_upgraded_while_it_runs(machine, "3", "/usr/lib");
    machine.reboot();
    assert_is_by_itself(machine, &as_before);
    assert_started_early(machine);
    assert_eq!(machine.sh("cat /usr/lib/early/version").trim(), "3");
}

#[track_caller]
fn assert_is_by_itself(machine: &Machine, as_before: &[String]) {
    machine.assert_read_only();
    machine.assert_mounted("/usr", "squashfs");
    let above = machine.of_root();
    ["/usr/bin", "/usr/lib"].iter().for_each(|point| machine.assert_mounted_by_itself(point, above.trim()));
    machine.must(&["rokeep", "overlay", "status"]);
    machine.must(&["rokeep", "check"]);
    machine.assert_upgraded();
    assert_eq!(verified(machine), as_before);
    let cycles = machine.sh("journalctl --quiet --boot --grep 'ordering cycle' || true");
    assert!(cycles.is_empty(), "{cycles}");
    assert_eq!(state_of_the_service(machine), ["success", "active"]);
}
