//! Mount namespaces that no process is in, seen from the machine's first pid namespace: the other worlds are never in it.

use crate::support::guest::{FileSystem::Ext4, Guest, on_each_kernel};
use crate::support::sandbox::Access::{self, ReadOnlyMount, Writable};
use crate::support::small::State::Executed;

/// A mount namespace is copied from apt's, and kept by its file alone.
const MAKE: &str = "(sleep 1000 | /tool/holder own-mounts cwd /tmp) > /run/other 2>&1 &
    until grep -q ready /run/other; do sleep 0.05; done
    process=$(sed 's/ ready//' /run/other)
    touch /run/namespace
    mount --bind /proc/$process/ns/mnt /run/namespace
    kill -9 $process
    while [ -e /proc/$process/exe ]; do sleep 0.05; done";

fn copy_of_usr(guest: &Guest) -> Access {
    Access::of(guest.sh("nsenter -m/run/namespace awk '$5 == \"/usr\"' /proc/self/mountinfo").trim_end())
}

/// Linux 6.12 lists them.
#[test]
fn a_copy_in_one_is_closed_where_the_kernel_lists_it() {
    on_each_kernel(|guest| {
        guest.mounted("/usr", Ext4);
        guest.begin();
        guest.sh(MAKE);
        assert_eq!(copy_of_usr(guest), Writable);
        let held = guest.hold(Executed(Guest::TOOL));
        guest.dpkg_replaces(Guest::TOOL);
        guest.end().assert_says(&["/usr is degraded"]);
        guest.assert_mount("/usr", ReadOnlyMount);
        let lists_them = guest.version() == "6.12.";
        assert_eq!(copy_of_usr(guest), if lists_them { ReadOnlyMount } else { Writable });
        guest.let_go(held);
        guest.rokeep(&["cleanup"]).assert_code(0);
        assert_eq!(copy_of_usr(guest), Access::ReadOnly);
    });
}
