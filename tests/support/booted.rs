//! A machine that is booted: Debian 12 or 13 as an installer would leave it, in an emulator, with systemd, a journal and a
//! server's services, and with mounts that /etc/fstab has read-only, as its [`Layout`] says. Upgrades wait for it.
//!
//! As soon as it is up there is somebody in it who does what the verbs of [`Machine`] say. Whatever fails shows all that was
//! said until then, and the console. Its power can fail; its disks are as they were then when it is booted again.

mod disks;
mod image;
mod release;
mod services;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::disks::Disks;
use self::image::Image;
pub use self::release::{Layout, Release};
pub use self::services::Service;
use super::debian::base::Upgrade;
use super::emulator::Emulator;
use super::order::{Answer, Order};
use super::sandbox::Access;
use super::small::Run;
use super::status::{AliasCounts, Status};

/// A machine that runs.
pub struct Machine {
    release: Release,
    layout: Layout,
    image: Image,
    disks: RefCell<Disks>,
    emulator: RefCell<Emulator>,
    log: RefCell<String>,
}

/// How long what takes a moment may take, on a busy machine.
const MOMENT: Duration = Duration::from_secs(180);

/// How long it may take until a machine is up, or has gone down.
const BOOT: Duration = Duration::from_secs(600);

/// How long a package run may take.
const PACKAGE_RUN: Duration = Duration::from_secs(3600);

impl Machine {
    /// A machine with fresh disks that has come up, every unit of it, with /usr by itself.
    pub fn boot(release: Release) -> Machine {
        Machine::boot_with(release, Layout::Usr)
    }

    /// The same with this layout.
    pub fn boot_with(release: Release, layout: Layout) -> Machine {
        let image = Image::of(release).unwrap_or_else(|why| panic!("no image: {why:#}"));
        let disks = Disks::of(&image, layout).unwrap_or_else(|why| panic!("no disks: {why:#}"));
        let emulator = switch_on(&image, &disks, layout).unwrap_or_else(|why| panic!("no emulator: {why:#}"));
        let machine =
            Machine { release, layout, image, disks: disks.into(), emulator: emulator.into(), log: RefCell::default() };
        // Nothing of ours is on it yet: now and then the kernel dies of the emulator, in its first second.
        let first = machine.emulator.borrow_mut().hear_if_it_lives(BOOT);
        match first {
            Some(line) => assert!(line.ends_with(" ready"), "it says {line:?}"),
            None => {
                eprintln!("{release}: the machine has ended before it was up, and is started once more");
                machine.boot_again();
            }
        }
        machine.wait_until_up();
        machine.assert_read_only();
        machine
    }

    // ── what happens to it ──────────────────────────────────────────────────────────────────────────────────────────

    /// Its power fails, and it is booted again, until no unit waits to be started. A service may have failed: whose package
    /// was half unpacked.
    pub fn power_cut(&self) {
        self.note("the power fails");
        self.emulator.borrow_mut().switch_off();
        self.boot_again();
        self.run_within(BOOT, &["systemctl", "is-system-running", "--wait"]);
    }

    /// It is shut down and booted again, as a person does it.
    pub fn reboot(&self) {
        self.shut_down("reboot");
        self.boot_again();
        self.wait_until_up();
    }

    /// It is switched off, and on again with an image in place of the disk that has /usr: what was installed on that disk,
    /// changed by this shell script, which finds itself in /usr. /etc/fstab has to know.
    pub fn seal_usr(&self, change: &str) {
        self.shut_down("poweroff");
        self.note(&format!("/usr is an image: {change}"));
        self.disks.borrow_mut().seal_usr(self.release, change).unwrap_or_else(|why| panic!("no image: {why:#}"));
        self.boot_again();
        self.wait_until_up();
    }

    fn shut_down(&self, how: &str) {
        self.note(&format!("# systemctl {how}"));
        // Whether whoever does it can still answer is chance.
        self.emulator.borrow_mut().tell(&order(&["systemctl", how]));
        self.emulator.borrow_mut().ended(BOOT);
    }

    fn boot_again(&self) {
        let disks = self.disks.borrow();
        let emulator = switch_on(&self.image, &disks, self.layout).unwrap_or_else(|why| panic!("no emulator: {why:#}"));
        self.emulator.replace(emulator);
        self.come_up();
    }

    fn come_up(&self) {
        let line = self.emulator.borrow_mut().hear(BOOT);
        if !line.ends_with(" ready") {
            panic!("it says {line:?}");
        }
    }

