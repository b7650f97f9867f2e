//! A container whose mounts are for others to change: what is read-only there is so on purpose, and apt does what it would
//! do without rokeep. A service of a whole machine is not taken for one.

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Change::Install,
    FileSystem::Ext4,
    Mount, Small,
};

const NOBODY_MAY: [&str; 2] = ["/tool/holder", "nobody-may-mount"];
const OWN_USERS: [&str; 2] = ["/tool/holder", "own-users"];
const MAY_NOT: [&str; 2] = ["/tool/holder", "may-not-mount"];

#[test]
fn nothing_is_done_and_nothing_is_said() {
    for container in [NOBODY_MAY, OWN_USERS] {
        for found in [ReadOnly, ReadOnlyMount] {
            let world = Small::with(&[Mount("/usr", Ext4, found)]);
            let before = world.mount_line("/usr");
            let said = [
                world.hook_under(&container, "pre-invoke"),
                world.protect_under(&container, &[Install("new", "1")]),
                world.hook_under(&container, "dpkg-pre-invoke"),
                world.hook_under(&container, "post-invoke"),
            ];
            for run in said {
                assert_eq!(run.assert_code(0).stderr, "", "{container:?} {found:?}");
            }
            assert_eq!(world.mount_line("/usr"), before);
            world.assert_no_session();
            assert!(!world.outside("/run/rokeep/session.json").exists());
        }
    }
}

#[test]
fn what_its_settings_name_is_meant() {
    for container in [NOBODY_MAY, OWN_USERS] {
        let world = Small::ext4();
        world.write("/etc/rokeep/config.toml", b"mounts = ['/usr']\n");
        world.hook_under(&container, "pre-invoke").assert_code(3).assert_says(&["/usr"]);
        world.protect_under(&container, &[Install("new", "1")]).assert_code(3).assert_says(&["/usr"]);
        world.assert_mount("/usr", ReadOnly);
    }
}

/// dpkg would break the package there.
#[test]
fn a_service_that_may_not_mount_is_stopped() {
    let world = Small::ext4();
    world.hook_under(&MAY_NOT, "pre-invoke").assert_code(3).assert_says(&["/usr", "may not change mounts"]);
    world.protect_under(&MAY_NOT, &[Install("new", "1")]).assert_code(3).assert_says(&["/usr"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}
