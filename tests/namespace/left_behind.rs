//! What one that was killed, or was refused something, left behind, and that it goes. The crash world found each of these;
//! here each is made by hand.

use crate::support::small::Small;

const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";
const SESSION: &str = "/run/rokeep/session.json";

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
        for path in [JOURNAL, SESSION] {
            world.write(format!("{path}.new"), b"{\"half\":");
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
