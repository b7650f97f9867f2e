//! A machine that is booted: Debian 12 or 13 as an installer would leave it, in an emulator, with systemd, a journal and a
//! server's services, and with /usr on a file system of its own that /etc/fstab has read-only. Upgrades wait for it.
//!
//! As soon as it is up there is somebody in it who does what the verbs of [`Machine`] say. Whatever fails shows all that was
//! said until then, and the console. Its power can fail; its disks are as they were then when it is booted again.

mod disks;
mod image;
mod services;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::disks::Disks;
use self::image::Image;
pub use self::services::Service;
use super::debian::base::Upgrade;
use super::emulator::Emulator;
use super::order::{Answer, Order};
use super::sandbox::Access;
use super::small::Run;
use super::status::Status;

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12, /usr on ext4.
    Bookworm,
    /// Debian 13, /usr on a subvolume of btrfs.
    Trixie,
}

impl Release {
    /// All of them.
    pub const ALL: [Release; 2] = [Release::Bookworm, Release::Trixie];

    /// Its code name.
    pub fn suite(self) -> &'static str {
        match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
        }
    }

    /// What /usr is on.
    pub fn file_system(self) -> &'static str {
        match self {
            Release::Bookworm => "ext4",
            Release::Trixie => "btrfs",
        }
    }
}

impl Display for Release {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.pad(match self {
            Release::Bookworm => "Debian 12",
            Release::Trixie => "Debian 13",
        })
    }
}

/// A machine that runs.
pub struct Machine {
    release: Release,
    image: Image,
    disks: Disks,
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
    /// A machine with fresh disks that has come up, every unit of it.
    pub fn boot(release: Release) -> Machine {
        let image = Image::of(release).unwrap_or_else(|why| panic!("no image: {why:#}"));
        let disks = Disks::of(&image).unwrap_or_else(|why| panic!("no disks: {why:#}"));
        let emulator = switch_on(&image, &disks).unwrap_or_else(|why| panic!("no emulator: {why:#}"));
        let machine = Machine { release, image, disks, emulator: emulator.into(), log: RefCell::default() };
        machine.come_up();
        machine.assert_usr(Access::ReadOnly);
        machine
    }

    // ── what happens to it ──────────────────────────────────────────────────────────────────────────────────────────

    /// Its power fails, and it is booted again.
    pub fn power_cut(&self) {
        self.note("the power fails");
        self.emulator.borrow_mut().switch_off();
        self.boot_again();
    }

    /// It is shut down and booted again, as a person does it.
    pub fn reboot(&self) {
        self.sh("systemctl --no-block reboot");
        self.emulator.borrow_mut().ended(BOOT);
        self.boot_again();
    }

    fn boot_again(&self) {
        let emulator = switch_on(&self.image, &self.disks).unwrap_or_else(|why| panic!("no emulator: {why:#}"));
        self.emulator.replace(emulator);
        self.come_up();
    }

    fn come_up(&self) {
        let line = self.emulator.borrow_mut().hear(BOOT);
        if !line.ends_with(" ready") {
            self.fail(&format!("it says {line:?}"));
        }
        self.wait_until_up();
    }

    /// Waits until nothing is being started, and all of it runs.
    pub fn wait_until_up(&self) {
        let state = self.run_within(BOOT, &["systemctl", "is-system-running", "--wait"]);
        if state.stdout.trim() != "running" {
            let failed = self.run(&["systemctl", "list-units", "--plain", "--no-legend", "--failed"]);
            self.fail(&format!("it is {}: {}", state.stdout.trim(), failed.stdout));
        }
    }

    // ── what is done in it ──────────────────────────────────────────────────────────────────────────────────────────

    /// rokeep is installed, as its README says, and content.
    pub fn install_rokeep(&self) {
        self.sh("mount -o remount,rw /usr");
        self.must_within(PACKAGE_RUN, &["apt-get", "-y", "install", "/tool/rokeep.deb"]);
        self.sh("mount -o remount,ro /usr");
        self.assert_check();
    }

    /// A person runs apt, and is asked nothing.
    pub fn apt(&self, words: &[&str]) -> Run {
        self.run_within(PACKAGE_RUN, &[&["apt-get", "-y"], words].concat())
    }

    /// Somebody starts a program that is to outlive what is done next; it is a unit of this name. Its process.
    pub fn start(&self, unit: &str, words: &[&str]) -> u32 {
        let name = format!("--unit={unit}");
        let how = ["systemd-run", "--quiet", "--collect", "--service-type=exec", &name];
        let environment = ["--setenv=LC_ALL=C.UTF-8", "--setenv=DEBIAN_FRONTEND=noninteractive"];
        self.must(&[&how[..], &environment, words].concat());
        let pid = self.must(&["systemctl", "show", "--value", "--property=MainPID", unit]);
        pid.trim().parse().unwrap_or_else(|_| self.fail(&format!("{unit} has no process: {pid}")))
    }

    /// Runs a shell script, which must succeed; what it wrote.
    pub fn sh(&self, script: &str) -> String {
        self.must(&["sh", "-euc", script])
    }

