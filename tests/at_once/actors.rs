//! Who there is, and what each of them does.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rules;
use crate::scene::{OF_A_COMMAND, OF_A_PERSON, OF_NOBODY, PACKAGES, Package, Said, Scene};
use crate::support::dice::Dice;
use crate::support::order::Order;
use crate::support::small::{Change, Frontend, Holder, stream};
use crate::trouble;

/// Somebody who comes in a round.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    /// apt, from its first hook to its last, or to its death.
    Apt(usize, Fate),
    /// dpkg, called by somebody.
    Dpkg(usize, Fate),
    /// A person or the timer.
    Cleanup,
    /// A cleanup that is stopped when it waits for its turn, and goes on when others have done what they came for.
    Latecomer,
    /// A person, or the next start of the machine.
    Recover,
    /// Somebody who is about to remove rokeep, too early.
    Release,
    /// Somebody who asks, again and again.
    Status,
    /// The same.
    Plan,
    /// `rokeep run`, with a command that replaces a file.
    Run,
    /// A person who opens the mounts, replaces a file, and closes them.
    Remount,
    /// A process that uses a file of a package, and lets it go.
    Holder(usize),
    /// Whoever opens what is there, for a moment.
    Reader,
}

/// What becomes of a package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes to its end.
    Ends,
    /// It is killed after so many milliseconds, but not while a dpkg of its own begins.
    Dies(u64),
    /// It is killed while a dpkg works, which goes on.
    DiesBeforeItsDpkg,
    /// It never calls its last hook.
    ForgetsToEnd,
}

impl Actor {
    /// By chance.
    pub fn chosen_by(dice: &mut Dice) -> Actor {
        let package = dice.below(PACKAGES.len() as u64) as usize;
        match dice.below(37) {
            0..=8 => Actor::Apt(package, Fate::chosen_by(dice)),
            9..=11 => Actor::Dpkg(package, Fate::chosen_by(dice)),
            12..=15 => Actor::Cleanup,
            16..=17 => Actor::Recover,
            18 => Actor::Release,
            19..=21 => Actor::Status,
            22 => Actor::Plan,
            23..=25 => Actor::Run,
            26..=28 => Actor::Remount,
            29..=32 => Actor::Holder(package),
            33..=35 => Actor::Latecomer,
            _ => Actor::Reader,
        }
    }

    /// Comes after a while, and does it.
    pub fn plays(self, scene: &Scene, seed: u64) {
        let mut dice = Dice::new(seed);
        let moment = if let Actor::Latecomer = self { 0 } else { dice.below(80) };
        std::thread::sleep(Duration::from_millis(moment));
        match self {
            Actor::Apt(package, fate) => apt(scene, package, fate, &mut dice),
            Actor::Dpkg(package, fate) => dpkg(scene, package, fate),
            Actor::Cleanup => (0..2).for_each(|_| drop(scene.rokeep(&["cleanup"]))),
            Actor::Latecomer => comes_late(scene, &mut dice),
            Actor::Recover => drop(scene.rokeep(&["recover"])),
            Actor::Release => drop(scene.rokeep(&["release"])),
            Actor::Status => {
                for _ in 0..3 {
                    let said = scene.rokeep(&["status", "--json"]);
                    rules::of_status(scene, &said);
                }
            }
            Actor::Plan => drop(scene.rokeep(&["plan", "tool", "/var/cache/apt/archives/other_2_amd64.deb"])),
            Actor::Run => {
                let words = ["run", "--", "/tool/holder", "dpkg", "replace", OF_A_COMMAND];
                scene.runs("/tool/rokeep", &words, &[], b"by a command\n");
            }
            Actor::Remount => remount(scene),
            Actor::Holder(package) => hold(scene, package, &mut dice),
            Actor::Reader => drop(scene.runs("/tool/holder", &["lease", OF_NOBODY[0]], &[], b"")),
        }
    }
}

/// What was there before anybody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A run whose apt and watch were killed, when everything was protected.
    LeftBehind,
    /// Aliases that may go: whoever needed them has let go.
    LetGo,
}

