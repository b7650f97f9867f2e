//! Times: those of files say nothing, and what is to last for a while lasts by a clock that nobody sets. What becomes of
//! somebody who does set one is in the `guest` world.

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::{TimeSpec, TimeValLike};

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::Upgrade,
    Small,
    State::Mapped,
};

const TOOL: &str = "/usr/bin/tool";
const DATA: &str = "/usr/lib/data";

const YEAR: i64 = 365 * 24 * 60 * 60;

/// From before there was Unix, from the day of the first, and from when nobody of us is left.
#[test]
fn files_from_any_year() {
    for second in [-YEAR, 0, 100 * YEAR] {
        let world = Small::ext4().installed("tool", "1", &[TOOL, DATA]);
        let time = TimeSpec::seconds(second);
        let set =
            |path| utimensat(nix::fcntl::AT_FDCWD, &world.outside(path), &time, &time, UtimensatFlags::FollowSymlink);
        world.writably(|| [TOOL, DATA].iter().for_each(|path| set(path).expect("its times")));
        let holder = world.hold(Mapped(TOOL));
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        [TOOL, DATA].iter().for_each(|path| world.dpkg_replaces(path));
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(TOOL, Alias::Kept);
        world.assert_alias(DATA, Alias::None);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_no_store("/usr");
    }
}

/// The machine slept, or the one who should have waited was killed.
#[test]
fn a_time_that_came_while_nobody_waited_for_it() {
    let world = Small::ext4();
    world.rokeep(["remount", "rw", "--for", "1h"]).assert_code(0);
    world.kill_rokeep();
    let cleanup_after = |seconds: u32| {
        let seconds = seconds.to_string();
        world.rokeep_runs_under("/tool/holder", &["later", &seconds, "/tool/rokeep", "cleanup"]).assert_code(0)
    };
    cleanup_after(3500).assert_says(&["it goes back by itself in"]);
    world.assert_mount("/usr", Writable);
    cleanup_after(3700);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}
