//! What a person does without apt: /usr has to be writable for it, and is read-only when it is done.

use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const LOCALES: Scenario = Scenario {
    name: "locales",
    expected: "locale-gen and dpkg-reconfigure succeed by rokeep run, read-only; who maps the old archive is named",
    play: locales_are_generated,
};

const ARCHIVE: &str = "/usr/lib/locale/locale-archive";

fn locales_are_generated(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.sh("echo 'de_DE.UTF-8 UTF-8' > /etc/locale.gen");
    let without = machine.run(&["locale-gen"]);
    // Its exit status does not say so.
    assert!(without.stderr.contains("Read-only file system"), "/usr was to be read-only: {without:?}");

    machine.package_run(&["rokeep", "run", "--", "locale-gen"]);
    machine.sh("localedef --list-archive | grep de_DE.utf8");
    machine.assert_tidy();
    let reads = "import locale, time; locale.setlocale(locale.LC_ALL, 'de_DE.UTF-8'); time.sleep(100000)";
    let reader = machine.start("reader", &["python3", "-c", reads]);
    machine.wait_for(&format!("grep -q {ARCHIVE} /proc/{reader}/maps"));
    let frontend = "--frontend=noninteractive";
    machine.package_run(&["rokeep", "run", "--", "dpkg-reconfigure", frontend, "--force", "locales"]);
    machine.sh("localedef --list-archive | grep de_DE.utf8");

    machine.assert_read_only();
    machine.run(&["rokeep", "status"]);
    let uses = machine.status().uses(ARCHIVE, reader).len();
    assert!(uses > 0, "{:#?}", machine.status());
    machine.sh(&format!("kill {reader}"));
    machine.wait_for(&format!("[ ! -e /proc/{reader} ]"));
    machine.must(&["rokeep", "cleanup"]);
    machine.assert_tidy();
    "both succeeded, read-only after each; the reader was named".to_owned()
}
