//! What comes after a command that was struck.

use std::fmt;
use std::str::FromStr;

use crate::overlay;
use crate::stage::{Ground, Stage, UPGRADE};

/// Who is the next to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The watcher, where there is one already; then what a start of the machine does.
    Watch,
    /// There is no watcher any more: what a start of the machine does.
    Recover,
    /// There is no watcher any more: somebody cleans up.
    Cleanup,
    /// There is no watcher any more: apt, once more, from its first hook to its last.
    Apt,
    /// What a start of the machine does, which is killed too, at the change of this number; then once more.
    Twice(usize),
    /// Whoever called it, with the same words.
    Again,
    /// The same, which is killed too, at the change of this number; then once more.
    AgainTwice(usize),
}

/// Those that are tried in turn. Neither a recovery nor what is done with an overlay makes more changes than the last of
/// these numbers.
pub fn in_turn(ground: Ground) -> impl Iterator<Item = Next> {
    let last = match ground {
        Ground::Whole | Ground::Divided => 30,
        Ground::Sealed | Ground::Inhabited => 90,
    };
    (1..=last).cycle().flat_map(move |number| kinds(ground, number))
}

/// Each kind of them.
pub fn kinds(ground: Ground, number: usize) -> Vec<Next> {
    match ground {
        Ground::Whole | Ground::Divided => {
            vec![Next::Watch, Next::Recover, Next::Cleanup, Next::Apt, Next::Twice(number)]
        }
        Ground::Sealed | Ground::Inhabited => vec![Next::Apt, Next::Again, Next::AgainTwice(number), Next::Watch],
    }
}

impl Next {
    /// It comes, and is gone when this returns. Whoever called the command that was struck is gone before.
    pub fn comes(self, stage: &Stage) {
        let world = stage.world;
        if self != Next::Watch {
            world.kill_rokeep();
        }
        world.apt_dies();
        stage.wait_for_the_others();
        match self {
            Next::Watch | Next::Recover => drop(world.rokeep(["recover"])),
            Next::Cleanup => drop(world.rokeep(["cleanup"])),
            Next::Twice(number) => {
                stage.is_killed_too(&["recover"], number);
                drop(world.rokeep(["recover"]));
            }
            Next::Again => overlay::again(stage),
            Next::AgainTwice(number) => {
                stage.is_killed_too(stage.overlay.again.get(), number);
                overlay::again(stage);
            }
            Next::Apt => {
                if overlay::lets_apt_begin(stage) {
                    world.protect(UPGRADE);
                    stage.unpack();
                    stage.closed_or_said(&world.end());
                }
                world.apt_dies();
                stage.wait_for_the_others();
            }
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Next::Watch => f.write_str("watch"),
            Next::Recover => f.write_str("recover"),
            Next::Cleanup => f.write_str("cleanup"),
            Next::Apt => f.write_str("apt"),
            Next::Twice(number) => write!(f, "twice-{number}"),
            Next::Again => f.write_str("again"),
            Next::AgainTwice(number) => write!(f, "again-twice-{number}"),
        }
    }
}

impl FromStr for Next {
    type Err = String;

    fn from_str(text: &str) -> Result<Next, String> {
        let number = |before| text.strip_prefix(before).and_then(|number: &str| number.parse().ok());
        let twice = number("twice-").map(Next::Twice).or_else(|| number("again-twice-").map(Next::AgainTwice));
        let others = [Next::Watch, Next::Recover, Next::Cleanup, Next::Apt, Next::Again];
        let found = twice.or_else(|| others.into_iter().find(|next| next.to_string() == text));
        found.ok_or_else(|| {
            format!("{text:?} is none of watch, recover, cleanup, apt, twice-NUMBER, again, again-twice-NUMBER")
        })
    }
}
