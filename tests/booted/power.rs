//! The power fails in the middle of package runs: the next boot ends what they began, and apt can go on.

use std::time::Duration;

use crate::Scenario;
use crate::support::booted::{Machine, Release};
use crate::support::dice::Dice;

pub const POWER: Scenario = Scenario {
    name: "power",
    expected: "after each of 10 cuts: boots read-only, completes; no replaced alias in the end",
    play: fails_again_and_again,
};

const CUTS: usize = 10;

/// When it fails, at the latest, in milliseconds.
const LATEST: u64 = 20_000;

/// One upgrade gets further each time; when it is done, it is done again.
fn fails_again_and_again(release: Release) -> String {
    let seed = std::env::var("BOOTED_SEED").map_or(1, |seed| seed.parse().expect("BOOTED_SEED is a number"));
    let (mut dice, mut in_the_middle, mut recovered) = (Dice::new(seed), 0, 0);
    let machine = Machine::boot(release);
    machine.install_rokeep();
    for _ in 0..CUTS {
        let words = what_to_do(&machine);
        machine.start("upgrade", &words.iter().map(String::as_str).collect::<Vec<_>>());
        machine.wait_for("[ -e /run/rokeep/session.json ]");
        std::thread::sleep(Duration::from_millis(dice.below(LATEST)));
        in_the_middle += usize::from(machine.run(&["test", "-e", "/run/rokeep/session.json"]).code == 0);

        machine.power_cut();

        recovered += usize::from(machine.boot_unit().is_some());
        machine.assert_read_only();
        let status = machine.status();
        let droppable: usize = status.mounts.iter().map(|mount| mount.aliases.droppable).sum();
        assert!(status.problems.is_empty() && droppable == 0, "{status:#?}");
        mend(&machine);
        machine.assert_configured();
    }
    assert!(recovered > 0, "no boot had anything to do (seed {seed})");
    assert!(
        2 * in_the_middle > CUTS,
        "only {in_the_middle} of {CUTS} were in the middle of a package run (seed {seed})"
    );

    machine.package_run(&["apt-get", "-y", "dist-upgrade"]);
    machine.assert_read_only();
    machine.assert_upgraded();
    machine.reboot();
    // Of a run that was cut short: nobody has replaced them since.
    let unchanged = machine.assert_nothing_replaced_is_kept();
    machine.assert_services_work();
    machine.must(&["rokeep", "release"]);
    machine.assert_tidy();
    format!(
        "{in_the_middle} of {CUTS} cuts in the middle of a run, {recovered} boots with something to do; {unchanged} aliases of \
         files that were not replaced (seed {seed})"
    )
}

/// What dpkg and apt say is to be done, in the order in which they say it. By itself `apt-get -f install` passes over what is
/// unpacked half way, or tries to configure it and fails; and that cannot be installed again before what it depends on is.
fn mend(machine: &Machine) {
    const MOST_ROUNDS: usize = 4;
    let half_way =
        "dpkg-query --show --showformat='${db:Status-Eflag} ${binary:Package}\n' | sed -n 's/^reinstreq //p'";
    for _ in 0..MOST_ROUNDS {
        machine.try_package_run(&["dpkg", "--configure", "-a"]);
        machine.assert_read_only();
        machine.try_package_run(&["apt-get", "-y", "-f", "install"]);
        machine.assert_read_only();
        let packages = machine.sh(half_way);
        if packages.is_empty() {
            break;
        }
        let again: Vec<&str> = packages.lines().collect();
        machine.try_package_run(&[&["apt-get", "-y", "--reinstall", "install"], &again[..]].concat());
        machine.assert_read_only();
    }
    machine.package_run(&["apt-get", "-y", "-f", "install"]);
    machine.assert_read_only();
}

fn what_to_do(machine: &Machine) -> Vec<String> {
    let waits = machine.sh("apt-get --simulate dist-upgrade | grep -c ^Inst || true");
    let words: &[&str] = match waits.trim() {
        "0" => &["apt-get", "-y", "--reinstall", "install"],
        _ => &["apt-get", "-y", "dist-upgrade"],
    };
    let again = machine.upgrades().into_iter().map(|upgrade| upgrade.package).filter(|_| waits.trim() == "0");
    words.iter().map(|word| (*word).to_owned()).chain(again).collect()
}
