//! Pre-Install-Pkgs when what it reads is wrong: apt stops before dpkg starts, everything is as it was, and the message
//! says why. A guess would let dpkg free a file in use.

use std::os::unix::fs::MetadataExt;

use nix::sys::stat::SFlag;

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::Upgrade,
    FileSystem::{Ext4, Tmpfs},
    Mount, STREAM_HEAD, Small,
    State::Mapped,
    stream,
};

fn upgradable() -> Small {
    Small::ext4().installed("tool", "1", &["/usr/bin/tool"])
}

/// apt stops, and it is as if it had never started.
#[track_caller]
fn assert_stops(world: &Small, stream: Option<Vec<u8>>, says: &[&str]) {
    let found = world.mount_line("/usr");
    world.begin();
    world.hook("pre-install-pkgs", stream).assert_code(3).assert_says(says);
    assert_eq!(world.mount_line("/usr"), found);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
    world.assert_no_session();
    assert!(world.status().problems.is_empty());
}

/// The next run, in which nothing is wrong, is not hurt.
#[track_caller]
fn assert_works_again(world: &Small) {
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.dpkg_replaces("/usr/bin/tool");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
}

#[test]
fn nothing_at_all() {
    let world = upgradable();
    assert_stops(&world, Some(Vec::new()), &["empty"]);
    assert_works_again(&world);
}

#[test]
fn nowhere_to_read_it_from() {
    let world = upgradable();
    assert_stops(&world, None, &["empty"]);
    assert_works_again(&world);
}

#[test]
fn an_end_in_the_middle() {
    let world = upgradable();
    let whole = stream(&[Upgrade("tool", "1", "2")]);
    let configuration = STREAM_HEAD.len();
    for length in [1, 7, 9, 10, 40, configuration - 1, configuration + 3, configuration + 30, whole.len() - 1] {
        assert_stops(&world, Some(whole[..length].to_vec()), &["rokeep"]);
    }
    assert_works_again(&world);
}

#[test]
fn protocol_version_1() {
    let world = upgradable();
    let paths = b"/var/cache/apt/archives/tool_2_amd64.deb\n/var/cache/apt/archives/other_2_amd64.deb\n";
    assert_stops(&world, Some(paths.to_vec()), &["version 1", "3"]);
    assert_works_again(&world);
}

#[test]
fn protocol_version_2() {
    let world = upgradable();
    let stream = b"VERSION 2\nAPT::Architecture=amd64\n\ntool 1 < 2 /var/cache/apt/archives/tool_2_amd64.deb\n";
    assert_stops(&world, Some(stream.to_vec()), &["version 2", "3"]);
    assert_works_again(&world);
}

#[test]
fn lines_that_are_none() {
    let world = upgradable();
    for line in [
        "tool 1 amd64 none < 2 amd64 none\n",
        "tool 1 amd64 none ? 2 amd64 none /var/cache/apt/archives/tool_2_amd64.deb\n",
        "../../etc/tool 1 amd64 none < 2 amd64 none /var/cache/apt/archives/tool_2_amd64.deb\n",
        "to\u{0}ol 1 amd64 none < 2 amd64 none /var/cache/apt/archives/tool_2_amd64.deb\n",
        "tool 1 ../amd64 none < 2 amd64 none /var/cache/apt/archives/tool_2_amd64.deb\n",
        "tool 1 amd64 none < 2 amd64 none tool_2_amd64.deb\n",
        "\u{0}\u{1b}[2J\n",
    ] {
        assert_stops(&world, Some(format!("{STREAM_HEAD}{line}").into_bytes()), &["line 9"]);
    }
    assert_works_again(&world);
}