impl Before {
    pub fn chosen_by(dice: &mut Dice) -> Before {
        match dice.below(4) {
            0 => Before::LeftBehind,
            1 => Before::LetGo,
            _ => Before::Nothing,
        }
    }

    pub fn happens(self, scene: &Scene) {
        let mut dice = Dice::new(0);
        let Package(name, files) = &PACKAGES[0];
        match self {
            Before::Nothing => {}
            Before::LeftBehind => {
                let apt = Apt::new(scene);
                apt.hook(scene, "pre-invoke", None);
                apt.hook(scene, "pre-install-pkgs", Some(stream(&[Change::Upgrade(name, "1", "2")])));
                for (watch, _) in scene.running("rokeep") {
                    let _ = kill(Pid::from_raw(watch), Signal::SIGKILL);
                }
            }
            Before::LetGo => {
                let holder = Holder::start(scene.sandbox, &["mapped", files[0]]);
                apt(scene, 0, Fate::Ends, &mut dice);
                scene.wait_until("the watch is done", || scene.running("rokeep").is_empty());
                drop(holder);
            }
        }
    }
}

impl Fate {
    fn chosen_by(dice: &mut Dice) -> Fate {
        match dice.below(8) {
            0 => Fate::Dies(dice.below(200)),
            1 => Fate::DiesBeforeItsDpkg,
            2 => Fate::ForgetsToEnd,
            _ => Fate::Ends,
        }
    }
}

/// Which has its database locked all the while that it has this package, but does not begin its dpkg before others are done.
fn apt(scene: &Scene, package: usize, fate: Fate, dice: &mut Dice) {
    let _only_one = scene.package(package);
    let apt =
        Apt { process: Mutex::new(Frontend::start(scene.sandbox, &["frontend"])), begins_dpkg: Mutex::new(false) };
    std::thread::scope(|scope| {
        if let Fate::Dies(after) = fate {
            let pid = apt.pid();
            let begins_dpkg = &apt.begins_dpkg;
            scope.spawn(move || dies(scene, pid, begins_dpkg, after));
        }
        apt.goes_on(scene, package, fate, dice);
    });
    drop(apt);
    // One that outlives it has the package still.
    scene.wait_until("no dpkg works", || scene.no_dpkg_works());
}

