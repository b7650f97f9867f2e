//! What has to be so of an overlay, whatever was struck, and what a person and apt do with what they find of it.
//!
//! An overlay is there as a whole or not at all, and what is on the way between the two is written down, so that the next
//! package run finishes it. What packages wrote is never lost, unless that was asked for; and no mount is left writable.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use crate::rules;
use crate::stage::{Ground, PLUGIN, Stage};
use crate::support::small::{
    Access::{self, Writable},
    Run, THEIRS,
};

/// The mount that can never be writable.
pub const POINT: &str = "/opt";
/// What is below the overlay on it.
pub const LOWER: &str = "/var/lib/rokeep/overlay/opt/lower";
/// The settings that have a package run lay one.
pub const SETTINGS: &str = "/etc/rokeep/config.toml";
/// Where these have what is above it.
pub const WANTED_PLACE: &str = "/var/opt";

/// What packages wrote above it, once they did.
const ABOVE: [(&str, &str); 3] = [("/opt/bin/added", "a program"), (PLUGIN, "a plugin"), ("/opt/lib/note", "a note")];

const HOME: &str = "/var/lib/rokeep/overlay";
const USUAL_PLACE: &str = "/var/lib/rokeep/overlay/opt";
const RECORD: &str = "/var/lib/rokeep/overlay/opt/overlay.json";
const SYSTEMD: &str = "/etc/systemd";
/// Directories that live wholly above, and can be mounted by themselves.
const BOUND: [&str; 2] = ["/opt/bin", "/opt/lib"];
const UNITS_OF_BOUND: [&str; 6] = [
    "/etc/systemd/system/opt.mount",
    "/etc/systemd/system/opt-bin.mount",
    "/etc/systemd/system/opt-lib.mount",
    "/etc/systemd/system/local-fs.target.wants/opt.mount",
    "/etc/systemd/system/local-fs.target.wants/opt-bin.mount",
    "/etc/systemd/system/local-fs.target.wants/opt-lib.mount",
];
const UNITS: [&str; 3] = [
    "/etc/systemd/system/var-lib-rokeep-overlay-opt-lower.mount",
    "/etc/systemd/system/opt.mount",
    "/etc/systemd/system/local-fs.target.wants/opt.mount",
];

/// What becomes of an overlay in a play.
pub struct Overlay {
    /// What whoever called the command calls again.
    pub again: Cell<&'static [&'static str]>,
    pub above: Cell<Above>,
    /// The settings have each package run lay it.
    pub is_wanted: Cell<bool>,
}

impl Default for Overlay {
    fn default() -> Overlay {
        Overlay { again: Cell::new(&["recover"]), above: Cell::new(Above::Nothing), is_wanted: Cell::new(false) }
    }
}

/// What there has to be of what packages wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Above {
    /// They wrote nothing.
    Nothing,
    /// All of it.
    All,
    /// All of it or nothing: somebody has said that it may go.
    AllOrNothing,
}

// ── what must be so ─────────────────────────────────────────────────────────────────────────────────────────────────

/// At any moment.
pub fn is_laid_or_not(stage: &Stage) {
    if !stage.ground.is_sealed() {
        return;
    }
    let world = stage.world;
    let Found { is_written, is_laid, is_exposed, bound, units, .. } = found(stage);
    let is_there = is_laid || is_exposed || units != 0 || bound != 0;
    world.check(is_written || !is_there, "there is something of an overlay, and it is not written down");
    let [below, above, _] = UNITS.map(|path| std::fs::read_to_string(world.outside(path)).unwrap_or_default());
    world.check(
        !below.is_empty() || !above.contains("BindsTo="),
        "its unit is bound to one that is not there: the machine would mount nothing at all",
    );
    for (point, most) in [(POINT, 2), (LOWER, 1), (BOUND[0], 1), (BOUND[1], 1)] {
        let lines = lines(stage, point);
        world.check(lines.len() <= most, &format!("too much is mounted at {point}: {lines:?}"));
        let is_open = |line: &String| Access::of(line) == Writable && !(point != LOWER && world.has_session());
        world.check(!lines.iter().any(is_open), &format!("{point} is writable: {lines:?}"));
    }
    let is_shared = lines(stage, LOWER).iter().any(|line| line.contains(" shared:"));
    world.check(!is_shared, "what is mounted over the mount would appear over what is below it, too");
    let top = lines(stage, POINT).pop();
    // As after a start of the machine that mounted what is below alone.
    let is_to_be_finished = top.is_none() && is_written;
    let is_as_found = top.is_some_and(|line| without_numbers(&line) == without_numbers(&stage.line_found(POINT)));
    world.check(is_laid || is_as_found || is_to_be_finished, "what is below is not mounted in its place");
    let is_theirs_seen = ["bin", "lib"].iter().all(|name| world.outside(POINT).join(name).join(THEIRS).exists());
    let is_to_be_seen = stage.ground == Ground::Inhabited && !lines(stage, POINT).is_empty();
    world.check(!is_to_be_seen || is_theirs_seen, "something of what is below is not seen any more");
    status_says_so(stage);
    what_is_above_is_kept(stage);
}

