//! The commands that are struck: what comes before each, and how whoever called it goes on.
//!
//! Each answers what the command said. Where it was killed or failed, its caller does what a real one does then; where it
//! succeeded, the caller relies on that.

pub mod overlay;

use crate::stage::{ARCHIVE, Stage, TOOL, UPGRADE};
use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Run,
};

/// A command, from what comes before it to what its caller does with the answer.
pub type Command = fn(&Stage) -> Run;

/// What they are called.
pub const NAMES: [&str; 29] = [
    "begin",
    "protect",
    "end",
    "dpkg_within_a_run",
    "bare_dpkg_begins",
    "bare_dpkg_is_done",
    "cleanup",
    "release",
    "recover",
    "watch",
    "run",
    "remount_rw",
    "remount_rw_for_a_time",
    "remount_ro",
    "protect_where_links_do_not_reach",
    "end_where_links_do_not_reach",
    "cleanup_where_links_do_not_reach",
    "recover_where_links_do_not_reach",
    "overlay_enable",
    "overlay_enable_what_was_kept",
    "overlay_disable",
    "overlay_disable_and_discard",
    "overlay_retire",
    "overlay_reset",
    "overlay_bind",
    "overlay_bind_copies",
    "overlay_enable_in_place_of_directories",
    "begin_where_an_overlay_is_wanted",
    "begin_where_an_overlay_is_missing",
];

/// apt stops where this fails.
pub fn begin(stage: &Stage) -> Run {
    let run = stage.world.hook_under(&stage.traced(), "pre-invoke");
    stage.heard(&run);
    if run.code == 0 {
        stage.assert_open();
        stage.world.protect(UPGRADE);
        goes_on(stage);
    } else if !stage.was_killed(&run) {
        stage.closed_or_said(&run);
    }
    run
}

/// apt starts no dpkg where this fails, and calls no other hook.
pub fn protect(stage: &Stage) -> Run {
    stage.world.begin();
    let run = stage.world.protect_under(&stage.traced(), UPGRADE);
    stage.heard(&run);
    if run.code == 0 {
        goes_on(stage);
    } else if !stage.was_killed(&run) {
        stage.closed_or_said(&run);
    }
    run
}

/// dpkg does what it was to do, and apt calls its last hook.
fn goes_on(stage: &Stage) {
    stage.unpack();
    let run = stage.world.end();
    stage.closed_or_said(&run);
}

pub fn end(stage: &Stage) -> Run {
    stage.world.begin();
    stage.world.protect(UPGRADE);
    stage.unpack();
    let run = stage.world.hook_under(&stage.traced(), "post-invoke");
    stage.heard(&run);
    if !stage.was_killed(&run) {
        stage.world.check(run.code == 0, "a good upgrade must not fail because of us");
        stage.closed_or_said(&run);
    }
    run
}

/// dpkg ends where this fails, and apt calls its last hook.
pub fn dpkg_within_a_run(stage: &Stage) -> Run {
    stage.world.begin();
    stage.world.protect(UPGRADE);
    stage.comes_into_use_late();
    let words = [&["/tool/dpkg", "runs"][..], &stage.traced()].concat();
    let run = stage.world.hook_under(&words, "dpkg-pre-invoke");
    stage.heard(&run);
    stage.world.check(run.code == 0 || stage.was_killed(&run), "a run that may go well without must not be stopped");
    match run.code {
        0 => goes_on(stage),
        _ => stage.closed_or_said(&stage.world.end()),
    }
    run
}

/// dpkg ends where this fails, and calls no other hook.
pub fn bare_dpkg_begins(stage: &Stage) -> Run {
    let dpkg = stage.world.dpkg("install", &["-i", ARCHIVE]);
    let run = dpkg.hook_under(&stage.traced(), "dpkg-pre-invoke");
    stage.heard(&run);
    if run.code == 0 {
        stage.assert_open();
        stage.unpack();
        stage.closed_or_said(&dpkg.is_done());
    } else if !stage.was_killed(&run) {
        stage.closed_or_said(&run);
    }
    run
}

