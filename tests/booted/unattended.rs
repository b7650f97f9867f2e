//! unattended-upgrades, as its own timer starts it: step after step, each of them a package run.

use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const UNATTENDED: Scenario = Scenario {
    name: "unattended",
    expected: "all upgrades installed step by step, read-only after each run",
    play: upgrades_by_itself,
};

fn upgrades_by_itself(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.package_run(&["apt-get", "-y", "--no-install-recommends", "install", "unattended-upgrades"]);
    machine.sh(CONFIGURE);

    let before = Counts::of(&machine);

    machine.sh("systemctl start apt-daily-upgrade.timer");
    let is_over = "[ \"$(systemctl show --value -p InactiveEnterTimestampMonotonic apt-daily-upgrade.service)\" -gt 0 ] 2>/dev/null";
    machine.wait_for_package_run(is_over);

    let result = machine.must(&["systemctl", "show", "--value", "--property=Result", "apt-daily-upgrade.service"]);
    assert!(result.trim() == "success", "it ended with {result}");
    machine.sh("grep 'All upgrades installed' /var/log/unattended-upgrades/unattended-upgrades.log");
    machine.assert_read_only();
    machine.assert_upgraded();
    machine.assert_services_work();
    let problems = machine.status().problems;
    assert!(problems.is_empty(), "{problems:?}");
    let Counts { runs, opened, closed } = Counts::of(&machine);
    let (runs, opened, closed) = (runs - before.runs, opened - before.opened, closed - before.closed);
    assert!(runs > 1, "it was to go step by step");
    assert!(opened == closed && opened >= runs, "{runs} runs: opened {opened} times, closed {closed} times");
    machine.reboot();
    machine.assert_tidy();
    format!("{} upgrades in {runs} package runs, read-only after each; tidy after a reboot", machine.upgrades().len())
}

/// How often something was so until now.
struct Counts {
    /// A package run.
    runs: usize,
    /// /usr was made writable, by what rokeep has logged.
    opened: usize,
    /// It was put back.
    closed: usize,
}

impl Counts {
    fn of(machine: &Machine) -> Counts {
        let lines = |of: &str| machine.sh(&format!("{of} | wc -l")).trim().parse().expect("a number");
        let logged = |state| lines(&format!("journalctl --quiet --output=cat ROKEEP_MOUNT=/usr ROKEEP_STATE={state}"));
        Counts {
            runs: lines("grep '^Start-Date' /var/log/apt/history.log"),
            opened: logged("writable"),
            closed: logged("read-only"),
        }
    }
}

const CONFIGURE: &str = r#"
cat > /etc/apt/apt.conf.d/52test <<'END'
APT::Periodic::Update-Package-Lists "0";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Origins-Pattern:: "origin=Debian";
END
timer=apt-daily-upgrade.timer
systemctl unmask $timer
mkdir -p /etc/systemd/system/$timer.d
printf '[Timer]\nOnCalendar=\nOnActiveSec=1\nRandomizedDelaySec=0\nPersistent=no\n' > /etc/systemd/system/$timer.d/soon.conf
systemctl daemon-reload
"#;
