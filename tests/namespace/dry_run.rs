//! apt calls every hook, and never dpkg: nothing is protected, and nothing is made writable that need not be.

use crate::support::small::{Access::ReadOnly, Access::Writable, Change::Upgrade, Small, stream};

/// What apt says of its own configuration when it only pretends.
fn pretence() -> Vec<u8> {
    let whole = String::from_utf8(stream(&[Upgrade("tool", "1", "2")])).expect("text");
    whole.replacen("APT::Architecture=", "Debug::pkgDPkgPM=1\nAPT::Architecture=", 1).into_bytes()
}

#[test]
fn an_apt_that_says_so_on_its_command_line_finds_nothing_done() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]).apt_has_option("Debug::pkgDPkgPM=1");
    let before = world.mount_line("/usr");
    world.hook("pre-invoke", None).assert_code(0);
    world.assert_no_session();
    world.assert_mount("/usr", ReadOnly);
    world.hook("pre-install-pkgs", Some(pretence())).assert_code(0);
    world.hook("post-invoke", None).assert_code(0);
    assert_eq!(world.mount_line("/usr"), before);
    assert_eq!(world.journal(), b"");
    world.assert_no_store("/usr");
}

/// Its option is no, or it is another one.
#[test]
fn an_apt_that_does_not_only_pretend_is_believed() {
    for option in ["Debug::pkgDPkgPM=0", "Debug::pkgDPkgPM::x=1"] {
        let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]).apt_has_option(option);
        world.begin();
        world.assert_mount("/usr", Writable);
        world.end();
    }
}

/// unattended-upgrades and its like say it in the announcement only: from then on nothing needs to be writable.
#[test]
fn an_apt_that_says_so_in_its_announcement_finds_the_mount_as_it_was_from_then_on() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.begin();
    world.hook("pre-install-pkgs", Some(pretence())).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    assert_eq!(world.journal(), b"");
    world.assert_no_store("/usr");
    world.hook("post-invoke", None).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

/// Somebody else's run is none of that.
#[test]
fn another_apt_that_does_not_pretend_keeps_what_it_needs() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.begin();
    world.meanwhile_another_apt(|| {
        world.hook("pre-invoke", None).assert_code(0);
        world.hook("pre-install-pkgs", Some(pretence())).assert_code(0);
    });
    world.assert_mount("/usr", Writable);
    assert!(world.has_session());
    world.end();
    world.assert_mount("/usr", ReadOnly);
}
