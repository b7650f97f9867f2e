//! FAT, as /boot/efi has it: there are no hard links, and so no aliases.

use nix::errno::Errno;

use crate::support::guest::{FileSystem::Ext4, FileSystem::Vfat, Guest, on_each_kernel};
use crate::support::sandbox::Access::{ReadOnly, ReadOnlyMount, Writable};
use crate::support::small::{Change::Upgrade, State::Open};

const LOADER: &str = "/boot/efi/bin/tool";

/// /usr as always, and FAT at /boot/efi, with a file of the package.
fn with_loader(guest: &Guest) {
    guest.mounted("/usr", Ext4).mounted("/boot/efi", Vfat);
    guest.sh(&format!("echo {LOADER} >> /var/lib/dpkg/info/tool.list"));
}

fn replace_loader(guest: &Guest) {
    guest.sh(&format!("echo another version > {LOADER}.new; mv {LOADER}.new {LOADER}"));
}

#[test]
fn control_it_has_no_hard_links_and_keeps_what_is_in_use_all_the_same() {
    on_each_kernel(|guest| {
        with_loader(guest);
        assert_eq!(guest.remount("rw", "/boot/efi"), Ok(()));
        guest.sh(&format!("! ln {LOADER} /boot/efi/another"));
        let held = guest.hold(Open(LOADER));
        replace_loader(guest);
        assert_eq!(guest.remount("ro", "/boot/efi"), Err(Errno::EBUSY));
        guest.let_go(held);
        assert_eq!(guest.remount("ro", "/boot/efi"), Ok(()));
    });
}

#[test]
fn it_is_opened_and_closed() {
    on_each_kernel(|guest| {
        with_loader(guest);
        let found = guest.mount_line("/boot/efi");
        let held = guest.hold(Open(Guest::TOOL));
        guest.begin();
        guest.assert_mount("/boot/efi", Writable);
        guest.protect(&[Upgrade("tool", "1", "2")]);
        guest.assert_aliases("/usr", 3);
        guest.assert_aliases("/boot/efi", 0);
        replace_loader(guest);
        guest.dpkg_replaces(Guest::TOOL);
        guest.end();
        assert_eq!(guest.mount_line("/boot/efi"), found);
        guest.assert_mount("/boot/efi", ReadOnly);
        guest.assert_mount("/usr", ReadOnly);
        guest.assert_no_session();
        guest.let_go(held);
    });
}

/// Hardly anybody has a boot loader open. Who has is named, and apt does not fail.
#[test]
fn what_is_in_use_on_it_leaves_it_degraded() {
    on_each_kernel(|guest| {
        with_loader(guest);
        let held = guest.hold(Open(LOADER));
        guest.begin();
        guest.protect(&[Upgrade("tool", "1", "2")]);
        replace_loader(guest);
        guest.end().assert_says(&["/boot/efi is degraded", &format!("({})", held.pid())]);
        guest.assert_mount("/boot/efi", ReadOnlyMount);
        guest.let_go(held);
        guest.rokeep(&["cleanup"]).assert_code(0);
        guest.assert_mount("/boot/efi", ReadOnly);
    });
}
