//! The commands that lay an overlay and take it away, and the first hook of a package run that lays one.

use super::begin;
use crate::overlay::{self, Above, LOWER, POINT, SETTINGS, WANTED_PLACE};
use crate::stage::Stage;
use crate::support::small::Run;

/// A person does, for the first time.
pub fn enable(stage: &Stage) -> Run {
    stage.world.is_shared(POINT);
    is_laid_by(stage, &["overlay", "enable", POINT])
}

/// A person has what was taken away back.
pub fn enable_what_was_kept(stage: &Stage) -> Run {
    with_an_overlay(stage);
    stage.world.rokeep(["overlay", "disable", POINT]).assert_code(0);
    is_laid_by(stage, &["overlay", "enable", POINT])
}

/// As after a start of the machine, which mounts what is below to its own place alone.
pub fn disable(stage: &Stage) -> Run {
    with_an_overlay(stage);
    [POINT, POINT].iter().for_each(|point| stage.world.unmount(point));
    stage.world.rokeep(["overlay", "enable", POINT]).assert_code(0);
    is_taken_away_by(stage, &["overlay", "disable", POINT])
}

/// What was written above it is not wanted any more.
pub fn disable_and_discard(stage: &Stage) -> Run {
    with_an_overlay(stage);
    stage.overlay.above.set(Above::AllOrNothing);
    let run = is_taken_away_by(stage, &["overlay", "disable", "--discard", POINT]);
    // Whatever was discarded by then, nobody has to say that again.
    stage.overlay.again.set(&["overlay", "disable", POINT]);
    run
}

/// The machine is to do without from its next start on.
pub fn retire(stage: &Stage) -> Run {
    with_an_overlay(stage);
    let run = is_called(stage, &["overlay", "disable", "--at-next-start", POINT]);
    if run.code == 0 {
        overlay::retires(stage);
    } else if run.stderr.contains("nothing was changed") {
        overlay::is_there(stage);
    } else if !stage.was_killed(&run) {
        overlay::is_said_to_be_half_way(stage, &run);
    }
    run
}

/// It is not wanted any more, and the overlay is.
pub fn reset(stage: &Stage) -> Run {
    with_an_overlay(stage);
    stage.overlay.above.set(Above::AllOrNothing);
    let run = is_called(stage, &["overlay", "reset", "--discard", POINT]);
    if run.code == 0 {
        overlay::is_there(stage);
    }
    run
}

/// What was written above it is to be there without it.
pub fn bind(stage: &Stage) -> Run {
    with_an_overlay(stage);
    is_bound_by(stage, &["overlay", "bind", POINT])
}

/// The same, where something is below in each directory that what was written is in.
pub fn bind_copies(stage: &Stage) -> Run {
    with_an_overlay(stage);
    let run = is_bound_by(stage, &["overlay", "bind", POINT, "--copy", "bin", "lib"]);
    stage.nobody_copies();
    if run.stderr.contains("The overlay is as it was") {
        overlay::has_no_copies(stage);
    }
    run
}

fn is_bound_by(stage: &Stage, words: &'static [&'static str]) -> Run {
    let run = is_called(stage, words);
    if run.code == 0 {
        overlay::is_bound(stage);
    } else if run.stderr.contains("The overlay is as it was") {
        overlay::is_there(stage);
    }
    run
}

/// And back.
pub fn enable_in_place_of_directories(stage: &Stage) -> Run {
    with_an_overlay(stage);
    stage.world.rokeep(["overlay", "bind", POINT]).assert_code(0);
    let run = is_called(stage, &["overlay", "enable", POINT]);
    if run.code == 0 {
        overlay::is_there(stage);
    } else if run.stderr.contains("mounted as before") {
        overlay::is_bound(stage);
    }
    run
}

/// The settings want one that there never was.
pub fn begin_where_it_is_wanted(stage: &Stage) -> Run {
    stage.world.is_shared(POINT);
    stage.overlay.is_wanted.set(true);
    let settings = format!("[managed.\"{POINT}\"]\nmode = \"overlay\"\nupper = \"{WANTED_PLACE}\"\n");
    stage.world.write(SETTINGS, settings.as_bytes());
    begins_or_says(stage)
}

/// Somebody has unmounted it.
pub fn begin_where_it_is_missing(stage: &Stage) -> Run {
    with_an_overlay(stage);
    [POINT, LOWER].iter().for_each(|point| stage.world.unmount(point));
    begins_or_says(stage)
}

fn begins_or_says(stage: &Stage) -> Run {
    let run = begin(stage);
    if run.code == 3 {
        overlay::is_still_missing_or_said(stage, &run);
    }
    run
}

fn with_an_overlay(stage: &Stage) {
    stage.world.is_shared(POINT);
    stage.world.rokeep(["overlay", "enable", POINT]).assert_code(0);
    overlay::is_filled(stage);
}

fn is_laid_by(stage: &Stage, words: &'static [&'static str]) -> Run {
    let run = is_called(stage, words);
    if run.code == 0 {
        overlay::is_there(stage);
    } else if !stage.was_killed(&run) {
        overlay::is_as_it_was_or_said(stage, &run);
    }
    run
}

fn is_taken_away_by(stage: &Stage, words: &'static [&'static str]) -> Run {
    let run = is_called(stage, words);
    if run.code == 0 {
        overlay::is_away(stage);
    } else if !stage.was_killed(&run) {
        overlay::is_there_or_said(stage, &run);
    }
    run
}

fn is_called(stage: &Stage, words: &'static [&'static str]) -> Run {
    stage.overlay.again.set(words);
    let run = stage.person_calls(words);
    stage.heard(&run);
    run
}
