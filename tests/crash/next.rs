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
}

impl Next {
    pub const ALL: [Next; 4] = [Next::Watch, Next::Recover, Next::Cleanup, Next::Apt];

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
        f.write_str(match self {
            Next::Watch => "watch",
            Next::Recover => "recover",
            Next::Cleanup => "cleanup",
            Next::Apt => "apt",
        })
    }
}

impl FromStr for Next {
    type Err = String;

    fn from_str(text: &str) -> Result<Next, String> {
        let found = Next::ALL.into_iter().find(|next| next.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is none of watch, recover, cleanup, apt"))
    }
}
