//! What rokeep keeps is root's alone, and what others have put in its place is neither followed nor believed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use crate::support::small::{
    Access::ReadOnly, Alias, Change::Upgrade, FileSystem, FileSystem::Ext4, FileSystem::Tmpfs, Run, Small,
    State::Mapped,
};

const NOBODY: u32 = 65534;
const RUN: &str = "/run/rokeep";
const STATE: &str = "/var/lib/rokeep";
const STORE: &str = "/usr/.rokeep";

/// `user:nobody:rwx` for all that will be made in a directory (acl(5); version 2, then tag, permissions and id of each).
const OPEN_TO_NOBODY: &str = "02000000\
    01000700ffffffff\
    02000700feff0000\
    04000700ffffffff\
    10000700ffffffff\
    20000700ffffffff";

fn upgradable(file_system: FileSystem) -> Small {
    Small::on(file_system).installed("tool", "1", &["/usr/bin/tool"])
}

/// Whether an ordinary user can open this.
fn nobody_reaches(world: &Small, path: &str) -> bool {
    world.runs("/tool/holder", &["nobody", "/tool/holder", "open", path]).code == 0
}

fn begin_as(world: &Small) -> Run {
    world.hook("pre-invoke", None)
}

/// Everything in these directories, and they themselves, with who may do what.
fn open_to_others(world: &Small) -> Vec<String> {
    let in_store = |path: &std::path::Path| path.parent().is_some_and(|above| above.ends_with(".rokeep"));
    let all = [RUN, STATE, STORE].into_iter().flat_map(|dir| walkdir::WalkDir::new(world.outside(dir)));
    let mut open = Vec::new();
    for entry in all.map(|entry| entry.expect("it is there")) {
        let is = entry.metadata().expect("it is there");
        // An alias is what its file is; nobody gets as far as that.
        let fits = match (is.is_dir(), in_store(entry.path())) {
            (true, _) => is.mode() & 0o7777 == 0o700,
            (false, true) => true,
            (false, false) => is.mode() & 0o077 == 0,
        };
        if !fits || (is.uid(), is.is_dir() && is.gid() != 0) != (0, false) {
            open.push(format!("{:?} {:o} {}:{}", entry.path(), is.mode(), is.uid(), is.gid()));
        }
    }
    open
}

#[test]
fn whatever_mask_and_parents_say() {
    for mask in ["0", "777"] {
        for file_system in [Ext4, Tmpfs] {
            let world = upgradable(file_system);
            let number = world.inode("/usr/bin/tool").expect("it is there").1;
            fs::remove_dir(world.outside(STATE)).expect("none was made beforehand");
            world.writably(|| {
                for parent in ["/usr", "/run", "/var/lib"] {
                    world.set_mode(parent, 0o2755);
                    let words = ["attribute", "system.posix_acl_default", OPEN_TO_NOBODY, parent];
                    assert_eq!(world.runs("/tool/holder", &words).code, 0, "no default ACL on {parent}");
                    world.makes_directory(format!("{parent}/control"));
                }
            });
            assert!(nobody_reaches(&world, "/run/control"), "this is how others make directories there");
            let _holder = world.hold(Mapped("/usr/bin/tool"));
            let masked = ["/tool/holder", "umask", mask];
            world.hook_under(&masked, "pre-invoke").assert_code(0);
            world.protect_under(&masked, &[Upgrade("tool", "1", "2")]);
            world.dpkg_replaces("/usr/bin/tool");
            let alias = format!("{STORE}/{number}");
            let all = [RUN, STATE, STORE, &alias].map(str::to_owned);
            let files = ["lock", "session.json", "looks.json"].map(|name| format!("{RUN}/{name}"));
            for path in all.iter().chain(&files).chain(&[format!("{STATE}/journal.jsonl")]) {
                assert!(world.inode(path).is_some(), "{path} is not there");
                assert!(!nobody_reaches(&world, path), "{path}, umask {mask}");
            }
            assert_eq!(open_to_others(&world), [""; 0], "umask {mask}");
            world.set_mode(STORE, 0o755);
            assert!(nobody_reaches(&world, &alias), "it is the store that keeps them out");
            world.set_mode(STORE, 0o700);
            world.hook_under(&masked, "post-invoke").assert_code(0);
            world.assert_mount("/usr", ReadOnly);
            world.assert_alias("/usr/bin/tool", Alias::Kept);
            assert_eq!(open_to_others(&world), [""; 0], "umask {mask}");
        }
    }
}

