//! System calls, as the crash world sees them: which of them leave something behind, which of them can be refused, and at
//! which of them something is to happen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a system call does for others than its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Something is different afterwards, and stays so when the caller is dead.
    Lasting,
    /// Nothing of it outlives the caller, but it may be refused, and then what is built on it is not there.
    Support,
    /// It asks, or waits, or is about the caller's memory.
    None,
}

/// One that was called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// What it is called; the number of one that is of no interest.
    pub name: String,
    /// With its arguments, for a person.
    pub text: String,
    /// What it does.
    pub effect: Effect,
}

/// Among which calls a number counts. All of them are counted in the order in which they are entered, by whichever thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Among {
    /// [`Effect::Lasting`].
    Changes,
    /// Those, and [`Effect::Support`].
    Refusable,
    /// All of them.
    All,
}

impl Among {
    /// Whether it counts.
    pub fn has(self, effect: Effect) -> bool {
        match self {
            Among::Changes => effect == Effect::Lasting,
            Among::Refusable => effect != Effect::None,
            Among::All => true,
        }
    }
}

/// What happens there, before the kernel has done anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blow {
    /// SIGKILL.
    Kill,
    /// This call is not made, and answers this error number.
    Refuse(i32),
    /// The same, and so does every later one of the same kind.
    RefuseAll(i32),
}

/// Where what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// Among which calls it is counted.
    pub among: Among,
    /// Which of them, from 1.
    pub number: usize,
    /// What happens.
    pub blow: Blow,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Trace {
    /// All that was called, where nothing was to happen.
    pub calls: Vec<Call>,
    /// The call at which it happened; none where there was no such call.
    pub struck: Option<Call>,
}

/// Where the tracer leaves a [`Trace`], inside the world.
pub const TRACE: &str = "/tool/trace.json";

/// What is there, inside the world, while a command is paused.
pub const PAUSED: &str = "/tool/paused";

/// What has it go on.
pub const GO_ON: &str = "/tool/go-on";

impl fmt::Display for Among {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Among::Changes => "change",
            Among::Refusable => "refusable",
            Among::All => "call",
        })
    }
}
