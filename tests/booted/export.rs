//! /opt comes from an NFS server that lets nobody write to it, and takes root for nobody: packages are installed on an
//! overlay over it, and then do without that, so that everybody reads what is the server's. The server is the machine itself.

use self::On::{Itself, Overlay};
use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const EXPORT: Scenario = Scenario {
    name: "export",
    expected: "stopped before dpkg; with an overlay installed, and upgraded while it runs, after a boot too; and without it",
    play: is_installed_over_an_export,
};

const SERVER: &str = "nfs-server.service";
const LOWER: &str = "var-lib-rokeep-overlay-opt-lower.mount";
const OPT: &str = "opt.mount";

fn is_installed_over_an_export(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    build(&machine);
    has_opt_from_a_server(&machine);

    let as_it_was = machine.sh("sha256sum /var/lib/dpkg/status");
    assert_stopped(&machine, "/srv/app_2.deb", "\"rokeep overlay enable /opt\"");
    assert_eq!(machine.sh("sha256sum /var/lib/dpkg/status"), as_it_was);
    machine.assert_mounted("/opt", "nfs4");
    control_dpkg_breaks_the_package(&machine);

    machine.must(&["rokeep", "overlay", "enable", "/opt"]);
    machine.must(&["rokeep", "check"]);
    install(&machine, "2", Overlay);
    upgrade_while_it_runs(&machine, "3", Overlay);
    what_root_may_not_read_nobody_reads(&machine);

    machine.reboot();
    assert_one_after_the_other(&machine);
    machine.assert_services_work();
    assert_installed(&machine, "3", Overlay);
    upgrade_while_it_runs(&machine, "4", Overlay);
    machine.must(&["rokeep", "check"]);
    // This time all of it was mounted by systemd, which takes it away in an order of its own.
    machine.reboot();
    assert_one_after_the_other(&machine);
    assert_installed(&machine, "4", Overlay);

    machine.must(&["rokeep", "overlay", "bind", "/opt", "--copy", "vendor"]);
    assert_eq!(
        machine.sh("stat --format='%a %U %s' /opt/vendor/file; findmnt --noheadings --output FSTYPE /opt/vendor"),
        format!("604 www-data 5\n{}", machine.of_root())
    );
    assert_by_itself(&machine, "4");
    machine.reboot();
    assert_after(&machine, "opt-app.mount", OPT);
    machine.assert_services_work();
    assert_by_itself(&machine, "4");
    upgrade_while_it_runs(&machine, "5", Itself);
    assert_by_itself(&machine, "5");
    assert_stopped(&machine, "/srv/private_1.deb", "/opt/private/new of private is to be written");
    machine.sh("echo changed > /srv/opt/by-its-owner");
    machine.wait_for("[ -e /opt/by-its-owner ]");

    machine.must(&["rokeep", "overlay", "disable", "/opt"]);
    machine.assert_mounted("/opt", "nfs4");
    assert_eq!(machine.sh("cat /opt/app/version").trim(), "1");
    "stopped, its package as it was; installed, upgraded twice while it ran; after a boot the server, what is below and the \
     overlay one after the other; without it upgraded once more while it ran, and what root may not read was its owner's"
        .to_owned()
}

