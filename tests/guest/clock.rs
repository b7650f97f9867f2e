//! Somebody sets the clock, by a year, in the middle of everything.

use crate::support::guest::{FileSystem::Ext4, Guest, on_each_kernel};
use crate::support::sandbox::Access::{ReadOnly, Writable};
use crate::support::small::{Change::Upgrade, State::Mapped};

const YEAR: i64 = 365 * 24 * 60 * 60;

/// date(1), so many seconds from now.
fn set_clock(guest: &Guest, by: i64) {
    guest.sh(&format!("date -s @$(($(date +%s) + {by}))"));
}

#[test]
fn it_makes_no_difference_to_a_package_run_nor_to_how_long_a_mount_is_held_by_hand() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Ext4);
        let found = guest.mount_line("/usr");
        let held = guest.hold(Mapped(Guest::TOOL));
        guest.begin();
        set_clock(guest, -YEAR);
        guest.protect(&[Upgrade("tool", "1", "2")]);
        set_clock(guest, 2 * YEAR);
        guest.dpkg_replaces(Guest::TOOL);
        set_clock(guest, -YEAR);
        guest.end().assert_says(&["kept while in use: 1 replaced file"]);
        assert_eq!(guest.mount_line("/usr"), found);
        set_clock(guest, YEAR);
        guest.rokeep(&["cleanup"]).assert_code(0);
        // The two that dpkg was to replace and did not stay as well.
        guest.assert_aliases("/usr", 3);
        guest.let_go(held);
        set_clock(guest, -2 * YEAR);
        guest.rokeep(&["cleanup"]).assert_code(0);
        guest.assert_aliases("/usr", 2);
        guest.rokeep(&["remount", "rw", "--for", "8s"]).assert_code(0);
        set_clock(guest, 2 * YEAR);
        guest.rokeep(&["cleanup"]).assert_code(0);
        guest.assert_mount("/usr", Writable);
        set_clock(guest, -YEAR);
        guest.sh("sleep 12");
        guest.assert_mount("/usr", ReadOnly);
        assert_eq!(guest.mount_line("/usr"), found);
        guest.assert_no_session();
    });
}
