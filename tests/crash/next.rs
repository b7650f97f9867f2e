//! What comes after a command that was struck.

use std::fmt;
use std::str::FromStr;

use crate::stage::{Stage, UPGRADE};

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
}

/// Those that are tried in turn. A recovery makes fewer changes than the last of these numbers.
pub fn in_turn() -> impl Iterator<Item = Next> {
    let number = (1..=30).cycle();
    number.flat_map(|number| [Next::Watch, Next::Recover, Next::Cleanup, Next::Apt, Next::Twice(number)])
}

/// So many kinds of them there are.
pub const KINDS: usize = 5;

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
                stage.recover_is_killed(number);
                drop(world.rokeep(["recover"]));
            }
            Next::Apt => {
                world.begin();
                world.protect(UPGRADE);
                stage.unpack();
                stage.closed_or_said(&world.end());
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
        }
    }
}

impl FromStr for Next {
    type Err = String;

    fn from_str(text: &str) -> Result<Next, String> {
        let twice = text.strip_prefix("twice-").and_then(|number| number.parse().ok()).map(Next::Twice);
        let others = [Next::Watch, Next::Recover, Next::Cleanup, Next::Apt];
        let found = twice.or_else(|| others.into_iter().find(|next| next.to_string() == text));
        found.ok_or_else(|| format!("{text:?} is none of watch, recover, cleanup, apt, twice-NUMBER"))
    }
}
