//! Names are bytes: whatever a file, a directory or a mount point is called, it is kept, shown harmlessly, and dropped.
//! (That every output of rokeep is harmless text is looked at in every run of every scenario.)

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::{Remove, Upgrade},
    FileSystem::{Ext4, Tmpfs},
    Mount, Small,
    State::Mapped,
};

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[test]
fn of_any_bytes_but_a_newline_in_a_list() {
    let names: [&[u8]; 8] = [
        b"/usr/bin/with space",
        b"/usr/bin/tab\tcarriage\rescape\x1b[2J",
        b"/usr/bin/not\xffutf\xfe8",
        "/usr/bin/größer \u{202e}desrever".as_bytes(),
        b"/usr/bin/%41\\101\"quoted'$HOME`id`",
        b"/usr/bin/-rf",
        b"/usr/bin/ (deleted)",
        b"/usr/\xc3\x28/directory\x07too",
    ];
    let names = names.map(path);
    let world = Small::ext4().installed("odd", "1", &names);
    let holders: Vec<_> = names.iter().map(|name| world.hold(Mapped(name))).collect();
    world.begin();
    world.protect(&[Upgrade("odd", "1", "2")]);
    names.iter().for_each(|name| world.dpkg_replaces(name));
    world.end();
    world.assert_mount("/usr", ReadOnly);
    names.iter().for_each(|name| world.assert_alias(name, Alias::Kept));
    assert_eq!(world.status().held.len(), names.len());
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// dpkg itself needs nine more bytes to unpack a file, but not to remove one.
#[test]
fn of_every_length() {
    let longest = |length: usize| path(&[b"/usr/bin/".to_vec(), vec![b'x'; length]].concat());
    let deep =
        path(&[b"/usr".to_vec(), [b"/".to_vec(), vec![b'd'; 254]].concat().repeat(15), b"/file".to_vec()].concat());
    let names = [longest(255), longest(246), deep];
    let world = Small::ext4().installed("long", "1", &names);
    let holders: Vec<_> = names.iter().map(|name| world.hold(Mapped(name))).collect();
    world.begin();
    world.protect(&[Remove("long", "1")]);
    names.iter().for_each(|name| world.dpkg_removes(name));
    world.end();
    world.assert_mount("/usr", ReadOnly);
    names.iter().for_each(|name| world.assert_alias(name, Alias::Kept));
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// 4,095 bytes are as many as the kernel takes in one call. What is longer nobody can have installed.
#[test]
fn of_a_path_as_long_as_the_kernel_takes() {
    let start = [b"/usr".to_vec(), [b"/".to_vec(), vec![b'd'; 250]].concat().repeat(16)].concat();
    let longest = path(&[start.clone(), b"/".to_vec(), vec![b'f'; 4095 - 1 - start.len()]].concat());
    assert_eq!(longest.as_os_str().len(), 4095);
    let longer = path(&[start.repeat(2), b"/file".to_vec()].concat());
    let world = Small::ext4().installed("long", "1", &[longest.as_path(), Path::new("/usr/bin/tool")]);
    let world = world.recorded("long", "1", &[longest.as_path(), &longer, Path::new("/usr/bin/tool")]);
    let holder = world.hold(Mapped(&longest));
    world.begin();
    world.protect(&[Remove("long", "1")]);
    world.assert_alias(&longest, Alias::Kept);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    assert!(String::from_utf8_lossy(&world.journal()).contains(longest.to_str().expect("text")));
    world.dpkg_removes(&longest);
    world.dpkg_removes("/usr/bin/tool");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(&longest, Alias::Kept);
    assert_eq!(world.status().uses(longest.to_str().expect("text"), holder.pid()), ["mapped"]);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// A list cannot say such a name: its two halves are two paths, of which one is none.
#[test]
fn with_a_newline_in_a_list() {
    let world = Small::ext4().installed("odd", "1", &["/usr/bin/tool"]);
    world.writably(|| world.write("/usr/bin/new\nline", b""));
    let world = world.recorded("odd", "1", &["/usr/bin/tool", "/usr/bin/new\nline"]);
    world.begin();
    world.protect(&[Upgrade("odd", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn of_a_mount_point() {
    let point = "/srv/a b\\c\nd\té";
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount(point, Tmpfs, ReadOnly)]);
    let settings = format!("mounts = [{point:?}]\n").replace("é", "\\u00e9");
    world.write("/etc/rokeep/config.toml", settings.as_bytes());
    let file = format!("{point}/file");
    let world = world.installed("odd", "1", &[&file]);
    // A list cannot name a file in there either, so nothing is protected; but it opens and closes like any other.
    world.begin();
    world.assert_mount(point, Writable);
    world.assert_mount("/usr", ReadOnly);
    world.end();
    world.assert_mount(point, ReadOnly);
    assert!(!world.outside(Path::new(point).join(".rokeep")).exists());
}
