//! The course of it: who comes and goes, the operation, the rules; and at last the end.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::acts;
use crate::holders::{self, Holder, Use};
use crate::model::{Came, Model};
use crate::operations::{self, Operation, Says, Step};
use crate::rules::{self, Outcome};
use crate::support::debian::Run;
use crate::support::dice::Dice;
use crate::support::sandbox::Access;
use crate::systems::Systems;

/// After so many operations all of /usr is compared.
const FROM_TIME_TO_TIME: u64 = 20;

/// No more than so many use files at a time.
const ENOUGH: usize = 12;

pub struct Soak {
    seed: u64,
    systems: Arc<Systems>,
    model: Model,
    /// What was done last, and what was said.
    last: VecDeque<String>,
}

/// Whoever comes or goes while an operation is on, so long after it began. This alone is not the same each time.
struct Meanwhile(Duration, Change);

enum Change {
    Comes(Use),
    /// One of those that are there.
    Goes(u64),
    Nothing,
}

impl Soak {
    pub fn start(seed: u64) -> Result<Soak> {
        println!("ROKEEP_SOAK_SEED={seed}");
        Ok(Soak { seed, systems: Arc::new(Systems::start()?), model: Model::default(), last: VecDeque::new() })
    }

    /// Every operation, and the end.
    pub fn through(mut self, operations: &[u64]) -> Result<()> {
        let began = Instant::now();
        for (done, number) in (1..).zip(operations) {
            self.play(*number, done).with_context(|| self.story(&format!("operation {number}")))?;
            if done % 100 == 0 {
                println!("{done} operations, {:.0} s", began.elapsed().as_secs_f64());
            }
        }
        self.end().with_context(|| self.story("the end"))?;
        self.tell(began.elapsed());
        Ok(())
    }

    fn play(&mut self, number: u64, done: u64) -> Result<()> {
        // A function of the seed and the number, so that any of them can be left out.
        let mut dice = Dice::new(Dice::new(self.seed).roll() ^ Dice::new(number).roll());
        self.come_and_go(&mut dice)?;
        let operation = operations::operation(&mut dice);
        let meanwhile = [(); 2].map(|()| {
            let change = match dice.below(6) {
                0 | 1 => Change::Comes(holders::any(&mut dice)),
                2 => Change::Goes(dice.roll()),
                _ => Change::Nothing,
            };
            Meanwhile(Duration::from_millis(dice.below(300)), change)
        });
        self.note(format!("{number}: {operation}"));
        let outcome = self.perform(&operation, meanwhile)?;
        let count = self.model.counts.operations.entry(operation.kind).or_default();
        count.0 += 1;
        count.1 += u32::from(outcome == Outcome::Failed);
        rules::hold(&mut self.model, &self.systems, outcome)?;
        if done % FROM_TIME_TO_TIME == 0 {
            rules::hold_on_the_whole(&mut self.model, &self.systems)?;
        }
        Ok(())
    }

    /// Some end, others begin. If the last that kept /usr open is gone, one cleanup puts it right.
    fn come_and_go(&mut self, dice: &mut Dice) -> Result<()> {
        for _ in 0..dice.below(3) {
            if !self.model.holders.is_empty() {
                let which = dice.below(self.model.holders.len() as u64) as usize;
                self.goes(which)?;
            }
        }
        if dice.below(2) == 0
            && let Some(writer) = self.model.holders.iter().position(Holder::writes)
        {
            self.goes(writer)?;
        }
        self.comes_right()?;
        for _ in 0..dice.below(3) {
            self.comes(holders::any(dice), Came::Before)?;
        }
        Ok(())
    }

    fn goes(&mut self, which: usize) -> Result<()> {
        let holder = self.model.holders.swap_remove(which);
        self.note(format!("{} of {} ends ({})", holder.state, holder.path, holder.pid));
        self.model.somebody_let_go = true;
        holder.end(&self.systems.here)
    }