fn dies(scene: &Scene, pid: i32, begins_dpkg: &Mutex<bool>, after: u64) {
    std::thread::sleep(Duration::from_millis(after));
    let begins_dpkg = begins_dpkg.lock().expect("nobody panics");
    if !*begins_dpkg {
        scene.note(format!("{:>5} apt-get {pid} dies", scene.age().as_millis()));
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

struct Apt {
    process: Mutex<Frontend>,
    begins_dpkg: Mutex<bool>,
}

impl Apt {
    fn new(scene: &Scene) -> Apt {
        let process = Mutex::new(Frontend::start(scene.sandbox, &["frontend"]));
        Apt { process, begins_dpkg: Mutex::new(false) }
    }

    fn pid(&self) -> i32 {
        self.process.lock().expect("nobody panics").outer_pid().expect("it runs")
    }

    fn goes_on(&self, scene: &Scene, package: usize, fate: Fate, dice: &mut Dice) {
        let Package(name, files) = &PACKAGES[package];
        let Some(begun) = self.hook(scene, "pre-invoke", None) else { return };
        if begun.code != 0 {
            return;
        }
        rules::open(scene);
        let announcement = stream(&[Change::Upgrade(name, "1", "2")]);
        let Some(protected) = self.hook(scene, "pre-install-pkgs", Some(announcement)) else { return };
        if protected.code != 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(dice.below(30)));
        let dpkg_is_mine = scene.dpkg();
        *self.begins_dpkg.lock().expect("nobody panics") = true;
        let upgrades = format!("DPKG_UPGRADES={}", files.join(":"));
        let dies = if fate == Fate::DiesBeforeItsDpkg { "DPKG_KILLS=yes" } else { "DPKG_KILLS=no" };
        let archive = format!("/var/cache/apt/archives/{name}_2_amd64.deb");
        let words = ["/tool/holder", "env", &upgrades, "/tool/holder", "env", dies, "/tool/dpkg", "--unpack", &archive];
        if self.runs(scene, &words, None).is_none() {
            scene.wait_until("no dpkg works", || scene.no_dpkg_works());
            return;
        }
        drop(dpkg_is_mine);
        if fate != Fate::ForgetsToEnd {
            self.hook(scene, "post-invoke", None);
        }
    }

    fn hook(&self, scene: &Scene, name: &str, stream: Option<Vec<u8>>) -> Option<Said> {
        self.runs(scene, &["/tool/rokeep", "hook", name], stream)
    }

    /// `None` where it died over it.
    fn runs(&self, scene: &Scene, words: &[&str], stream: Option<Vec<u8>>) -> Option<Said> {
        let began = Instant::now();
        let argv = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let answer = self.process.lock().expect("nobody panics").try_carry_out(&Order { argv, stream })?;
        scene.check(!answer.output_kept_open, || format!("{words:?} left somebody behind who keeps its output"));
        Some(scene.heard(&words.join(" "), began, answer))
    }
}

fn dpkg(scene: &Scene, package: usize, fate: Fate) {
    let Package(name, files) = &PACKAGES[package];
    let (_only_one, _this_one) = (scene.package(package), scene.dpkg());
    let upgrades = files.join(":");
    let dies = if matches!(fate, Fate::Dies(_)) { "itself" } else { "no" };
    let env = [("DPKG_UPGRADES", upgrades.as_str()), ("DPKG_HOOK_ACTION", "install"), ("DPKG_KILLS", dies)];
    scene.runs("/tool/dpkg", &["-i", &format!("var/cache/apt/archives/{name}_2_amd64.deb")], &env, b"");
}

fn comes_late(scene: &Scene, dice: &mut Dice) {
    const WORDS: [&str; 2] = ["cleanup", "--json"];
    let Some(queue) = trouble::locked(scene, Duration::ZERO) else { return };
    std::thread::scope(|scope| {
        let cleanup = scope.spawn(|| scene.rokeep(&WORDS));
        let asleep = |pid: i32| {
            let wchan = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
            wchan.contains("nanosleep").then_some(Pid::from_raw(pid))
        };
        // It tries for the lock, sleeps, and tries again.
        let waits = || {
            scene
                .running("rokeep")
                .iter()
                .find(|(_, line)| line.ends_with(&WORDS.join(" ")))
                .and_then(|it| asleep(it.0))
        };
        let until = Instant::now() + Duration::from_secs(1);
        let pid = std::iter::repeat_with(waits).find(|pid| pid.is_some() || Instant::now() > until).flatten();
        let Some(pid) = pid else { return };
        let _ = kill(pid, Signal::SIGSTOP);
        drop(queue);
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
        let _ = kill(pid, Signal::SIGCONT);
        drop(cleanup.join());
    });
}

/// He is the only one, and works as long as they are open.
fn remount(scene: &Scene) {
    if scene.rokeep(&["remount", "rw"]).code == 0 {
        let done = scene.runs("/tool/holder", &["dpkg", "replace", OF_A_PERSON], &[], b"by a person\n");
        scene.check(done.code == 0, || format!("a person could not work on what is held by hand: {}", done.stderr));
    }
    scene.rokeep(&["remount", "ro"]);
}

fn hold(scene: &Scene, package: usize, dice: &mut Dice) {
    let Package(_, files) = &PACKAGES[package];
    let path = files[dice.below(3) as usize];
    let state = ["mapped", "open", "open-path"][dice.below(3) as usize];
    let holder = Holder::start(scene.sandbox, &[state, path]);
    let witness = rules::Witness::new(scene, &holder, state, path);
    let until = Instant::now() + Duration::from_millis(dice.below(250));
    while Instant::now() < until {
        witness.looks(scene);
        std::thread::sleep(Duration::from_millis(2));
    }
}
