//! What the kernels do without us, and one package run on each.

use nix::errno::Errno;

use crate::support::guest::{FileSystem, FileSystem::Ext4, FileSystem::Xfs, Guest, on_each_kernel};
use crate::support::sandbox::Access::{ReadOnly, ReadOnlyMount, Writable};
use crate::support::small::{
    Change::Upgrade,
    State::{self, Executed, Mapped, OpenPath},
};

/// The files, each in another state.
fn in_use() -> [State<&'static str>; 3] {
    let [program, second, third] = Guest::FILES;
    [Executed(program), Mapped(second), OpenPath(third)]
}

fn on_each_file_system(scenario: impl Fn(&Guest, FileSystem) + Sync) {
    on_each_kernel(|guest| {
        for file_system in [Ext4, Xfs] {
            guest.mounted("/usr", file_system);
            scenario(guest, file_system);
            guest.sh("umount /usr");
        }
    });
}

#[test]
fn control_they_are_those_that_the_readme_names() {
    on_each_kernel(|guest| {
        let release = guest.sh("uname -r");
        assert!(release.starts_with(guest.version()), "{release}");
    });
}

#[test]
fn control_a_replaced_file_in_use_keeps_the_superblock_writable() {
    on_each_file_system(|guest, file_system| {
        for (file, state) in Guest::FILES.iter().zip(in_use()) {
            assert_eq!(guest.remount("rw", "/usr"), Ok(()));
            let held = guest.hold(state);
            guest.dpkg_replaces(file);
            assert_eq!(guest.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} on {file_system:?}");
            guest.assert_mount("/usr", Writable);
            guest.let_go(held);
            assert_eq!(guest.remount("ro", "/usr"), Ok(()), "{state:?} on {file_system:?}");
        }
    });
}

#[test]
fn replaced_files_in_use_and_usr_is_read_only() {
    on_each_file_system(|guest, file_system| {
        let found = guest.mount_line("/usr");
        let held = in_use().map(|state| guest.hold(state));
        guest.begin();
        guest.assert_mount("/usr", Writable);
        guest.protect(&[Upgrade("tool", "1", "2")]);
        guest.assert_aliases("/usr", 3);
        Guest::FILES.iter().for_each(|file| guest.dpkg_replaces(file));
        guest.end().assert_says(&["kept while in use: 3 replaced files"]);
        assert_eq!(guest.mount_line("/usr"), found, "{file_system:?}");
        guest.assert_aliases("/usr", 3);
        held.into_iter().for_each(|held| guest.let_go(held));
        guest.rokeep(&["cleanup"]).assert_code(0);
        assert_eq!(guest.mount_line("/usr"), found, "{file_system:?}");
        guest.assert_aliases("/usr", 0);
        guest.assert_no_session();
    });
}

/// What nobody protected: second best, and the way back from it.
#[test]
fn a_deleted_file_in_use_leaves_the_mount_alone_read_only() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Ext4);
        guest.begin();
        let held = guest.hold(Executed(Guest::TOOL));
        guest.dpkg_replaces(Guest::TOOL);
        guest.end().assert_says(&["/usr is degraded", &format!("tool ({})", held.pid()), "rokeep cleanup"]);
        guest.assert_mount("/usr", ReadOnlyMount);
        guest.let_go(held);
        guest.rokeep(&["cleanup"]).assert_code(0);
        guest.assert_mount("/usr", ReadOnly);
    });
}

/// It goes on calling it `rw`, and before Linux 6.15 the mount table shows nothing else either.
#[test]
fn a_file_system_that_the_kernel_closes_because_of_errors() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Ext4);
        guest.begin();
        guest.sh("device=$(sed -n 's#^/dev/\\([^ ]*\\) /usr .*#\\1#p' /proc/self/mounts)
             mount -o remount,rw,nodev,noatime,errors=remount-ro /usr
             echo a test > /sys/fs/ext4/$device/trigger_fs_error
             ! touch /usr/file");
        guest.assert_mount("/usr", Writable);
        assert_eq!(guest.remount("ro", "/usr"), Err(Errno::EROFS));
        guest.end().assert_says(&["/usr is degraded", "found errors on /dev/loop", "dmesg", "fsck /dev/loop"]);
        guest.assert_mount("/usr", ReadOnlyMount);
        guest.hook("pre-invoke", None).assert_code(3).assert_says(&[
            "/usr takes no writes",
            "found errors",
            "fsck /dev/loop",
            "dpkg was not started",
        ]);
        guest.assert_mount("/usr", ReadOnlyMount);
    });
}