    fn comes(&mut self, what: Use, came: Came) -> Result<()> {
        let taken = what.state == "mounted" && self.model.holders.iter().any(|holder| holder.state == "mounted");
        if taken || self.model.holders.len() >= ENOUGH {
            return Ok(());
        }
        match what.begin(&self.systems.here, came)? {
            Some(holder) => self.is_there(holder),
            None => self.model.counts.came_too_late += 1,
        }
        Ok(())
    }

    fn is_there(&mut self, holder: Holder) {
        self.note(format!("{} of {} begins ({}, {:?})", holder.state, holder.path, holder.pid, holder.came));
        *self.model.counts.holders.entry(holder.state.clone()).or_default() += 1;
        self.model.holders.push(holder);
        self.model.counts.most_holders = self.model.counts.most_holders.max(self.model.holders.len());
    }

    fn comes_right(&mut self) -> Result<()> {
        let here = &self.systems.here;
        let lost = !here.deleted_files()?.is_empty();
        if here.usr()? == self.model.usr(lost) {
            return Ok(());
        }
        let run = here.run("rokeep", &["cleanup"])?;
        let is_excused = self.model.may_be_lost_out_of_sight() && here.usr()? == Access::ReadOnlyMount;
        let is_right = here.usr()? == self.model.usr(lost);
        self.model.somebody_let_go = false;
        ensure!(is_right || is_excused, "cleanup: who kept /usr open is gone, and it is {:?}: {run:?}", here.usr()?);
        Ok(())
    }

    fn perform(&mut self, operation: &Operation, meanwhile: [Meanwhile; 2]) -> Result<Outcome> {
        let mut meanwhile = Vec::from(meanwhile);
        for debian in [&self.systems.here, &self.systems.there] {
            acts::tell(debian, &operation.acts)?;
        }
        if let Some(act) = operation.acts.first() {
            let what = act.what.to_string();
            let what = what.split(' ').next().unwrap_or_default().to_owned();
            *self.model.counts.acts.entry(what).or_default() += 1;
        }
        let known: Vec<u32> = self.model.holders.iter().map(|holder| holder.pid).collect();
        let mut outcome = Outcome::Done;
        for step in &operation.steps {
            if step.says == Says::AfterTheEnd {
                self.everybody_ends()?;
            }
            let (here, there) = self.step(step, std::mem::take(&mut meanwhile))?;
            let code = there.as_ref().map_or(here.code, |run| run.code);
            outcome = if code == 0 { outcome } else { Outcome::Failed };
            self.note(format!("{:?}: {}\n{}{}", step.here, here.code, here.stdout, here.stderr));
            // dpkg outlives an apt that is killed, and rokeep both.
            self.systems.there.settled_without(&["apt-get", "dpkg"])?;
            self.systems.here.settled_without(&["apt-get", "dpkg", "rokeep"])?;
            for holder in Holder::of_scripts(&self.systems.here)? {
                self.is_there(holder);
            }
            match (step.says, there) {
                (Says::TheSame, Some(there)) => {
                    ensure!(here.code == there.code, "code: {} here, {} there: {there:#?}", here.code, there.code);
                }
                (Says::TheSame | Says::Done | Says::AfterTheEnd, _) => ensure!(here.code == 0, "code: {}", here.code),
                (Says::WhetherAllIsWell, _) => {
                    let expected = i32::from(self.systems.here.usr()? != Access::ReadOnly);
                    ensure!(here.code == expected, "code: {}, not {expected}", here.code);
                }
            }
        }
        self.model.is_held_by_hand = operation.by_hand.unwrap_or(self.model.is_held_by_hand);
        if outcome == Outcome::Failed {
            let new = self.model.holders.iter().map(|holder| holder.pid).filter(|pid| !known.contains(pid));
            self.model.came_while_it_failed.extend(new);
        }
        Ok(outcome)
    }