fn status_says_so(stage: &Stage) {
    let Found { is_written, is_laid, is_retiring, is_to_be_bound, bound, units, .. } = found(stage);
    let kept = rules::all_that_is_kept(stage);
    let run = stage.world.runs("/tool/rokeep", &["overlay", "status"]);
    stage.world.check(rules::all_that_is_kept(stage) == kept, "to look at an overlay changes something");
    let is_all = match is_to_be_bound {
        true => !is_laid && bound == BOUND.len() && units == UNITS_OF_BOUND.len(),
        false => is_laid && units == UNITS.len(),
    };
    let is_well = !is_written || (!is_retiring && is_all && upper(stage, "").exists());
    stage.world.check(run.code == i32::from(!is_well), "status does not say how the overlay is");
    let says_none = run.stdout == "there is no overlay\n";
    stage.world.check(says_none != is_written, "status does not say whether there is an overlay");
}

fn what_is_above_is_kept(stage: &Stage) {
    let Found { is_laid, bound, .. } = found(stage);
    let is_shown = is_laid || bound == BOUND.len();
    let text_above = |path: &str| std::fs::read_to_string(upper(stage, path)).unwrap_or_default();
    let is_next_version = |path: &str, found: &str| path == PLUGIN && found == "another version\n";
    let there = ABOVE.iter().filter(|(path, text)| {
        let found = text_above(path);
        let is_it = found == *text || is_next_version(path, &found);
        let shown = std::fs::read_to_string(stage.world.outside(path)).unwrap_or_default();
        is_it && (shown == found || !is_shown)
    });
    let count = there.count();
    // What a later package run wrote is no part of what went.
    let is_gone = || {
        ABOVE
            .iter()
            .map(|(path, _)| (path, text_above(path)))
            .all(|(path, found)| found.is_empty() || is_next_version(path, &found))
    };
    let is_kept = match stage.overlay.above.get() {
        Above::Nothing => true,
        Above::All => count == ABOVE.len(),
        Above::AllOrNothing => count == ABOVE.len() || is_gone(),
    };
    stage.world.check(is_kept, "what packages wrote above it is lost, or not to be seen, or half of it");
}

/// The overlay is there, with all that belongs to it.
pub fn is_there(stage: &Stage) {
    let found = found(stage);
    let is_overlay = !found.is_to_be_bound && found.bound == 0;
    let is_there = matches!(found, Found { is_written: true, is_laid: true, is_exposed: true, units: 3, .. });
    stage.world.check(is_there && is_overlay, "the overlay is not there, or not all of it");
}

/// The same, but that the next start of the machine does not lay it.
pub fn retires(stage: &Stage) {
    let found = found(stage);
    let is_so = matches!(found, Found { is_retiring: true, is_laid: true, is_exposed: true, units: 1, .. });
    stage.world.check(is_so, "the overlay does not go with the next start of the machine, or went already");
}

/// It is there, and whoever could neither have it go nor stay says what to do.
pub fn is_said_to_be_half_way(stage: &Stage, run: &Run) {
    let is_said = run.stderr.contains("Taking that back failed too") || !found(stage).is_retiring;
    stage.world.check(found(stage).is_laid && is_said, "the overlay is half way to go, and nobody says so");
}

/// Directories of it are mounted one by one, and there is none.
pub fn is_bound(stage: &Stage) {
    let found = found(stage);
    let is_bound = found.is_to_be_bound && found.bound == BOUND.len() && !found.is_laid && !found.is_exposed;
    let is_whole = is_bound && found.units == UNITS_OF_BOUND.len();
    stage.world.check(is_whole, "the directories are not mounted, or not all of that");
}

