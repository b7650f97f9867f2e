//! Pre-Install-Pkgs: one more name for every file that dpkg is about to free, and for nothing else.

use std::os::unix::fs::symlink;

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::{self, Downgrade, Install, Reinstall, Remove, Upgrade},
    FileSystem::{Ext4, Tmpfs},
    Mount, Small, stream,
};

/// Nothing that dpkg frees may be missing: the alias is the file itself, under its device and inode number.
#[test]
fn every_file_of_a_package_that_changes() {
    let changes: [Change; 4] =
        [Upgrade("tool", "1", "2"), Downgrade("tool", "1", "0"), Reinstall("tool", "1"), Remove("tool", "1")];
    for change in changes {
        let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool", "/usr/lib/tool/data"]);
        world.begin();
        world.protect(&[change]);
        world.assert_alias("/usr/bin/tool", Alias::Kept);
        world.assert_alias("/usr/lib/tool/data", Alias::Kept);
        assert_eq!(world.aliases("/usr").len(), 2, "{change:?}");
        assert_eq!(world.status().mount("/usr").aliases.unchanged, 2, "{change:?}");
    }
}

#[test]
fn no_file_of_a_package_that_stays() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]).installed("other", "1", &["/usr/bin/other"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2"), Install("new", "1")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.assert_alias("/usr/bin/other", Alias::None);
}

#[test]
fn nothing_when_apt_only_configures() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.begin();
    let configure = b"tool 1 amd64 none = 1 amd64 none **CONFIGURE**\n";
    world.hook("pre-install-pkgs", Some([stream(&[]), configure.to_vec()].concat())).assert_code(0);
    world.assert_alias("/usr/bin/tool", Alias::None);
}

#[test]
fn a_file_that_is_listed_where_it_was_before_usr_was_merged() {
    let world = Small::ext4().installed("tool", "1", &["/bin/tool", "/lib/tool.so", "/usr/lib/plain.so"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias("/bin/tool", Alias::Kept);
    world.assert_alias("/lib/tool.so", Alias::Kept);
    world.assert_alias("/usr/lib/plain.so", Alias::Kept);
}

#[test]
fn a_file_with_several_names_once() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.writably(|| {
        std::fs::hard_link(world.outside("/usr/bin/tool"), world.outside("/usr/bin/same")).expect("a second name");
    });
    let world = world.recorded("tool", "1", &["/usr/bin/tool", "/bin/tool", "/usr/bin/same"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    assert_eq!(world.aliases("/usr").len(), 1);
    let journal = String::from_utf8(world.journal()).expect("the journal is text");
    assert!(journal.contains("/usr/bin/same"), "all its names are recorded: {journal}");
}

#[test]
fn no_directory_no_symbolic_link_nothing_that_is_not_there() {
    let world = Small::ext4().installed("other", "1", &["/usr/lib/other.so.1"]);
    world.writably(|| symlink("other.so.1", world.outside("/usr/lib/other.so")).expect("a link"));
    let paths = ["/usr", "/usr/lib", "/usr/lib/other.so", "/usr/bin/missing", "/usr/no/such/directory"];
    let world = world.recorded("odd", "1", &paths).installed("tool", "1", &["/usr/bin/tool"]);
    world.begin();
    world.protect(&[Upgrade("odd", "1", "2"), Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    // Above all not what the link leads to: that belongs to somebody else.
    assert_eq!(world.aliases("/usr").len(), 1);
}

#[test]
fn no_file_that_a_linked_directory_puts_elsewhere() {
    let world = Small::ext4();
    world.write("/var/lib/tool/data", b"");
    world.writably(|| symlink("../../var/lib/tool", world.outside("/usr/lib/tool")).expect("a link"));
    let world = world.installed("tool", "1", &["/usr/bin/tool"]).recorded("odd", "1", &["/usr/lib/tool/data"]);
    world.begin();
    world.protect(&[Upgrade("odd", "1", "2"), Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    assert_eq!(world.aliases("/usr").len(), 1);
}

#[test]
fn each_mount_keeps_its_own() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, ReadOnly)]).installed(
        "tool",
        "1",
        &["/usr/bin/tool", "/opt/tool/data"],
    );
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    assert_eq!(world.aliases("/usr").len(), 1);
    assert_eq!(world.aliases("/opt").len(), 1);
}

#[test]
fn none_on_a_mount_that_was_writable_anyway() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, Writable)]).installed(
        "tool",
        "1",
        &["/usr/bin/tool", "/opt/tool/data"],
    );
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.assert_no_store("/opt");
}

/// `Multi-Arch: same` packages have a list for each architecture; an old database has plain names only.
#[test]
fn a_package_of_several_architectures() {
    for list in ["libtool:amd64", "libtool"] {
        let world = Small::ext4().installed(list, "1", &["/usr/lib/libtool.so"]);
        world.begin();
        let line = b"libtool 1 amd64 same < 2 amd64 same /var/cache/apt/archives/libtool_2_amd64.deb\n";
        world.hook("pre-install-pkgs", Some([stream(&[]), line.to_vec()].concat())).assert_code(0);
        world.assert_alias("/usr/lib/libtool.so", Alias::Kept);
    }
}

/// dpkg keeps what the package has for another architecture as well; unless that goes too.
#[test]
fn no_file_that_another_architecture_of_a_removed_package_keeps() {
    for (goes_too, shared) in [("", Alias::None), ("libtool 1 i386 same > - - none **REMOVE**\n", Alias::Kept)] {
        let world = Small::ext4()
            .installed("libtool:amd64", "1", &["/usr/lib/libtool-amd64.so", "/usr/share/libtool"])
            .installed("libtool:i386", "1", &["/usr/lib/libtool-i386.so", "/usr/share/libtool"]);
        world.write("/var/lib/dpkg/arch", b"amd64\ni386\n");
        world.begin();
        let lines = format!("libtool 1 amd64 same > - - none **REMOVE**\n{goes_too}");
        world.hook("pre-install-pkgs", Some([stream(&[]), lines.into_bytes()].concat())).assert_code(0);
        world.assert_alias("/usr/lib/libtool-amd64.so", Alias::Kept);
        world.assert_alias("/usr/share/libtool", shared);
    }
}

#[test]
fn a_second_announcement_adds_to_the_first() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]).installed("other", "1", &["/usr/bin/other"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.protect(&[Upgrade("tool", "1", "2"), Upgrade("other", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.assert_alias("/usr/bin/other", Alias::Kept);
}