pub fn bare_dpkg_is_done(stage: &Stage) -> Run {
    let dpkg = stage.world.dpkg("install", &["-i", ARCHIVE]);
    dpkg.begins();
    stage.unpack();
    let run = dpkg.hook_under(&stage.traced(), "dpkg-post-invoke");
    stage.heard(&run);
    if !stage.was_killed(&run) {
        stage.world.check(run.code == 0, "a good run must not fail because of us");
        stage.closed_or_said(&run);
    }
    run
}

/// What was replaced and in use is so no more.
pub fn cleanup(stage: &Stage) -> Run {
    a_whole_run(stage);
    stage.nobody_uses_anything();
    closes(stage, &["cleanup"])
}

/// Somebody is about to remove rokeep.
pub fn release(stage: &Stage) -> Run {
    a_whole_run(stage);
    stage.nobody_uses_anything();
    closes(stage, &["release"])
}

/// apt and its watcher were killed in the middle.
pub fn recover(stage: &Stage) -> Run {
    dies_in_the_middle(stage);
    closes(stage, &["recover"])
}

/// The same, but there is a watcher, which has been waiting for that.
pub fn watch(stage: &Stage) -> Run {
    let apt = dies_in_the_middle(stage);
    closes(stage, &["watch", &apt.to_string()])
}

pub fn run(stage: &Stage) -> Run {
    let run = stage.person_calls(&["run", "--", "/tool/holder", "dpkg", "replace", TOOL]);
    stage.heard(&run);
    if !stage.was_killed(&run) {
        // Its watcher drops what it could not drop itself, and opens a mount for that.
        stage.wait_for_the_others();
    }
    if run.code == 0 {
        stage.closed_or_said(&run);
        let replaced = stage.files().any(|file| file.path == TOOL && file.is_replaced);
        stage.world.check(replaced, "the command was not run");
    } else if !stage.was_killed(&run) {
        stage.closed_or_said(&run);
    }
    run
}

/// A person works on the mounts, and closes them.
pub fn remount_rw(stage: &Stage) -> Run {
    let run = stage.person_calls(&["remount", "rw"]);
    stage.heard(&run);
    if run.code == 0 {
        stage.assert_open();
        stage.world.dpkg_replaces(TOOL);
    } else if run.code == 3 {
        stage.closed_or_said(&run);
    }
    run
}

/// The same, for a while, which somebody has to wait for then.
pub fn remount_rw_for_a_time(stage: &Stage) -> Run {
    let run = stage.person_calls(&["remount", "rw", "--for", "1s"]);
    stage.heard(&run);
    if run.code == 0 {
        stage.assert_open();
        stage.world.dpkg_replaces(TOOL);
    } else if run.code == 3 {
        stage.closed_or_said(&run);
    }
    run
}

/// A person has worked on the mounts.
pub fn remount_ro(stage: &Stage) -> Run {
    stage.world.rokeep(["remount", "rw"]).assert_code(0);
    stage.world.dpkg_replaces(TOOL);
    closes(stage, &["remount", "ro"])
}

fn closes(stage: &Stage, words: &[&str]) -> Run {
    let run = stage.person_calls(words);
    stage.heard(&run);
    if !stage.was_killed(&run) {
        stage.closed_or_said(&run);
    }
    run
}

fn a_whole_run(stage: &Stage) {
    stage.world.begin();
    stage.world.protect(UPGRADE);
    goes_on(stage);
    stage.world.apt_dies();
    stage.wait_for_the_others();
    stage.world.assert_mount("/usr", ReadOnly);
    stage.world.assert_mount("/opt", ReadOnlyMount);
}

/// Answers apt's process id.
fn dies_in_the_middle(stage: &Stage) -> u32 {
    stage.world.begin();
    stage.world.protect(UPGRADE);
    stage.unpack();
    let apt = stage.world.status().session.expect("a session").frontends.first().expect("an apt").pid;
    stage.world.kill_rokeep();
    stage.world.apt_dies();
    apt
}
