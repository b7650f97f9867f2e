//! One line of the comparison: the same thing done by several, and what each took for it.

use super::{Aim, Cost};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The loop in C that does the least that has to be done.
    Floor,
    /// The same, and what nobody can leave out who has to decide about each alias.
    FloorOfAliases,
    /// The program under test.
    Rokeep,
    /// A few processes for each file.
    Shell,
    /// `fuser FILE`, for each file.
    Fuser,
    /// `lsof +L1`, once.
    Lsof,
    /// `needrestart -b`, once.
    Needrestart,
}

impl Who {
    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Who::Floor => "floor",
            Who::FloorOfAliases => "second floor",
            Who::Rokeep => "rokeep",
            Who::Shell => "the shell way",
            Who::Fuser => "fuser for each",
            Who::Lsof => "lsof +L1",
            Who::Needrestart => "needrestart -b",
        }
    }
}

/// The same thing, done by several in turns.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was to be done.
    pub what: String,
    /// Who did it.
    pub contestants: Vec<Contestant>,
    /// What rokeep is meant to stay below.
    pub aims: Vec<Aim>,
}

impl Row {
    /// What one of them took.
    pub fn of(&self, who: Who) -> Option<&Contestant> {
        self.contestants.iter().find(|contestant| contestant.who == who)
    }

    /// By the medians, how many times as long as another one it took.
    pub fn ratio(&self, who: Who, to: Who) -> Option<f64> {
        Some(self.of(who)?.seconds().median / self.of(to)?.seconds().median)
    }
}

/// What one of them took, round by round.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Who.
    pub who: Who,
    /// For all that was to be done.
    pub costs: Vec<Cost>,
    /// If only some of it was done, and the costs are multiplied.
    pub sample: Option<Sample>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What was done.
    pub tried: usize,
    /// What there is to do.
    pub of: usize,
}

impl Contestant {
    /// Who did all of it.
    pub fn new(who: Who, costs: Vec<Cost>) -> Contestant {
        Contestant { who, costs, sample: None }
    }

    /// Who did some of it: `costs` are of that alone.
    pub fn sampled(who: Who, costs: &[Cost], sample: Sample) -> Contestant {
        let factor = sample.of as f64 / sample.tried as f64;
        let costs = costs.iter().map(|cost| cost.times(factor)).collect();
        Contestant { who, costs, sample: (sample.tried < sample.of).then_some(sample) }
    }

    /// On the clock.
    pub fn seconds(&self) -> Spread {
        Spread::of(&self.costs, |cost| cost.seconds)
    }

    /// Of a processor, in the kernel.
    pub fn kernel_seconds(&self) -> Spread {
        Spread::of(&self.costs, |cost| cost.system_seconds)
    }

    /// The most memory that it had in any round, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.costs.iter().map(|cost| cost.peak_kib).max().unwrap_or(0)
    }
}

/// The least, the median and the most of some values.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// As many are less as are more.
    pub median: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of one thing of each cost.
    pub fn of(costs: &[Cost], what: impl Fn(&Cost) -> f64) -> Spread {
        Spread::of_values(costs.iter().map(what).collect())
    }

    /// Of these.
    pub fn of_values(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread { least: at(0), median: at(values.len() / 2), most: at(values.len().saturating_sub(1)) }
    }
}
