//! What one that was killed, or was refused something, left behind, and that it goes. The crash world found each of these;
//! here each is made by hand.

use crate::support::small::{
    Access::ReadOnly,
    Alias,
    Change::Upgrade,
    FileSystem::{self, Exfat, Ext4},
    Mount, Small,
    State::Mapped,
};
use crate::support::status::Status;

const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";
const SPARE: &str = "/var/lib/rokeep/journal.spare";
const LOOKS: &str = "/run/rokeep/looks.json";
const TOOL: &str = "/usr/bin/tool";

fn names_in(world: &Small, dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(world.outside(dir)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_was_being_written_goes_with_the_next_command() {
    for command in ["recover", "cleanup"] {
        let world = Small::ext4();
        for path in [SPARE, LOOKS, "/run/rokeep/session.json.new", "/run/rokeep/looks.json.new"] {
            world.write(path, b"{\"half\":");
        }
        world.rokeep([command]).assert_code(0);
        assert_eq!(names_in(&world, "/run/rokeep"), ["lock"]);
        assert!(names_in(&world, "/var/lib/rokeep").is_empty());
    }
}

#[test]
fn nothing_is_left_of_a_watcher_that_was_killed() {
    let world = Small::ext4();
    world.begin();
    world.kill_rokeep();
    world.apt_dies();
    world.rokeep(["recover"]).assert_code(0);
    assert_eq!(names_in(&world, "/run/rokeep"), ["lock", "watchers"]);
}

/// The file whose creation proves that a mount is writable.
#[test]
fn a_proof_goes_with_the_session() {
    for (file_system, proof) in [(Ext4, "/usr/.rokeep/proof"), (Exfat, "/usr/.rokeep-proof")] {
        for aliases_too in [false, file_system != Exfat] {
            let world = Small::on(file_system).installed("tool", "1", &[TOOL]);
            let holder = aliases_too.then(|| world.hold(Mapped(TOOL)));
            world.begin();
            if aliases_too {
                world.protect(&[Upgrade("tool", "1", "2")]);
                world.dpkg_replaces(TOOL);
            }
            world.write(proof, b"yes\n");
            world.kill_rokeep();
            world.apt_dies();
            // exFAT's server sees the names that it has made itself.
            world.runs("/tool/rokeep", &["recover"]).assert_code(0);
            world.assert_mount("/usr", ReadOnly);
            assert!(world.inode(proof).is_none(), "{file_system:?}");
            assert_eq!(world.aliases("/usr").len(), usize::from(aliases_too));
            drop(holder);
        }
    }
}

#[test]
fn an_empty_store_goes_with_the_next_cleanup() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        let found = world.mount_line("/usr");
        world.writably(|| {
            world.makes_directory("/usr/.rokeep");
            world.set_mode("/usr/.rokeep", 0o700);
        });
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_no_store("/usr");
        assert_eq!(world.mount_line("/usr"), found);
        world.assert_no_session();
    }
}

/// A store that is not empty but for what is none of ours is not opened for that again and again.
#[test]
fn a_store_with_what_is_not_ours_is_let_be() {
    let world = Small::ext4();
    world.writably(|| {
        world.write("/usr/.rokeep/somebody-elses", b"");
        world.set_mode("/usr/.rokeep", 0o700);
    });
    let log = world.log_at("/dev/log");
    world.rokeep(["cleanup"]);
    assert!(log.datagrams().is_empty(), "nothing was remounted");
    assert!(world.inode("/usr/.rokeep/somebody-elses").is_some());
}

/// It was dropped, and that could not be written down. Its number may be another file's by now.
#[test]
fn a_record_without_an_alias_is_forgotten_where_nothing_is_to_be_dropped() {
    for held in [true, false] {
        let world = Small::ext4().installed("tool", "1", &[TOOL]);
        let holder = world.hold(Mapped(TOOL));
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.dpkg_replaces(TOOL);
        world.end();
        world.apt_dies();
        world.assert_is_ended();
        let journal = world.journal();
        if !held {
            drop(holder);
            world.rokeep(["cleanup"]).assert_code(0);
            world.assert_alias(TOOL, Alias::None);
        }
        let more = b"{\"mount\":\"/usr\",\"inode\":9999999,\"names\":[\"/usr/bin/never\"]}\n";
        world.write(JOURNAL, &[journal.as_slice(), more].concat());
        world.rokeep(["cleanup"]).assert_code(0);
        assert_eq!(world.records(), usize::from(held));
        let left: &[&str] = if held { &["journal.jsonl", "journal.spare"] } else { &[] };
        assert_eq!(names_in(&world, "/var/lib/rokeep"), left);
    }
}

#[test]
fn a_journal_that_was_never_written_goes() {
    for journal in [&b""[..], b"{\"rokeep_journal\":2}\n", b"{\"rokeep_jour"] {
        let world = Small::ext4();
        world.write(JOURNAL, journal);
        world.rokeep(["cleanup"]).assert_code(0);
        assert!(names_in(&world, "/var/lib/rokeep").is_empty());
    }
}

/// If rokeep were killed before it is, the mounts would go back under it, and what guards the files in use would go first.
#[test]
fn a_command_is_in_the_session_before_it_does_anything() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly)]);
    for _ in 0..10 {
        let run = world.rokeep_runs(&["--", "/tool/rokeep", "status", "--json"], b"");
        let session = Status::read(&run.stdout).expect("a status").session.expect("a session");
        let mut who: Vec<&str> = session.frontends.iter().map(|frontend| frontend.command.as_str()).collect();
        who.sort();
        assert_eq!(who, ["rokeep", "rokeep"]);
    }
}

/// The disk of /run is full, or broken: nobody can have the lock.
#[test]
fn who_cannot_even_begin_says_what_is_still_open() {
    let world = Small::ext4().installed("tool", "1", &[TOOL]);
    world.begin();
    world.removes("/run/rokeep/lock");
    world.makes_directory("/run/rokeep/lock");
    world.hook("pre-install-pkgs", Some(Vec::new())).assert_code(3).assert_says(&["closed when apt has ended"]);
    world.kill_rokeep();
    world.apt_dies();
    for words in [&["recover"][..], &["cleanup"], &["remount", "ro"]] {
        world.rokeep_given(words, b"").assert_code(3).assert_says(&["Still WRITABLE: /usr", "rokeep recover"]);
    }
    world.removes("/run/rokeep/lock");
    world.rokeep(["recover"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}