    /// Waits until a shell says that this is so.
    pub fn wait_for(&self, condition: &str) {
        let script = format!("for _ in $(seq 600); do if {condition}; then exit; fi; sleep 0.1; done; exit 1");
        self.sh(&script);
    }

    /// Runs a program, which must succeed; what it wrote.
    pub fn must(&self, words: &[&str]) -> String {
        self.must_within(MOMENT, words)
    }

    fn must_within(&self, patience: Duration, words: &[&str]) -> String {
        let run = self.run_within(patience, words);
        if run.code != 0 {
            self.fail(&format!("{words:?} ended with {}: {}{}", run.code, run.stdout, run.stderr));
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
        let order = Order { argv: words.iter().map(|word| word.as_bytes().to_vec()).collect(), stream: None };
        let order = serde_json::to_string(&order).expect("bytes are JSON numbers");
        let words = words.join(" ");
        self.note(&format!("# {words}"));
        let mut emulator = self.emulator.borrow_mut();
        emulator.tell(&order);
        let answer = emulator.hear(patience);
        drop(emulator);
        let Ok(answer) = serde_json::from_str::<Answer>(&answer) else {
            self.fail(&format!("no answer to {words}: {answer:?}"))
        };
        let [stdout, stderr] = [answer.stdout, answer.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.note(&format!("{stdout}{stderr}(ended with {} after {:.1?})\n", answer.code, start.elapsed()));
        Run { code: answer.code, stdout, stderr }
    }

    // ── what is so ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Which Debian it is.
    pub fn release(&self) -> Release {
        self.release
    }

    /// The upgrades that waited when it was booted first.
    pub fn upgrades(&self) -> Vec<Upgrade> {
        self.image.upgrades().unwrap_or_else(|why| panic!("{why:#}"))
    }

    /// What /usr permits.
    pub fn usr(&self) -> Access {
        Access::of(&self.mount_line("/usr"))
    }

    /// All that the kernel says about a mount, in its own words.
    pub fn mount_line(&self, point: &str) -> String {
        // proc_pid_mountinfo(5): the fifth field; a later line covers an earlier one.
        let lines = self.must(&["awk", "-v", &format!("point={point}"), "$5 == point", "/proc/1/mountinfo"]);
        lines.lines().next_back().unwrap_or_else(|| self.fail(&format!("{point} is no mount point"))).to_owned()
    }

    /// How many aliases /usr has.
    pub fn aliases(&self) -> usize {
        let store = self.sh("find /usr/.rokeep -mindepth 1 2>/dev/null || true");
        store.lines().count()
    }

    /// What `rokeep status --json` says.
    pub fn status(&self) -> Status {
        let run = self.run(&["rokeep", "status", "--json"]);
        Status::read(&run.stdout).unwrap_or_else(|why| self.fail(&format!("not what status promises: {why}")))
    }

    // ── what must be so ─────────────────────────────────────────────────────────────────────────────────────────────

    /// The kernel says that /usr permits this.
    #[track_caller]
    pub fn assert_usr(&self, expected: Access) {
        let found = self.usr();
        assert!(found == expected, "/usr is {found:?}, not {expected:?}");
    }

    /// Nothing of a package run is left: no alias, no store, no session, /usr read-only, and nothing to complain about.
    #[track_caller]
    pub fn assert_tidy(&self) {
        self.assert_usr(Access::ReadOnly);
        self.sh("! ls -d /usr/.rokeep /run/rokeep/session.json 2>/dev/null");
        let problems = self.status().problems;
        assert!(problems.is_empty(), "{problems:?}");
    }

    /// `rokeep check` finds everything in place.
    #[track_caller]
    pub fn assert_check(&self) {
        let check = || self.run(&["rokeep", "check"]);
        // It gives systemd three seconds to answer, which may be too few here.
        let is_patient = |run: &Run| run.code == 0 || !run.stdout.contains("systemd could not be asked");
        let run = (0..5).map(|_| check()).find(is_patient).unwrap_or_else(check);
        assert!(run.code == 0, "rokeep check ended with {}", run.code);
    }

    /// Every package is as dpkg wants it.
    #[track_caller]
    pub fn assert_configured(&self) {
        let audit = self.must(&["dpkg", "--audit"]);
        assert!(audit.is_empty(), "{audit}");
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("{what}");
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

fn switch_on(image: &Image, disks: &Disks) -> Result<Emulator> {
    // One processor; which of several does what when is not what is asked here.
    let mut parts: Vec<OsString> = ["-m", "1024", "-append", KERNEL, "-kernel"].map(OsString::from).into();
    parts.push(image.file("vmlinuz").into());
    parts.extend(["-initrd".into(), image.file("initrd").into()]);
    parts.extend(disks.parts());
    Emulator::start(parts).context("cannot boot")
}

/// What the kernel is told. What protects from other machines on the same processor costs time, and there are none.
const KERNEL: &str = "root=LABEL=root ro console=ttyS0 quiet panic=-1 mitigations=off";
