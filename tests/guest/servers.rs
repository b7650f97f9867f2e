//! NFS: it is the server that decides, and the mount knows nothing of it.

use crate::support::guest::{Export, FileSystem::Nfs, Guest, on_each_kernel};
use crate::support::sandbox::Access::{ReadOnly, Writable};
use crate::support::small::{
    Change::Upgrade,
    State::{Executed, Open, OpenPath},
};

#[track_caller]
fn assert_stopped(guest: &Guest, export: Export, words: &[&str]) {
    guest.mounted("/usr", Nfs(export));
    let found = guest.mount_line("/usr");
    let stopped = guest.hook("pre-invoke", None).assert_code(3);
    stopped.assert_says(words).assert_says(&["/usr takes no writes", "dpkg was not started", "as it was found"]);
    assert_eq!(guest.mount_line("/usr"), found);
    guest.assert_no_session();
}

/// The kernel here makes the mount writable all the same.
#[test]
fn an_export_that_is_read_only_stops_apt() {
    on_each_kernel(|guest| {
        assert_stopped(guest, Export::ReadOnly, &["127.0.0.1:/read-only is read-only where it comes from", "\"rw\""]);
        assert_eq!(guest.remount("rw", "/usr"), Ok(()));
        guest.assert_mount("/usr", Writable);
    });
}

#[test]
fn an_export_whose_root_is_nobody_stops_apt() {
    on_each_kernel(|guest| {
        assert_stopped(guest, Export::RootIsNobody, &["does not let root write", "no_root_squash"]);
    });
}

/// The client keeps such a file itself, under a name of its own, until it is let go.
#[test]
fn control_a_replaced_file_in_use_does_not_keep_an_export_writable() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Nfs(Export::Writable));
        for state in [Executed(Guest::TOOL), Open(Guest::TOOL), OpenPath(Guest::TOOL)] {
            assert_eq!(guest.remount("rw", "/usr"), Ok(()));
            let held = guest.hold(state);
            guest.dpkg_replaces(Guest::TOOL);
            assert_eq!(guest.remount("ro", "/usr"), Ok(()), "{state:?}");
            guest.sh("ls /usr/bin/.nfs*");
            guest.let_go(held);
            guest.sh("! ls /usr/bin/.nfs*");
        }
    });
}

/// A lease on its files is refused whoever has them, so it is the processes that are asked.
#[test]
fn an_export_that_is_writable_is_opened_and_closed() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Nfs(Export::Writable));
        let found = guest.mount_line("/usr");
        let held = guest.hold(Executed(Guest::TOOL));
        guest.begin();
        guest.assert_mount("/usr", Writable);
        guest.protect(&[Upgrade("tool", "1", "2")]);
        Guest::FILES.iter().for_each(|file| guest.dpkg_replaces(file));
        guest.end().assert_says(&["kept while in use: 1 replaced file"]);
        assert_eq!(guest.mount_line("/usr"), found);
        guest.assert_mount("/usr", ReadOnly);
        guest.assert_aliases("/usr", 1);
        guest.let_go(held);
        guest.rokeep(&["cleanup"]).assert_code(0);
        assert_eq!(guest.mount_line("/usr"), found);
        guest.assert_aliases("/usr", 0);
        guest.assert_no_session();
    });
}