    /// Waits until nothing is being started, and all of it runs.
    pub fn wait_until_up(&self) {
        let state = self.run_within(BOOT, &["systemctl", "is-system-running", "--wait"]);
        if state.stdout.trim() != "running" {
            let failed = self.run(&["systemctl", "list-units", "--plain", "--no-legend", "--failed"]);
            panic!("it is {}: {}", state.stdout.trim(), failed.stdout);
        }
    }

    // ── what is done in it ──────────────────────────────────────────────────────────────────────────────────────────

    /// rokeep is installed, as its README says, and content.
    pub fn install_rokeep(&self) {
        let point = self.layout.read_only()[0];
        self.sh(&format!("mount -o remount,rw {point}"));
        self.package_run(&["apt-get", "-y", "install", "/tool/rokeep.deb"]);
        self.must(&["rokeep", "remount", "ro", point]);
        self.must(&["rokeep", "check"]);
    }

    /// A person runs apt, and is asked nothing.
    pub fn apt(&self, words: &[&str]) -> Run {
        self.run_within(PACKAGE_RUN, &[&["apt-get", "-y"], words].concat())
    }

    /// A person runs what takes as long as a package run, and may fail.
    pub fn try_package_run(&self, words: &[&str]) -> Run {
        self.run_within(PACKAGE_RUN, words)
    }

    /// The same, and it must succeed.
    pub fn package_run(&self, words: &[&str]) {
        self.must_within(PACKAGE_RUN, words);
    }

    /// A person types what `status` says, and `rokeep cleanup` then: nothing is left. How many files were kept, and how many
    /// commands it took.
    pub fn follow_what_status_says(&self) -> (usize, usize) {
        self.run(&["rokeep", "status"]);
        let Status { groups, kept, .. } = self.status();
        let lasting = groups.iter().filter(|group| group.remedy.kind != "wait");
        let commands: Option<Vec<&str>> = lasting.map(|group| group.remedy.command.as_deref()).collect();
        let commands = commands.unwrap_or_else(|| panic!("somebody has no command: {groups:#?}"));
        for command in &commands {
            self.sh(command);
        }
        self.wait_until_up();
        self.must(&["rokeep", "cleanup"]);
        self.assert_tidy();
        (kept.files, commands.len())
    }

    /// Somebody starts a program that is to outlive what is done next; it is a unit of this name. Its process.
    pub fn start(&self, unit: &str, words: &[&str]) -> u32 {
        let name = format!("--unit={unit}");
        // What it starts outlives it, as on a terminal.
        let how = ["systemd-run", "--quiet", "--collect", "--service-type=exec", "--property=KillMode=process", &name];
        let environment = ["--setenv=LC_ALL=C.UTF-8", "--setenv=DEBIAN_FRONTEND=noninteractive"];
        self.must(&[&how[..], &environment, words].concat());
        let pid = self.must(&["systemctl", "show", "--value", "--property=MainPID", unit]);
        pid.trim().parse().unwrap_or_else(|_| panic!("{unit} has no process: {pid}"))
    }

    /// Runs a shell script, which must succeed; what it wrote.
    pub fn sh(&self, script: &str) -> String {
        self.must(&["sh", "-euc", script])
    }

    /// Waits until a shell says that this is so.
    pub fn wait_for(&self, condition: &str) {
        self.sh(&format!("for _ in $(seq 600); do if {condition}; then exit; fi; sleep 0.1; done; exit 1"));
    }

    /// The same for what takes as long as a package run.
    pub fn wait_for_package_run(&self, condition: &str) {
        self.must_within(PACKAGE_RUN, &["sh", "-euc", &format!("until {condition}; do sleep 3; done")]);
    }

    /// Runs a program, which must succeed; what it wrote.
    pub fn must(&self, words: &[&str]) -> String {
        self.must_within(MOMENT, words)
    }

    fn must_within(&self, patience: Duration, words: &[&str]) -> String {
        let run = self.run_within(patience, words);
        if run.code != 0 {
            panic!("{words:?} ended with {}: {}{}", run.code, run.stdout, run.stderr);
        }
        run.stdout
    }

    /// Runs a program to its end.
    pub fn run(&self, words: &[&str]) -> Run {
        self.run_within(MOMENT, words)
    }