#[test]
fn what_was_left_readable_is_closed() {
    let world = upgradable(Ext4);
    for dir in [RUN, STATE] {
        world.makes_directory(dir);
        world.set_mode(dir, 0o755);
    }
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    assert_eq!(open_to_others(&world), [""; 0]);
    world.end();
}

/// A link, another user's, one that others can write to, and no directory at all.
#[test]
fn what_others_put_there_stops_apt_and_is_left_alone() {
    const VICTIM: &str = "/srv/victim";
    for dir in [RUN, STATE] {
        for kind in ["link", "nobody's", "writable", "file"] {
            let world = upgradable(Ext4);
            let _ = fs::remove_dir(world.outside(dir));
            // What it could be made to overwrite, and to believe.
            for name in ["lock", "session.json", "session.json.new", "looks.json", "journal.jsonl", "journal.jsonl.new"]
            {
                world.write(format!("{VICTIM}/{name}"), b"somebody else's\n");
            }
            let outside = world.outside(dir);
            match kind {
                "link" => symlink("../../../srv/victim", &outside).expect("a link"),
                "file" => world.write(dir, b""),
                _ => {
                    world.makes_directory(dir);
                    let links = ["lock", "session.json.new", "looks.json"];
                    links.iter().for_each(|name| world.points(format!("{dir}/{name}"), &format!("{VICTIM}/{name}")));
                }
            }
            match kind {
                "nobody's" => chown(&outside, Some(NOBODY), None).expect("it is given away"),
                "writable" => world.set_mode(dir, 0o777),
                _ => {}
            }
            begin_as(&world).assert_code(3).assert_says(&[dir, "move it away", "nothing was changed"]);
            world.assert_mount("/usr", ReadOnly);
            world.assert_no_store("/usr");
            world.rokeep(["cleanup"]).assert_code(3).assert_says(&[dir, "move it away"]);
            for entry in fs::read_dir(world.outside(VICTIM)).expect("it is there").flatten() {
                assert_eq!(fs::read(entry.path()).expect("it is there"), b"somebody else's\n", "{kind} {entry:?}");
            }
            // Out of the way, and all is well.
            world.renames(dir, "/srv/away");
            world.begin();
            world.end();
            world.assert_mount("/usr", ReadOnly);
        }
    }
}

/// Whoever can write to the directory above can exchange ours for another at any moment; not where that is as /tmp is.
#[test]
fn a_directory_above_that_anybody_can_write_to_stops_apt() {
    let world = upgradable(Ext4);
    world.set_mode("/run", 0o777);
    begin_as(&world).assert_code(3).assert_says(&[RUN, "chmod go-w"]);
    world.assert_mount("/usr", ReadOnly);
    world.set_mode("/run", 0o1777);
    world.begin();
    world.set_mode("/var/lib", 0o777);
    let changes = crate::support::small::stream(&[Upgrade("tool", "1", "2")]);
    world.hook("pre-install-pkgs", Some(changes)).assert_code(3).assert_says(&[STATE, "chmod go-w"]);
    world.assert_mount("/usr", ReadOnly);
}

/// The store of a mount whose root directory is a user's: what he moves to where ours was made is not closed to others for
/// him, nor filled.
#[test]
fn a_store_that_somebody_put_there() {
    for (mode, owner) in [(0o755, 0), (0o700, NOBODY), (0o770, 0)] {
        let world = upgradable(Ext4);
        world.writably(|| {
            world.write(format!("{STORE}/theirs"), b"");
            fs::set_permissions(world.outside(STORE), fs::Permissions::from_mode(mode)).expect("chmod");
            chown(world.outside(STORE), Some(owner), None).expect("chown");
        });
        begin_as(&world).assert_code(3).assert_says(&[STORE, "move it away"]);
        world.assert_mount("/usr", ReadOnly);
        let is = world.outside(STORE).metadata().expect("it is there");
        assert_eq!((is.mode() & 0o7777, is.uid()), (mode, owner));
    }
}