/// A package whose program can run, and one with a file where root may not look.
fn build(machine: &Machine) {
    machine.sh("cd /srv
        build() {
            mkdir tree/DEBIAN
            printf '%s\n' \"Package: $1\" \"Version: $2\" 'Architecture: all' 'Maintainer: A Test <test@example.org>' \
                'Description: package for a test' > tree/DEBIAN/control
            dpkg-deb --root-owner-group -Znone --build tree $1_$2.deb
            rm -r tree
        }
        for version in 1 2 3 4 5; do
            mkdir -p tree/opt/app
            cp /usr/bin/sleep tree/opt/app/sleep
            echo $version > tree/opt/app/version
            build app $version
        done
        mkdir -p tree/opt/private
        echo new > tree/opt/private/new
        build private 1");
}

/// The first version is on it, as whoever exports it has installed it there. One directory only its owner may read. After a
/// boot it comes later than services do, so that the one whose program is on it says that it needs it.
fn has_opt_from_a_server(machine: &Machine) {
    // What comes with it would have the initramfs made anew, which takes minutes here, and this machine starts with another.
    machine.sh("echo update_initramfs=no > /etc/initramfs-tools/update-initramfs.conf");
    machine.package_run(&["apt-get", "-y", "--no-install-recommends", "install", "nfs-kernel-server"]);
    machine.package_run(&["dpkg", "--install", "/srv/app_1.deb"]);
    machine.sh("mkdir -p /srv/opt/private /srv/opt/vendor
        mv /opt/* /srv/opt/
        echo file > /srv/opt/vendor/file
        chown www-data /srv/opt/vendor/file
        chmod 604 /srv/opt/vendor/file
        echo secret > /srv/opt/private/file
        chown -R www-data: /srv/opt/private
        chmod 700 /srv/opt/private
        echo '/srv/opt localhost(ro,root_squash,no_subtree_check)' > /etc/exports
        exportfs -ra
        echo 'localhost:/srv/opt /opt nfs4 ro,_netdev,nofail,x-systemd.requires=nfs-server.service 0 0' >> /etc/fstab
        mkdir -p /etc/systemd/system/clerk.service.d
        printf '[Unit]\nRequiresMountsFor=/opt/clerk.py\n' > /etc/systemd/system/clerk.service.d/opt.conf
        systemctl daemon-reload
        mount /opt");
    machine.assert_mounted("/opt", "nfs4");
    assert_denied(machine, &["ls", "/opt/private"]);
    machine.must(&AS_ITS_OWNER);
}

const AS_ITS_OWNER: [&str; 6] = ["runuser", "-u", "www-data", "--", "cat", "/opt/private/file"];

#[track_caller]
fn assert_stopped(machine: &Machine, archive: &str, says: &str) {
    let stopped = machine.apt(&["install", archive]);
    let why = stopped.stderr;
    assert!(stopped.code == 100 && why.contains(says) && why.contains("dpkg was not started"), "{why}");
    machine.assert_read_only();
}

/// What it is stopped from. Its database is then as it was before.
fn control_dpkg_breaks_the_package(machine: &Machine) {
    machine.sh("cp -a /var/lib/dpkg /root/database; mv /etc/dpkg/dpkg.cfg.d/rokeep /root/");
    let broken = machine.run(&["dpkg", "--install", "/srv/app_2.deb"]);
    assert!(broken.code != 0 && broken.stderr.contains("Read-only file system"), "{}", broken.stderr);
    assert_ne!(machine.must(&["dpkg", "--audit"]), "");
    machine.sh("rm -r /var/lib/dpkg; mv /root/database /var/lib/dpkg; mv /root/rokeep /etc/dpkg/dpkg.cfg.d/");
    machine.assert_configured();
}

fn install(machine: &Machine, version: &str, on: On) {
    machine.package_run(&["apt-get", "-y", "install", &format!("/srv/app_{version}.deb")]);
    assert_installed(machine, version, on);
}

/// What the package is on.
#[derive(Clone, Copy)]
enum On {
    Overlay,
    Itself,
}

impl On {
    fn point(self) -> &'static str {
        match self {
            Overlay => "/opt",
            Itself => "/opt/app",
        }
    }

    #[track_caller]
    fn assert_mounted(self, machine: &Machine) {
        match self {
            Overlay => machine.assert_mounted("/opt", "overlay"),
            Itself => {
                machine.assert_mounted("/opt", "nfs4");
                machine.assert_mounted_by_itself("/opt/app", machine.of_root().trim());
            }
        }
    }
}

#[track_caller]
fn assert_installed(machine: &Machine, version: &str, on: On) {
    machine.assert_read_only();
    on.assert_mounted(machine);
    assert_eq!(machine.version("app"), version);
    assert_eq!(machine.sh("cat /opt/app/version").trim(), version);
    assert_eq!(machine.must(&["dpkg", "--verify", "app"]), "");
    machine.must(&["rokeep", "overlay", "status"]);
}

fn upgrade_while_it_runs(machine: &Machine, version: &str, on: On) {
    let app = machine.start("app", &["/opt/app/sleep", "infinity"]);
    install(machine, version, on);
    assert_eq!(machine.status().mount(on.point()).aliases.held, 1);
    assert!(machine.status().uses("/opt/app/sleep", app).contains(&"executed"), "{:#?}", machine.status());
    machine.sh("systemctl stop app");
    machine.must(&["rokeep", "cleanup"]);
    machine.assert_tidy();
    machine.assert_gone(&format!("{}/.rokeep", on.point()));
    on.assert_mounted(machine);
}

/// It is mounted over what is the server's, and everybody reads what he may.
#[track_caller]
fn assert_by_itself(machine: &Machine, version: &str) {
    assert_installed(machine, version, Itself);
    assert_denied(machine, &["ls", "/opt/private"]);
    machine.must(&AS_ITS_OWNER);
    machine.must(&["rokeep", "check"]);
}

/// The overlay reads what is below as root: its owner may not read it there either.
fn what_root_may_not_read_nobody_reads(machine: &Machine) {
    assert_denied(machine, &["ls", "/opt/private"]);
    assert_denied(machine, &AS_ITS_OWNER);
    assert_stopped(machine, "/srv/private_1.deb", "cannot look at /opt/private/new");
    machine.assert_mounted("/opt", "overlay");
}

#[track_caller]
fn assert_denied(machine: &Machine, words: &[&str]) {
    let denied = machine.run(words);
    assert!(denied.code != 0 && denied.stderr.contains("Permission denied"), "{denied:?}");
}

fn assert_one_after_the_other(machine: &Machine) {
    assert_after(machine, LOWER, SERVER);
    assert_after(machine, OPT, LOWER);
}

/// The one was there before the other was begun with.
#[track_caller]
fn assert_after(machine: &Machine, then: &str, first: &str) {
    let show = |unit, property| machine.must(&["systemctl", "show", "--value", "--property", property, unit]);
    let time = |unit, property| show(unit, property).trim().parse::<u64>().expect("microseconds");
    assert_eq!(show(then, "ActiveState").trim(), "active", "{then}");
    assert!(show(then, "After").split_whitespace().any(|unit| unit == first), "{then} is not after {first}");
    let (there, begun) = (time(first, "ActiveEnterTimestampMonotonic"), time(then, "InactiveExitTimestampMonotonic"));
    assert!(there <= begun, "{first} was there at {there}, {then} begun with at {begun}");
}