    /// Runs a program to its end, which takes no longer than this.
    pub fn run_within(&self, patience: Duration, words: &[&str]) -> Run {
        let start = Instant::now();
        let order = order(words);
        let words = words.join(" ");
        self.note(&format!("# {words}"));
        let mut emulator = self.emulator.borrow_mut();
        emulator.tell(&order);
        let answer = emulator.hear(patience);
        drop(emulator);
        let Ok(answer) = serde_json::from_str::<Answer>(&answer) else { panic!("no answer to {words}: {answer:?}") };
        let [stdout, stderr] = [answer.stdout, answer.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if answer.output_kept_open {
            panic!("what {words} left behind keeps its output");
        }
        self.note(&format!("{stdout}{stderr}(ended with {} after {:.1?})\n", answer.code, start.elapsed()));
        Run { code: answer.code, stdout, stderr }
    }

    // ── what is so ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// How many milliseconds rokeep's unit took at the boot, if it had anything to do. It must not have failed.
    pub fn boot_unit(&self) -> Option<u64> {
        let property =
            |name: &str| self.must(&["systemctl", "show", "--value", "--property", name, "rokeep-boot.service"]);
        assert_eq!(property("Result").trim(), "success");
        let time = |name: &str| property(name).trim().parse::<u64>().unwrap_or_else(|why| panic!("{name}: {why}"));
        let (start, end) = (time("ExecMainStartTimestampMonotonic"), time("ExecMainExitTimestampMonotonic"));
        (property("ConditionResult").trim() == "yes").then(|| (end - start) / 1000)
    }

    /// The upgrades that waited when it was booted first.
    pub fn upgrades(&self) -> Vec<Upgrade> {
        self.image.upgrades().unwrap_or_else(|why| panic!("{why:#}"))
    }

    /// Which version of a package is installed.
    pub fn version(&self, package: &str) -> String {
        self.must(&["dpkg-query", "--show", "--showformat=${Version}", package])
    }

    /// What /usr permits.
    pub fn usr(&self) -> Access {
        Access::of(&self.mount_line("/usr"))
    }

    /// What the file system is that has the root directory.
    pub fn of_root(&self) -> String {
        self.must(&["findmnt", "--noheadings", "--output", "FSTYPE", "/"])
    }

    /// All that the kernel says about a mount, in its own words.
    pub fn mount_line(&self, point: &str) -> String {
        // proc_pid_mountinfo(5): the fifth field; a later line covers an earlier one.
        let lines = self.must(&["awk", "-v", &format!("point={point}"), "$5 == point", "/proc/1/mountinfo"]);
        lines.lines().next_back().unwrap_or_else(|| panic!("{point} is no mount point")).to_owned()
    }

    /// How many aliases there are.
    pub fn aliases(&self) -> usize {
        let store = self.sh(&format!("find {} -mindepth 1 2>/dev/null || true", self.stores().join(" ")));
        store.lines().count()
    }

    /// Where the stores are, if there are any.
    pub fn stores(&self) -> Vec<String> {
        self.layout.read_only().iter().map(|point| format!("{}/.rokeep", point.trim_end_matches('/'))).collect()
    }

    /// What `rokeep status --json` says.
    pub fn status(&self) -> Status {
        let run = self.run(&["rokeep", "status", "--json"]);
        Status::read(&run.stdout).unwrap_or_else(|why| panic!("not what status promises: {why}"))
    }

    // ── what must be so ─────────────────────────────────────────────────────────────────────────────────────────────

    /// The kernel says that /usr permits this.
    #[track_caller]
    pub fn assert_usr(&self, expected: Access) {
        let found = self.usr();
        assert!(found == expected, "/usr is {found:?}, not {expected:?}");
    }

    /// The kernel says that all of the mounts are read-only that fstab has so, with their file systems. What apt itself held
    /// is dropped once it has exited, by its watcher, which opens them for that.
    #[track_caller]
    pub fn assert_read_only(&self) {
        self.wait_for("[ -z \"$(systemctl list-units --plain --no-legend 'rokeep-watch@*')\" ]");
        for point in self.layout.read_only() {
            let found = Access::of(&self.mount_line(point));
            assert!(found == Access::ReadOnly, "{point} is {found:?}, not read-only");
        }
    }

    /// A file system of this type is there, on top of whatever else is, and read-only.
    #[track_caller]
    pub fn assert_mounted(&self, point: &str, file_system: &str) {
        let line = self.mount_line(point);
        assert!(line.contains(&format!(" - {file_system} ")) && Access::of(&line) == Access::ReadOnly, "{line}");
    }

    /// The same of a directory of a file system, which goes on being written to elsewhere.
    #[track_caller]
    pub fn assert_mounted_by_itself(&self, point: &str, file_system: &str) {
        let line = self.mount_line(point);
        let is_read_only = Access::of(&line) == Access::ReadOnlyMount;
        assert!(line.contains(&format!(" - {file_system} ")) && is_read_only, "{line}");
    }

    /// Every upgrade that waited is installed.
    #[track_caller]
    pub fn assert_upgraded(&self) {
        for upgrade in self.upgrades() {
            let version = self.version(&upgrade.package);
            assert!(version == upgrade.to, "{} is {version}, not {}", upgrade.package, upgrade.to);
        }
        self.assert_configured();
    }

    /// Nothing of a package run is left: no alias, no store, no session, read-only, and nothing to complain about.
    #[track_caller]
    pub fn assert_tidy(&self) {
        self.assert_nothing_replaced_is_kept();
        match self.layout {
            Layout::Usr => {
                self.stores().iter().for_each(|store| self.assert_gone(store));
                self.assert_gone("/var/lib/rokeep/journal.jsonl");
            }
            // dpkg leaves a conffile alone that is the same in both versions, so that it keeps its alias until it is replaced.
            Layout::Root => {
                let others = self.sh(
                    "[ ! -e /.rokeep ] || cd /.rokeep\n\
                     for alias in *; do [ ! -f $alias ] || find /etc -xdev -inum $alias | grep --quiet . || echo $alias; done",
                );
                assert!(others.is_empty(), "these were replaced, or are no conffiles: {others}");
            }
        }
    }

    /// No alias of a replaced file is left, no session, read-only, and nothing to complain about. How many are left of files
    /// that dpkg was to replace, and did not.
    #[track_caller]
    pub fn assert_nothing_replaced_is_kept(&self) -> usize {
        self.assert_read_only();
        self.assert_gone("/run/rokeep/session.json");
        let status = self.status();
        assert!(status.problems.is_empty() && status.kept.files == 0 && status.session.is_none(), "{status:#?}");
        let nothing_is_left =
            |aliases: &AliasCounts| aliases.held + aliases.droppable + aliases.unknown + aliases.directories == 0;
        assert!(status.mounts.iter().all(|mount| nothing_is_left(&mount.aliases)), "{status:#?}");
        status.mounts.iter().map(|mount| mount.aliases.unchanged).sum()
    }

    /// There is nothing of this name.
    #[track_caller]
    pub fn assert_gone(&self, path: &str) {
        assert!(self.run(&["test", "-e", path]).code == 1, "{path} is there");
    }

    /// Every package is as dpkg wants it.
    #[track_caller]
    pub fn assert_configured(&self) {
        let audit = self.must(&["dpkg", "--audit"]);
        assert!(audit.is_empty(), "{audit}");
    }

    fn note(&self, what: &str) {
        let _ = writeln!(self.log.borrow_mut(), "{what}");
        if std::env::var_os("BOOTED_ALOUD").is_some() {
            eprintln!("{}: {what}", self.release);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = self.emulator.borrow().console();
            eprintln!("on {}:\n\n{}\nits console:\n\n{console}", self.release, self.log.borrow());
        }
        self.emulator.borrow_mut().switch_off();
    }
}

/// As the agent reads it.
fn order(words: &[&str]) -> String {
    let order = Order { argv: words.iter().map(|word| word.as_bytes().to_vec()).collect(), stream: None };
    serde_json::to_string(&order).expect("bytes are JSON numbers")
}

fn switch_on(image: &Image, disks: &Disks, layout: Layout) -> Result<Emulator> {
    let kernel = format!("root=LABEL={} {KERNEL}", layout.disks()[0]);
    // One processor; which of several does what when is not what is asked here.
    let mut parts: Vec<OsString> = ["-m", "1024", "-append", &kernel, "-kernel"].map(OsString::from).into();
    parts.push(image.file("vmlinuz").into());
    parts.extend(["-initrd".into(), image.file("initrd").into()]);
    parts.extend(disks.parts());
    Emulator::start(parts).context("cannot boot")
}

/// What the kernel is told. What protects from other machines on the same processor costs time, and there are none.
const KERNEL: &str = "ro console=ttyS0 quiet panic=-1 mitigations=off";
