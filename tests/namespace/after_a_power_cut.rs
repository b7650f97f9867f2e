//! What a power cut may leave, one thing at a time: `tests/power_cut` is where they were found, with everything else that it
//! may leave.

use crate::support::small::{Access::ReadOnly, Small};

const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";

fn with_an_empty_store() -> Small {
    let world = Small::ext4();
    world.writably(|| {
        world.makes_directory("/usr/.rokeep");
        world.set_mode("/usr/.rokeep", 0o700);
    });
    world
}

/// It had just been made.
#[test]
fn a_store_without_anything_in_it_is_taken_away() {
    let world = with_an_empty_store();
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

#[test]
fn a_store_with_a_proof_of_writing_alone_is_taken_away() {
    let world = with_an_empty_store();
    world.writably(|| world.write("/usr/.rokeep/proof", b"yes\n"));
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
}

/// By then another file may have the number of one of them.
#[test]
fn records_of_what_is_not_there_are_forgotten_and_no_mount_is_opened_for_that() {
    let world = Small::ext4();
    let log = world.log_at("/run/systemd/journal/socket");
    world.write(
        JOURNAL,
        b"{\"rokeep_journal\":2}\n{\"mount\":\"/usr\",\"inode\":9999,\"names\":[\"/usr/bin/never\"]}\n",
    );
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(world.journal().is_empty());
    assert_eq!(log.changes(), []);
}
