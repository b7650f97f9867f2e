//! What people run: a whole Debian, booted, with /usr read-only from /etc/fstab and services under systemd, upgraded with
//! plain apt. Debian 12 has /usr on ext4, Debian 13 on a subvolume of btrfs; each scenario starts on fresh disks.
//!
//! [`pair`] is what happens without rokeep, [`upgrade`] the same with it, [`read_only_root`] where all but /var is
//! read-only, [`unattended`] where nobody asks for it. [`interrupted`] are package runs that end too soon, by [`power`] cuts
//! too, and [`reboot`] is what a boot does with what is left. In [`restarts`] and [`foundations`] more is in motion than
//! packages; in [`export`] and [`squashfs`] they go where nobody can ever write. [`by_hand`] is without packages, and
//! [`leaving`] without rokeep in the end.
//!
//! An emulated machine is slow: all of it takes long, and is asked for by name (`make test-booted`); `make test` plays one
//! scenario. `BOOTED` names the scenarios, `BOOTED_RELEASES` the releases; without them it is all. Releases run beside each
//! other. `BOOTED_PAGE` is the page that what was seen goes into ([`page`]). With `BOOTED_ALOUD` all that is said in the
//! machines is shown as it is said.

#[path = "../support/mod.rs"]
mod support;

mod by_hand;
mod export;
mod foundations;
mod interrupted;
mod leaving;
mod page;
mod pair;
mod power;
mod read_only_root;
mod reboot;
mod restarts;
mod squashfs;
mod table;
mod unattended;
mod upgrade;

use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use support::booted::Release;
use table::{Row, show};

/// Something that is to be seen on a booted machine.
pub struct Scenario {
    name: &'static str,
    expected: &'static str,
    /// Panics unless that is so. What was to be seen.
    play: fn(Release) -> String,
}

const SCENARIOS: [&Scenario; 18] = [
    &pair::PAIR,
    &upgrade::UPGRADE,
    &interrupted::KILLED,
    &interrupted::ORPHAN,
    &interrupted::HOOK,
    &interrupted::CTRL_C,
    &reboot::REBOOT,
    &power::POWER,
    &unattended::UNATTENDED,
    &restarts::NEEDRESTART,
    &restarts::SANDBOXED,
    &foundations::SYSTEMD,
    &foundations::KERNEL,
    &by_hand::LOCALES,
    &read_only_root::ROOT,
    &export::EXPORT,
    &squashfs::SQUASHFS,
    &leaving::REMOVE,
];

fn main() -> ExitCode {
    let scenarios = named("BOOTED", &SCENARIOS, |scenario| scenario.name.to_owned());
    let releases = named("BOOTED_RELEASES", &Release::ALL, |release| release.suite().to_owned());
    let (scenarios, releases) = match (scenarios, releases) {
        (Ok(scenarios), Ok(releases)) => (scenarios, releases),
        (Err(why), _) | (_, Err(why)) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let rows = Mutex::new(Vec::new());
    let (start, rows_of_all) = (Instant::now(), &rows);
    std::thread::scope(|scope| {
        for release in &releases {
            let scenarios = &scenarios;
            scope.spawn(move || {
                for scenario in scenarios {
                    println!("{:5} s  {release}: {} …", start.elapsed().as_secs(), scenario.name);
                    let row = play(scenario, *release);
                    println!("{:5} s  {release}: {} {}", start.elapsed().as_secs(), scenario.name, row.verdict());
                    let mut rows = rows_of_all.lock().expect("nobody panics with it");
                    if let Ok(page) = std::env::var("BOOTED_PAGE") {
                        page::write(Path::new(&page), &row, &SCENARIOS.map(|scenario| scenario.name))
                            .unwrap_or_else(|why| eprintln!("{page} is as it was: {why:#}"));
                    }
                    rows.push(row);
                }
            });
        }
    });
    let rows = rows.into_inner().expect("nobody panics with it");
    let failed = rows.iter().filter(|row| row.seen.is_err()).count();
    print!("\n{}\n", show(&rows));
    let result = if failed == 0 { "ok" } else { "FAILED" };
    // As every other test of this project ends.
    println!(
        "test result: {result}. {} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s",
        rows.len() - failed,
        Release::ALL.len() * SCENARIOS.len() - rows.len(),
        start.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play(scenario: &Scenario, release: Release) -> Row {
    let start = Instant::now();
    let seen = catch_unwind(|| (scenario.play)(release)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        // What else there is to say of it has been said.
        text.and_then(|text| text.lines().next()).unwrap_or("it panicked").to_owned()
    });
    Row { scenario: scenario.name, release, expected: scenario.expected, seen, took: start.elapsed() }
}

/// Those that a variable names; all of them if it is not there.
fn named<T: Copy>(variable: &str, all: &[T], name: impl Fn(&T) -> String) -> Result<Vec<T>, String> {
    let Ok(names) = std::env::var(variable) else { return Ok(all.to_vec()) };
    let find = |wanted: &str| {
        let known = || all.iter().map(&name).collect::<Vec<_>>().join(" ");
        let found = all.iter().find(|one| name(one) == wanted).copied();
        found.ok_or_else(|| format!("{variable}: {wanted:?} is none of: {}", known()))
    };
    let named: Vec<T> = names.split_whitespace().map(find).collect::<Result<_, _>>()?;
    if named.is_empty() { Err(format!("{variable} names nothing")) } else { Ok(named) }
}