/// Nothing was copied above, or it is not there any more.
pub fn has_no_copies(stage: &Stage) {
    let copies = [upper(stage, "/opt/bin").join(THEIRS), upper(stage, "/opt/lib").join(THEIRS)];
    let is_any = copies.iter().any(|path| path.exists()) || stage.world.outside(place(stage)).join("copies").exists();
    stage.world.check(!is_any, "what was copied is still there");
}

/// There is none, and nothing that would make one.
pub fn is_away(stage: &Stage) {
    let found = found(stage);
    let is_gone = !found.is_written && !found.is_laid && !found.is_exposed && found.bound == 0;
    let is_away = is_gone && !UNITS.iter().chain(&UNITS_OF_BOUND).any(|path| stage.world.outside(path).exists());
    stage.world.check(is_away, "something of the overlay is still there");
}

/// Whoever could not lay one has changed nothing, or says that he could not take it back.
pub fn is_as_it_was_or_said(stage: &Stage, run: &Run) {
    if run.stderr.contains("Taking it back failed too") {
        return;
    }
    is_away(stage);
    let is_left = stage.overlay.above.get() == Above::Nothing && upper(stage, "").exists();
    stage.world.check(!is_left, "something is above what has no overlay");
}

/// apt is stopped although the one that was missing may have been laid.
pub fn is_still_missing_or_said(stage: &Stage, run: &Run) {
    if run.stderr.contains("Taking it back failed too") {
        return;
    }
    let Found { is_laid, is_exposed, .. } = found(stage);
    let is_said = run.stderr.contains("nothing was changed but this:") || run.stderr.contains("; but ");
    let is_any = is_laid || is_exposed;
    stage.world.check(!is_any || is_said, "something was changed, and nobody says so");
    let is_laid_said = run.stderr.contains("/opt has its overlay now");
    stage.world.check(is_laid == is_laid_said, "it is not said whether the overlay is there now");
}

/// Whoever could not take it away can try again; or it is away, and something is left that takes up room.
pub fn is_there_or_said(stage: &Stage, run: &Run) {
    let Found { is_written, is_laid, .. } = found(stage);
    let is_said = run.stderr.contains("cannot remove");
    stage.world.check(is_written || is_said, "it is away, and it is said that it could not be taken away");
    let is_said = run.stderr.contains("has no overlay any more");
    stage.world.check(is_laid || is_said, "it is not laid any more, and nobody says so");
}

// ── who comes next ──────────────────────────────────────────────────────────────────────────────────────────────────

/// Somebody has packages write there, and none of them is what the play is about.
pub fn is_filled(stage: &Stage) {
    let world = stage.world;
    world.remount("rw,nodev", POINT).expect("an overlay can be written");
    ABOVE.iter().for_each(|(path, text)| world.write(path, text.as_bytes()));
    world.remount("ro,nodev", POINT).expect("nobody uses it");
    stage.overlay.above.set(Above::All);
}

/// The same words again, which have to do it now.
pub fn again(stage: &Stage) {
    let words = stage.overlay.again.get();
    let was_written = found(stage).is_written;
    let run = stage.world.rokeep_given(words, b"");
    let was_done = run.stderr.contains("there is no overlay over /opt") && !was_written;
    stage.world.check(run.code == 0 || was_done, "the same command, once more, does not do it");
    match words.get(1) {
        Some(&"disable") if words.contains(&"--at-next-start") => retires(stage),
        Some(&"enable") => is_there(stage),
        Some(&"disable") => is_away(stage),
        Some(&"bind") => is_bound(stage),
        _ => {}
    }
}

/// apt calls its first hook. Where there is neither an overlay nor anybody who wants one, it is stopped.
pub fn lets_apt_begin(stage: &Stage) -> bool {
    let world = stage.world;
    let run = world.hook("pre-invoke", None);
    if run.code == 0 {
        world.check(world.has_session(), "a session must be open now");
        let of_bound = if found(stage).is_to_be_bound { &BOUND[..] } else { &[] };
        let opened =
            stage.mounts().filter(|point| of_bound.is_empty() || *point != POINT).chain(of_bound.iter().copied());
        opened.into_iter().for_each(|point| world.assert_mount(point, Writable));
        return true;
    }
    let is_gone = stage.overlay.above.get() == Above::AllOrNothing && !upper(stage, "").exists();
    let is_nothing_to_write_to = stage.ground.is_sealed() && (is_gone || !found(stage).is_written);
    let may_be_stopped = found(stage).is_retiring || (is_nothing_to_write_to && !stage.overlay.is_wanted.get());
    world.check(run.code == 3 && may_be_stopped, "apt is stopped, and has no reason to be");
    false
}