#[test]
fn a_package_whose_list_is_lost_stops_apt() {
    let world = upgradable().installed("ghost", "1", &["/usr/bin/ghost"]);
    let list = "/var/lib/dpkg/info/ghost.list";
    std::fs::remove_file(world.outside(list)).expect("there was a list");
    world.begin();
    let changes = stream(&[Upgrade("tool", "1", "2"), Upgrade("ghost", "1", "2")]);
    world.hook("pre-install-pkgs", Some(changes)).assert_code(3).assert_says(&["ghost", list, "touch"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
    world.assert_no_session();
    world.write(list, b"");
    assert_works_again(&world);
}

/// Its first unpacking failed: dpkg has not written a list, and counts it as having no files.
#[test]
fn a_package_that_never_had_files_needs_no_list() {
    let world = upgradable().installed("half", "1", &["/usr/bin/half"]);
    std::fs::remove_file(world.outside("/var/lib/dpkg/info/half.list")).expect("there was a list");
    let status = "Package: half\nStatus: install reinstreq half-installed\nVersion: 1\nArchitecture: amd64\n\n";
    world.write("/var/lib/dpkg/status", status.as_bytes());
    world.begin();
    world.protect(&[Upgrade("half", "1", "2"), Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
}

/// No package can have written them, and none of them may lead anywhere.
#[test]
fn listed_paths_that_are_none_are_passed_over() {
    let world = upgradable();
    world.write("/etc/shadow", b"secret\n");
    world.writably(|| {
        world.write("/usr/lib/ours", b"");
        world.points("/usr/lib/loop", "loop");
    });
    let paths = [
        "/usr/bin/tool",
        "usr/bin/relative",
        "/usr/bin/../lib/ours",
        "/usr/bin/../../etc/shadow",
        "/..",
        "//",
        "",
        "/usr/lib/ours\u{0}",
        "/usr/lib/./ours",
        "/usr/lib/ours/file",
        "/proc/self/root/usr/lib/ours",
        "/usr/lib/loop/ours",
        "/usr/lib/loop",
    ];
    let world = world.recorded("tool", "1", &paths);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    assert_eq!(world.aliases("/usr").len(), 1);
}

/// dpkg will say more of it, or apt never gets there. What the installed package lists is protected all the same.
#[test]
fn an_archive_that_is_none_is_said() {
    let world = upgradable();
    world.makes_node("/tmp/pipe.deb", SFlag::S_IFIFO);
    world.makes_directory("/tmp/directory.deb");
    world.points("/tmp/loop.deb", "loop.deb");
    world.write("/tmp/text.deb", b"no archive\n");
    for archive in ["/tmp/pipe.deb", "/tmp/directory.deb", "/tmp/loop.deb", "/tmp/text.deb", "/tmp/no.deb", "/dev/zero"]
    {
        world.begin();
        let line = format!("{STREAM_HEAD}tool 1 amd64 none < 2 amd64 none {archive}\n");
        world.hook("pre-install-pkgs", Some(line.into_bytes())).assert_code(0).assert_says(&[archive]);
        world.assert_alias("/usr/bin/tool", Alias::Kept);
        world.end();
        world.assert_mount("/usr", ReadOnly);
    }
}

#[test]
fn an_archive_whose_names_lead_elsewhere_leads_nowhere() {
    let world = upgradable().unlisted(&["/usr/lib/taken", "/usr/lib/ours"]);
    world.write("/etc/shadow", b"secret\n");
    world.writably(|| {
        world.points("/usr/lib/etc", "../../etc");
        world.points("/usr/lib/loop", "loop");
    });
    let names = [
        "usr/lib/taken",
        "../etc/shadow",
        "usr/../../etc/shadow",
        "usr/bin/../lib/ours",
        "usr/lib/./ours",
        "usr/lib/etc/shadow",
        "usr/lib/loop/ours",
        "usr/lib/ours/x",
        "usr/lib/ours\0",
        "proc/self/root/usr/lib/ours",
        "",
    ];
    let sums: String = names.iter().map(|name| format!("d41d8cd98f00b204e9800998ecf8427e  {name}\n")).collect();
    world.archive("tool", "2", &[("md5sums", &sums)], &["/usr/lib/taken"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/lib/taken", Alias::Kept);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    assert_eq!(world.all_aliases().len(), 2);
}

// ── links that are swapped in while apt is at work ──────────────────────────────────────────────────────────────────

/// Between the announcement and the end a listed directory becomes a link to somebody else's, where everything is called
/// the same.
#[test]
fn a_directory_that_becomes_a_link_leads_to_nothing_of_ours() {
    const VICTIM: &str = "/srv/victim/data";
    let world = Small::ext4().installed("tool", "1", &["/usr/lib/tool/data", "/usr/lib/tool/held"]);
    let number = world.inode("/usr/lib/tool/data").expect("it is there").1;
    let traps = [VICTIM.to_owned(), format!("/srv/victim/{number}"), format!("/srv/victim/.data.rokeep.{number}")];
    traps.iter().for_each(|trap| world.write(trap, b"somebody else's\n"));
    let _holder = world.hold(Mapped("/usr/lib/tool/held"));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.renames("/usr/lib/tool", "/usr/lib/moved");
    world.points("/usr/lib/tool", "../../srv/victim");
    // Once more, with the link in its place.
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.end();
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias("/usr/lib/tool/held", Alias::Kept);
    for trap in traps {
        let links = world.outside(&trap).metadata().map(|found| found.nlink());
        assert_eq!(links.ok(), Some(1), "{trap} is none of ours");
    }
}

#[test]
fn a_store_that_becomes_a_link_leads_to_nothing_of_ours() {
    let world = upgradable();
    let number = world.inode("/usr/bin/tool").expect("it is there").1;
    let trap = format!("/srv/victim/{number}");
    world.write(&trap, b"somebody else's\n");
    world.set_mode("/srv/victim", 0o700);
    let holder = world.hold(Mapped("/usr/bin/tool"));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces("/usr/bin/tool");
    world.renames("/usr/.rokeep", "/usr/moved");
    world.points("/usr/.rokeep", "../srv/victim");
    drop(holder);
    world.end().assert_says(&["/usr/.rokeep", "move it away"]);
    world.assert_mount("/usr", ReadOnly);
    assert!(world.inode(&trap).is_some(), "it is none of ours");
    assert!(world.inode(format!("/usr/moved/{number}")).is_some(), "it is not where ours are");
}

#[test]
fn a_list_that_cannot_be_read() {
    let world = upgradable();
    let list = world.outside("/var/lib/dpkg/info/odd.list");
    std::fs::create_dir(&list).expect("a directory where a file should be");
    world.begin();
    let changes = stream(&[Upgrade("tool", "1", "2"), Upgrade("odd", "1", "2")]);
    world.hook("pre-install-pkgs", Some(changes)).assert_code(3).assert_says(&["odd.list"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
    world.assert_no_session();
    assert_works_again(&world);
}

/// dpkg cannot replace or remove it either, so it is not lost; and it is said.
#[test]
fn a_file_that_can_have_no_other_name() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/immutable", "/usr/bin/tool"]);
    world.writably(|| world.immutable("/usr/bin/immutable", "+i"));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]).assert_says(&["/usr/bin/immutable"]);
    world.assert_alias("/usr/bin/immutable", Alias::None);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
}

/// As after somebody copied the whole file system to another disk, with our aliases: their numbers are other files' now.
#[test]
fn an_alias_whose_name_is_taken() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool", "/usr/bin/unlucky"]);
    let unlucky = world.inode("/usr/bin/unlucky").expect("it is there").1;
    let taken = format!("/usr/.rokeep/{unlucky}");
    world.writably(|| {
        world.write(&taken, b"somebody else's\n");
        world.set_mode("/usr/.rokeep", 0o700);
    });
    let holder = world.hold(Mapped("/usr/bin/unlucky"));
    let theirs = world.inode(&taken);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.assert_alias("/usr/bin/unlucky", Alias::Kept);
    world.dpkg_replaces("/usr/bin/tool");
    world.dpkg_replaces("/usr/bin/unlucky");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias("/usr/bin/unlucky", Alias::Kept);
    let problems = world.status().problems;
    assert!(problems.iter().any(|problem| problem.contains("not rokeep's")), "{problems:?}");
    drop(holder);
    world.rokeep(["cleanup"]);
    world.assert_alias("/usr/bin/unlucky", Alias::None);
    assert_eq!(world.inode(&taken), theirs, "it is not ours to take away");
}

#[test]
fn a_journal_that_cannot_be_written() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/var/lib/rokeep", Tmpfs, Writable)]);
    let world = world.installed("tool", "1", &["/usr/bin/tool"]);
    world.fill("/var/lib/rokeep");
    assert_stops(
        &world,
        Some(stream(&[Upgrade("tool", "1", "2")])),
        &["/var/lib/rokeep/journal.jsonl", "No space left"],
    );
}
