//! Overlays, as these kernels have them, over what can never be writable: an image, and an export that is read-only on its
//! server.

use crate::support::guest::{
    Export,
    FileSystem::{self, Ext4, Iso9660, Nfs, Squashfs},
    Guest, on_each_kernel,
};
use crate::support::sandbox::Access::{ReadOnly, Writable};
use crate::support::small::{
    Change::{Install, Upgrade},
    State::{Executed, Open},
};

/// A program that is below.
const BELOW: &str = "/opt/bin/tool";
/// A program that a package run installs above.
const ABOVE: &str = "/opt/bin/added";

fn on_each_kernel_over_each(scenario: impl Fn(&Guest, FileSystem) + Sync) {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Ext4);
        for below in [Squashfs, Iso9660, Nfs(Export::ReadOnly)] {
            guest.mounted("/opt", below);
            scenario(guest, below);
            guest.sh("umount /opt");
        }
    });
}

/// A package has these files on /opt.
fn lists(guest: &Guest, files: &str) {
    guest.sh(&format!("printf '%s\\n' /. {files} > /var/lib/dpkg/info/tool.list"));
}

/// A package run, in which a program comes to be above.
fn install(guest: &Guest) {
    lists(guest, ABOVE);
    guest.begin();
    guest.assert_mount("/opt", Writable);
    guest.protect(&[Install("added", "1")]);
    guest.sh(&format!("mkdir -p /opt/bin; cp /tool/holder {ABOVE}"));
    guest.end();
    guest.assert_mount("/opt", ReadOnly);
}

fn disable(guest: &Guest, found: &str, below: FileSystem) {
    guest.rokeep(&["overlay", "disable", "--discard", "/opt"]).assert_code(0);
    assert_eq!(guest.mount_line("/opt"), found, "{below:?}");
    guest.sh("test ! -e /var/lib/rokeep/overlay; test ! -e /etc/systemd/system/opt.mount");
}

#[test]
fn control_without_one_apt_is_stopped() {
    on_each_kernel_over_each(|guest, below| {
        let found = guest.mount_line("/opt");
        guest.hook("pre-invoke", None).assert_code(3).assert_says(&["overlay enable /opt", "dpkg was not started"]);
        assert_eq!(guest.mount_line("/opt"), found, "{below:?}");
    });
}

#[test]
fn what_is_replaced_above_while_it_runs_leaves_it_read_only() {
    on_each_kernel_over_each(|guest, below| {
        let found = guest.mount_line("/opt");
        guest.rokeep(&["overlay", "enable", "/opt"]).assert_code(0).assert_says(&["/opt has an overlay now"]);
        guest.assert_mount("/opt", ReadOnly);
        install(guest);
        let laid = guest.mount_line("/opt");
        let held = guest.hold(Executed(ABOVE));
        guest.begin();
        guest.protect(&[Upgrade("tool", "1", "2")]);
        guest.dpkg_replaces(ABOVE);
        guest.end().assert_says(&["kept while in use: 1 replaced file", &format!("({})", held.pid())]);
        assert_eq!(guest.mount_line("/opt"), laid, "{below:?}");
        guest.assert_mount("/opt", ReadOnly);
        guest.assert_aliases("/opt", 1);
        let refused = guest.rokeep(&["overlay", "disable", "/opt"]).assert_code(3);
        refused.assert_says(&["nothing was changed"]);
        guest.let_go(held);
        guest.rokeep(&["cleanup"]).assert_code(0);
        guest.assert_aliases("/opt", 0);
        guest.assert_mount("/opt", ReadOnly);
        guest.assert_no_session();
        disable(guest, &found, below);
    });
}

/// It gets no alias, which would copy it up; but nothing can be written while it is in use, and then it is as it was.
#[test]
fn what_is_replaced_below_while_it_is_used_leaves_it_closed() {
    on_each_kernel_over_each(|guest, below| {
        let found = guest.mount_line("/opt");
        guest.rokeep(&["overlay", "enable", "/opt"]).assert_code(0);
        lists(guest, BELOW);
        let held = guest.hold(Open(BELOW));
        guest.begin();
        guest.protect(&[Upgrade("tool", "1", "2")]);
        guest.dpkg_replaces(BELOW);
        guest.end();
        guest.sh("! touch /opt/file");
        guest.let_go(held);
        guest.rokeep(&["cleanup"]).assert_code(0);
        guest.assert_mount("/opt", ReadOnly);
        guest.assert_aliases("/opt", 0);
        guest.assert_no_session();
        assert_eq!(guest.sh(&format!("cat {BELOW}")), "another version\n", "{below:?}");
        disable(guest, &found, below);
    });
}

#[test]
fn what_is_above_comes_back() {
    on_each_kernel_over_each(|guest, below| {
        let found = guest.mount_line("/opt");
        guest.rokeep(&["overlay", "enable", "/opt"]).assert_code(0);
        install(guest);
        guest.rokeep(&["overlay", "disable", "/opt"]).assert_code(0).assert_says(&["rokeep overlay enable /opt"]);
        assert_eq!(guest.mount_line("/opt"), found, "{below:?}");
        guest.sh(&format!("test ! -e {ABOVE}"));
        guest.rokeep(&["overlay", "enable", "/opt"]).assert_code(0);
        guest.sh(&format!("cmp /tool/holder {ABOVE}"));
        disable(guest, &found, below);
    });
}

#[test]
fn what_lives_wholly_above_is_had_without_an_overlay() {
    const DIRECTORY: &str = "/opt/bin";
    on_each_kernel_over_each(|guest, below| {
        let found = guest.mount_line("/opt");
        guest.rokeep(&["overlay", "enable", "/opt", "--mask", "bin"]).assert_code(0);
        install(guest);
        guest.rokeep(&["overlay", "bind", "/opt"]).assert_code(0);
        assert_eq!(guest.mount_line("/opt"), found, "{below:?}");
        guest.sh(&format!("cmp /tool/holder {ABOVE}; ! touch {DIRECTORY}/file"));
        let held = guest.hold(Executed(ABOVE));
        guest.begin();
        guest.protect(&[Upgrade("tool", "1", "2")]);
        guest.dpkg_replaces(ABOVE);
        guest.end();
        guest.sh(&format!("! touch {DIRECTORY}/file"));
        guest.let_go(held);
        guest.rokeep(&["cleanup"]).assert_code(0);
        guest.assert_no_session();

        guest.rokeep(&["overlay", "enable", "/opt"]).assert_code(0);
        assert_eq!(guest.sh(&format!("cat {ABOVE}")), "another version\n", "{below:?}");
        guest.assert_mount("/opt", ReadOnly);
        disable(guest, &found, below);
    });
}