/// What a person does in the end. Every other time he does not lay it first, if there is something to take away.
pub fn can_be_laid_and_taken_away(stage: &Stage) {
    if !stage.ground.is_sealed() {
        return;
    }
    let world = stage.world;
    if stage.overlay.is_wanted.get() {
        world.removes(SETTINGS);
    }
    let discard = || world.rokeep(["overlay", "disable", "--discard", POINT]).assert_code(0);
    let is_straight = stage.strike.is_some_and(|strike| strike.number % 2 == 1);
    if !(is_straight && found(stage).is_written) {
        if found(stage).is_written && !upper(stage, "").exists() {
            discard();
        }
        let place = place(stage);
        let enable = ["overlay", "enable", POINT, "--upper", place];
        world.rokeep(enable).assert_code(0);
        is_there(stage);
        is_laid_or_not(stage);
        let kept = rules::all_that_is_kept(stage);
        world.rokeep(enable).assert_code(0);
        let now = rules::all_that_is_kept(stage);
        world.check(now == kept, "to lay an overlay that is there changes something");
    }
    discard();
    is_away(stage);
    stage.overlay.above.set(Above::Nothing);
    is_laid_or_not(stage);
    for path in [HOME, WANTED_PLACE] {
        world.check(!world.outside(path).exists(), &format!("{path} is left"));
    }
    let units = walkdir::WalkDir::new(world.outside(SYSTEMD)).into_iter().filter_map(Result::ok);
    let units: Vec<_> = units.filter(|entry| !entry.file_type().is_dir()).collect();
    world.check(units.is_empty(), &format!("left behind: {units:?}"));
}

// ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────────

struct Found {
    is_written: bool,
    is_laid: bool,
    /// What is below has its own place.
    is_exposed: bool,
    /// It goes with the next start of the machine.
    is_retiring: bool,
    /// It is written down that directories are mounted in its place.
    is_to_be_bound: bool,
    /// So many are.
    bound: usize,
    /// So many files are there for the next start of the machine.
    units: usize,
}

fn found(stage: &Stage) -> Found {
    let is_there = |path: &str| stage.world.outside(path).symlink_metadata().is_ok();
    let record = std::fs::read_to_string(stage.world.outside(RECORD)).unwrap_or_default();
    let is_to_be_bound = record.contains("\"bound\"");
    let units = if is_to_be_bound { &UNITS_OF_BOUND[..] } else { &UNITS[..] };
    Found {
        is_retiring: record.contains("\"retires\""),
        is_to_be_bound,
        bound: BOUND.iter().filter(|point| !lines(stage, point).is_empty()).count(),
        is_written: is_there(RECORD),
        is_laid: lines(stage, POINT).pop().is_some_and(|line| line.contains(" - overlay ")),
        is_exposed: !lines(stage, LOWER).is_empty(),
        units: units.iter().filter(|path| is_there(path)).count(),
    }
}

/// What is mounted at a place, the topmost last.
fn lines(stage: &Stage, point: &str) -> Vec<String> {
    let table = stage.world.sandbox().mount_table();
    table.lines().filter(|line| line.split(' ').nth(4) == Some(point)).map(str::to_owned).collect()
}

/// A line of the mount table, without what is another each time the same is mounted: its numbers, and whom it shares with.
fn without_numbers(line: &str) -> Vec<&str> {
    let is_number = |at: usize, word: &str| at < 2 || word.starts_with("shared:");
    line.split(' ').enumerate().filter(|(at, word)| !is_number(*at, word)).map(|(_, word)| word).collect()
}

fn place(stage: &Stage) -> &'static str {
    if stage.overlay.is_wanted.get() { WANTED_PLACE } else { USUAL_PLACE }
}

/// Where a file of the mount is, if it is above.
fn upper(stage: &Stage, path: &str) -> PathBuf {
    let upper = Path::new(place(stage)).join("upper");
    stage.world.outside(upper.join(path.trim_start_matches(POINT).trim_start_matches('/')))
}
