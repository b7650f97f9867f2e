//! A whole real upgrade: all the packages that wait for a Debian 12 (about 40), while the daemons of a server run from
//! a read-only /usr, each round from the same root. How long it takes, and how much of that the hooks do: with the pair
//! of remounts that every guide gives, with scripts (`benches/shell`), and with rokeep.
//!
//! How long it takes is never a reason to fail. It fails if a package was not upgraded; if the scripts protected nothing;
//! and if rokeep or its apt failed, or left /usr other than read-only.

use std::cmp::Ordering;

use anyhow::{Result, ensure};

use crate::support::debian::Debian;
use crate::support::debian::hooks::Hooks;
use crate::support::sandbox::Access;

/// What an upgrade came to with one of the contestants: of each number the median of all rounds.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Who opened and closed /usr.
    pub name: &'static str,
    /// apt-get from start to end, in seconds on the clock.
    pub seconds: f64,
    /// All hooks together, in seconds on the clock.
    pub seconds_in_hooks: f64,
    /// The same by hook, in the order in which they were called first.
    pub hooks: Vec<Hook>,
    /// How many packages were upgraded.
    pub packages: usize,
    /// How many files had an alias when dpkg started.
    pub protected: usize,
    /// The most memory that a process of a hook had, in KiB.
    pub peak_kib: u64,
    /// What /usr permitted when apt had ended: the most that it did in any round.
    pub usr: Access,
}

/// A command that apt or dpkg called.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its command line.
    pub command: String,
    /// How often.
    pub calls: usize,
    /// All calls together, in seconds on the clock.
    pub seconds: f64,
}

impl Upgrade {
    /// How much of apt's time the hooks had: between 0 and 1.
    pub fn share_of_hooks(&self) -> f64 {
        self.seconds_in_hooks / self.seconds
    }
}

/// Rounds of one contestant after the other. A round takes about a minute and the scripts' own time.
pub fn measure(rounds: usize) -> Result<Vec<Upgrade>> {
    ensure!(rounds > 0, "without a round there is no median");
    let mut of_all = Contestant::ALL.map(|contestant| (contestant, Vec::new()));
    for _ in 0..rounds {
        for (contestant, upgrades) in &mut of_all {
            upgrades.push(contestant.upgrade()?);
        }
    }
    Ok(of_all.into_iter().map(|(contestant, upgrades)| median_of(contestant, &upgrades)).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    RemountPair,
    ShellWay,
    Rokeep,
}

impl Contestant {
    const ALL: [Contestant; 3] = [Contestant::RemountPair, Contestant::ShellWay, Contestant::Rokeep];

    fn name(self) -> &'static str {
        match self {
            Contestant::RemountPair => "remount before and after",
            Contestant::ShellWay => "shell scripts",
            Contestant::Rokeep => "rokeep",
        }
    }

    fn installed(self) -> Result<Debian> {
        let debian = Debian::bookworm_with_all_lists()?;
        match self {
            Contestant::RemountPair => debian.with_remount_pair(),
            Contestant::ShellWay => debian.with_shell_way(),
            Contestant::Rokeep => debian.with_rokeep(),
        }
    }

    /// The whole upgrade, once.
    fn upgrade(self) -> Result<Upgrade> {
        let debian = self.installed()?.with_witnesses()?.read_only()?;
        debian.start_daemons()?;
        let apt = debian.apt(&["-y", "dist-upgrade"])?;
        let (waited, hooks) = (debian.upgrades()?, debian.hooks()?);
        let upgrade = Upgrade {
            name: self.name(),
            seconds: apt.took.as_secs_f64(),
            seconds_in_hooks: hooks.seconds(),
            hooks: by_command(&hooks),
            packages: waited.len(),
            protected: debian.aliases_before_dpkg()?,
            peak_kib: hooks.0.iter().map(|run| run.peak_kib).max().unwrap_or(0),
            usr: debian.settled()?.usr()?,
        };
        for package in waited {
            let found = debian.installed_version(&package.package)?;
            ensure!(found.as_ref() == Some(&package.to), "{upgrade:?} left {package:?} at {found:?}: {}", apt.stderr);
        }
        let right = match self {
            // It fails, as it does everywhere: that is why the others exist.
            Contestant::RemountPair => true,
            Contestant::ShellWay => upgrade.protected > 0,
            Contestant::Rokeep => apt.code == 0 && upgrade.usr == Access::ReadOnly && upgrade.protected > 0,
        };
        ensure!(right, "{upgrade:?}: apt ended with {}: {}", apt.code, apt.stderr);
        Ok(upgrade)
    }
}

fn by_command(hooks: &Hooks) -> Vec<Hook> {
    let mut found: Vec<Hook> = Vec::new();
    for run in &hooks.0 {
        match found.iter_mut().find(|hook| hook.command == run.command) {
            Some(hook) => (hook.calls, hook.seconds) = (hook.calls + 1, hook.seconds + run.seconds),
            None => found.push(Hook { command: run.command.clone(), calls: 1, seconds: run.seconds }),
        }
    }
    found
}

fn median_of(contestant: Contestant, upgrades: &[Upgrade]) -> Upgrade {
    Upgrade {
        name: contestant.name(),
        seconds: median(upgrades, |upgrade| upgrade.seconds),
        seconds_in_hooks: median(upgrades, |upgrade| upgrade.seconds_in_hooks),
        hooks: median_by_hook(upgrades),
        packages: median(upgrades, |upgrade| upgrade.packages),
        protected: median(upgrades, |upgrade| upgrade.protected),
        peak_kib: median(upgrades, |upgrade| upgrade.peak_kib),
        usr: upgrades.iter().map(|upgrade| upgrade.usr).max_by_key(|usr| permits(*usr)).unwrap_or(Access::ReadOnly),
    }
}

fn median_by_hook(upgrades: &[Upgrade]) -> Vec<Hook> {
    let of_first = upgrades.iter().take(1).flat_map(|upgrade| &upgrade.hooks);
    let median_of = |hook: &Hook| {
        let same = |upgrade: &Upgrade| upgrade.hooks.iter().find(|other| other.command == hook.command).cloned();
        let all: Vec<Hook> = upgrades.iter().filter_map(same).collect();
        Hook {
            command: hook.command.clone(),
            calls: median(&all, |hook| hook.calls),
            seconds: median(&all, |hook| hook.seconds),
        }
    };
    of_first.map(median_of).collect()
}

/// Of at least one.
fn median<T, V: Copy + PartialOrd>(all: &[T], what: impl Fn(&T) -> V) -> V {
    let mut values: Vec<V> = all.iter().map(what).collect();
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    values[values.len() / 2]
}

/// The more, the more can be written.
fn permits(usr: Access) -> u8 {
    match usr {
        Access::WriteProtected | Access::ReadOnly => 0,
        Access::ReadOnlyMount => 1,
        Access::Writable => 2,
    }
}