    /// Runs it on both systems, while others come and go.
    fn step(&mut self, step: &Step, meanwhile: Vec<Meanwhile>) -> Result<(Run, Option<Run>)> {
        let systems = Arc::clone(&self.systems);
        thread::scope(|scope| {
            let running = scope.spawn(|| systems.run(&step.here, step.there.as_deref()));
            for Meanwhile(after, change) in meanwhile {
                match change {
                    Change::Nothing => continue,
                    Change::Comes(_) | Change::Goes(_) => thread::sleep(after),
                }
                match change {
                    Change::Comes(what) => self.comes(what, Came::During)?,
                    Change::Goes(which) if !self.model.holders.is_empty() => {
                        self.goes((which % self.model.holders.len() as u64) as usize)?;
                    }
                    Change::Goes(_) | Change::Nothing => {}
                }
            }
            running.join().expect("it does not panic")
        })
    }

    fn everybody_ends(&mut self) -> Result<()> {
        while !self.model.holders.is_empty() {
            self.goes(0)?;
        }
        Ok(())
    }

    /// Nobody uses anything any more: one cleanup, and nothing is left; then nothing of rokeep's at all.
    fn end(&mut self) -> Result<()> {
        let systems = Arc::clone(&self.systems);
        self.everybody_ends()?;
        let cleanup = systems.here.run("rokeep", &["cleanup"])?;
        ensure!(cleanup.code == 0, "the end: {cleanup:?}");
        rules::hold_in_the_end(&systems)?;
        // Half of the time nothing is left that an alias could wait for.
        if self.seed % 2 == 0 {
            let outcome =
                self.perform(&operations::purge_all(), [(); 2].map(|()| Meanwhile(Duration::ZERO, Change::Nothing)))?;
            ensure!(outcome == Outcome::Done, "the end: they cannot be purged");
            rules::hold_in_the_end(&systems)?;
            ensure!(!systems.here.has_store(), "the end: there is a store, with {:?}", systems.here.aliases()?);
        }
        let release = systems.here.run("rokeep", &["release"])?;
        ensure!(release.code == 0, "release: {release:?}");
        rules::hold_after_release(&systems)
    }

    fn note(&mut self, text: String) {
        if self.last.len() == 60 {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }

    /// What was done last, and how to have it again.
    fn story(&self, when: &str) -> String {
        let mut story = String::from("\n");
        self.last.iter().for_each(|line| {
            let _ = writeln!(story, "{}", line.trim_end());
        });
        let _ = write!(
            story,
            "\n{when}, seed {seed}. Again: ROKEEP_SOAK_SEED={seed} [ROKEEP_SOAK_ONLY=NUMBERS] make soak",
            seed = self.seed
        );
        story
    }

    fn tell(&self, took: Duration) {
        let counts = &self.model.counts;
        let (all, failed) = counts.operations.values().fold((0, 0), |(all, failed), one| (all + one.0, failed + one.1));
        println!("{all} operations, {failed} of them failed as without rokeep, in {:.0} s", took.as_secs_f64());
        counts.operations.iter().for_each(|(kind, (all, failed))| println!("    {kind}: {all}, failed: {failed}"));
        println!("acts of maintainer scripts: {:?}", counts.acts);
        println!(
            "holders: {:?}, at most {} at a time; {} came too late",
            counts.holders, counts.most_holders, counts.came_too_late
        );
        println!("a replaced file kept after {} operations, {} in all", counts.kept.0, counts.kept.1);
        println!(
            "writable after {}, degraded after {}; all of /usr compared {} times",
            counts.writable, counts.degraded, counts.compared
        );
        if let Ok((runs, aliases)) = self.systems.aliases_before_dpkg() {
            println!("dpkg started {runs} times, with {aliases} aliases in all");
        }
    }
}

/// `1,4,7-9`.
pub fn numbers(text: &str) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(first.parse()?..=last.parse::<u64>()?);
    }
    Ok(numbers)
}
