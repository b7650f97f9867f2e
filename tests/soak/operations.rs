//! What is done to the system: each operation is a function of the seed and its number, and of nothing else.

use std::fmt;

use crate::acts::{Act, What};
use crate::holders::one_of;
use crate::packages::{FILES, NAMES, PROGRAMS, VERSIONS, archive};
use crate::support::dice::Dice;

/// A few commands, and what maintainer scripts do besides their work while these run.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it is counted as.
    pub kind: &'static str,
    pub steps: Vec<Step>,
    pub acts: Vec<Act>,
    /// Whether a person holds /usr open when it is over; `None` where it changes nothing about that.
    pub by_hand: Option<bool>,
}

/// One command on both systems.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where rokeep is.
    pub here: Vec<String>,
    /// Where it is not; nothing where it is about rokeep alone.
    pub there: Option<Vec<String>>,
    pub says: Says,
}

/// What its exit code has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The same as where there is no rokeep.
    TheSame,
    /// 0 if /usr is as it should be, 1 if not.
    WhetherAllIsWell,
    /// 0.
    Done,
    /// 0; and whoever uses a file ends before it.
    AfterTheEnd,
}

const APT: &[&str] = &["apt-get", "-y", "--allow-downgrades", "-o", "Dpkg::Options::=--force-confold"];
const DPKG: &[&str] = &["dpkg", "--force-confold"];

/// The operation of that number.
pub fn operation(dice: &mut Dice) -> Operation {
    let mut operation = match dice.below(100) {
        0..=29 => with_apt(dice),
        30..=62 => with_dpkg(dice),
        63..=67 => pretence(dice),
        68..=72 => refused_by_another_hook(dice),
        73..=80 => of_a_person(dice),
        81..=84 => rokeep("cleanup", &["cleanup"], Says::WhetherAllIsWell),
        85..=86 => rokeep("status", &["status"], Says::WhetherAllIsWell),
        87..=88 => rokeep("recover", &["recover"], Says::WhetherAllIsWell),
        89..=91 => left_writable(dice),
        92..=93 => repair(),
        94..=95 => boot(),
        _ => power_cut(dice),
    };
    if ["apt", "dpkg"].contains(&operation.kind) {
        operation.acts.extend(acts(dice));
    }
    // Most people mend at once what was left half done.
    let may_break = operation.acts.iter().any(|act| !matches!(act.what, What::Hold(..) | What::Write));
    if may_break && dice.below(4) > 0 {
        operation.steps.push(same(&["sh", "-c", ": >/run/soak/acts"]));
        operation.steps.extend(repair().steps);
    }
    operation
}

/// apt-get: one to five packages.
fn with_apt(dice: &mut Dice) -> Operation {
    let names = some_names(dice);
    let versioned: Vec<String> = names.iter().map(|name| format!("{name}={}", one_of(dice, &VERSIONS))).collect();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let words = match dice.below(10) {
        0..=4 => [words(&["install"]), versioned].concat(),
        5 => [words(&["install", "--reinstall"]), names].concat(),
        6..=7 => [words(&["remove"]), names].concat(),
        8 => [words(&["purge"]), names].concat(),
        _ => words(&["dist-upgrade"]),
    };
    one("apt", same_words([words_of(APT), words].concat()))
}

/// dpkg by itself.
fn with_dpkg(dice: &mut Dice) -> Operation {
    let names = some_names(dice);
    let archives: Vec<String> = names.iter().map(|name| archive(name, one_of(dice, &VERSIONS))).collect();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let dpkg = |verb: &str, rest: &[String]| same_words([words_of(DPKG), words(&[verb]), rest.to_vec()].concat());
    match dice.below(10) {
        0..=5 => one("dpkg", dpkg("--install", &archives)),
        6 => one("dpkg", dpkg("--remove", &names)),
        7 => one("dpkg", dpkg("--purge", &names)),
        8 => Operation {
            steps: vec![dpkg("--unpack", &archives), dpkg("--configure", &words(&["-a"]))],
            ..nothing("dpkg")
        },
        _ => one("dpkg", dpkg("--unpack", &archives)),
    }
}

/// Nothing may change.
fn pretence(dice: &mut Dice) -> Operation {
    let versioned: Vec<String> =
        some_names(dice).iter().map(|name| format!("{name}={}", one_of(dice, &VERSIONS))).collect();
    let how = one_of(dice, &["--simulate", "--download-only"]);
    let mut operation = one("pretence", same_words([words_of(APT), words(&[how, "install"]), versioned].concat()));
    operation.steps.push(same(&["dpkg", "--no-act", "--install", &archive(one_of(dice, &NAMES), 3)]));
    operation
}

/// Another package's hook stops apt, before ours or after it.
fn refused_by_another_hook(dice: &mut Dice) -> Operation {
    let mut operation = with_apt(dice);
    operation.kind = "apt, refused by another hook";
    let (hook, of) = one_of(
        dice,
        &[
            ("DPkg::Pre-Install-Pkgs", "20other"),
            ("DPkg::Pre-Install-Pkgs", "zzz-other"),
            ("DPkg::Pre-Invoke", "zzz-other"),
            ("DPkg::Post-Invoke", "20other"),
        ],
    );
    let file = format!("/etc/apt/apt.conf.d/{of}");
    operation.steps.insert(0, same(&["sh", "-c", &format!("echo '{hook}:: \"exit 10\";' >{file}")]));
    operation.steps.push(same(&["rm", &file]));
    operation
}

/// Without apt and dpkg.
fn of_a_person(dice: &mut Dice) -> Operation {
    let change = change(dice);
    match dice.below(3) {
        0 => Operation {
            steps: vec![Step {
                here: words(&["rokeep", "run", "--", "sh", "-c", &change]),
                there: Some(words(&["sh", "-c", &change])),
                says: Says::TheSame,
            }],
            ..nothing("rokeep run")
        },
        1 => {
            let apt = with_apt(dice).steps.remove(0).here;
            let here = [words(&["rokeep", "run", "--"]), apt.clone()].concat();
            Operation { steps: vec![Step { here, there: Some(apt), says: Says::TheSame }], ..nothing("rokeep run apt") }
        }
        _ => Operation {
            steps: vec![
                only_here(&["rokeep", "remount", "rw"], Says::Done),
                same(&["sh", "-c", &change]),
                only_here(&["rokeep", "remount", "ro"], Says::WhetherAllIsWell),
            ],
            by_hand: Some(false),
            ..nothing("rokeep remount")
        },
    }
}

/// Files of no package are replaced, and a cache rebuilt.
fn change(dice: &mut Dice) -> String {
    let (name, text) = (dice.below(2), dice.below(1000));
    let file = format!("/usr/share/soak-local/{name}");
    let replace = format!("mkdir -p /usr/share/soak-local; echo {text} >{file}.new; mv {file}.new {file}");
    match dice.below(4) {
        0 => format!("rm -f {file}"),
        1 => format!("{replace}; glib-compile-schemas /usr/share/glib-2.0/schemas"),
        2 => format!(
            "{replace}; rm -rf /usr/share/soak-local/d; mkdir -p /usr/share/soak-local/d; echo {text} >/usr/share/soak-local/d/a"
        ),
        _ => replace,
    }
}

/// As on Debian's wiki page; somebody closes it again, now or later.
fn left_writable(dice: &mut Dice) -> Operation {
    let mut operation = with_apt(dice);
    let apt = operation.steps.remove(0).here;
    let here = [words(&["env", "NO_APT_REMOUNT=yes"]), apt.clone()].concat();
    operation.kind = "apt with NO_APT_REMOUNT";
    operation.steps.push(Step { here, there: Some(apt), says: Says::TheSame });
    operation.steps.push(only_here(&["rokeep", "remount", "ro"], Says::WhetherAllIsWell));
    operation.by_hand = Some(false);
    operation
}

/// What follows something that was broken off.
pub fn repair() -> Operation {
    let apt = [words_of(APT), words(&["-f", "install"])].concat();
    Operation { steps: vec![same(&[DPKG, &["--configure", "-a"]].concat()), same_words(apt)], ..nothing("repair") }
}

/// Everything on /usr of ours goes.
pub fn purge_all() -> Operation {
    one("dpkg", same(&[&["dpkg", "--force-depends", "--force-remove-reinstreq", "--purge"], &NAMES[..]].concat()))
}

/// The machine is started anew: who uses files is gone, so is the run directory, and /usr is read-only.
pub fn boot() -> Operation {
    Operation { by_hand: Some(false), ..one("boot", only_here(&["sh", "-euc", BOOT], Says::AfterTheEnd)) }
}

/// In the middle of a run of dpkg.
fn power_cut(dice: &mut Dice) -> Operation {
    let mut operation = if dice.below(2) == 0 { with_apt(dice) } else { with_dpkg(dice) };
    operation.kind = "boot in the middle of a run";
    operation.steps.truncate(1);
    operation.acts.push(Act { what: What::KillAll, ..act(dice) });
    operation.steps.extend(boot().steps);
    operation.by_hand = Some(false);
    operation
}

/// Nobody is left whom this could end, but rokeep.
pub const BOOT: &str = "
    for one in $(pidof rokeep); do kill -KILL $one; done
    mount -o remount,ro /usr
    rm -rf /run/rokeep
    rokeep cleanup
";

fn acts(dice: &mut Dice) -> Vec<Act> {
    let what = match dice.below(20) {
        0 | 1 => What::Fail,
        2 => What::KillDpkg,
        3 => What::KillApt,
        4..=6 => What::Hold(one_of(dice, &["mapped", "open", "open-path"]), one_of(dice, &FILES)),
        7 => What::Hold("library", one_of(dice, &PROGRAMS)),
        8 => What::Write,
        _ => return Vec::new(),
    };
    // A few, as most are of packages that this is not about.
    (0..6).map(|_| Act { what: what.clone(), ..act(dice) }).collect()
}

fn act(dice: &mut Dice) -> Act {
    let script = one_of(dice, &["preinst", "postinst", "prerm", "postrm"]);
    Act { package: one_of(dice, &NAMES), script, what: What::Fail }
}

fn some_names(dice: &mut Dice) -> Vec<&'static str> {
    let mut names: Vec<_> = (0..=dice.below(5)).map(|_| one_of(dice, &NAMES)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn nothing(kind: &'static str) -> Operation {
    Operation { kind, steps: Vec::new(), acts: Vec::new(), by_hand: None }
}

fn one(kind: &'static str, step: Step) -> Operation {
    Operation { steps: vec![step], ..nothing(kind) }
}

fn rokeep(kind: &'static str, arguments: &[&str], says: Says) -> Operation {
    one(kind, only_here(&[&["rokeep"], arguments].concat(), says))
}

fn same(words: &[&str]) -> Step {
    same_words(words_of(words))
}

fn same_words(words: Vec<String>) -> Step {
    Step { there: Some(words.clone()), here: words, says: Says::TheSame }
}

fn only_here(words: &[&str], says: Says) -> Step {
    Step { here: words_of(words), there: None, says }
}

fn words(all: &[&str]) -> Vec<String> {
    words_of(all)
}

fn words_of(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        for step in &self.steps {
            write!(f, "\n    {}", step.here.join(" ").replace('\n', " "))?;
        }
        for act in &self.acts {
            write!(f, "\n    {} {}: {}", act.package, act.script, act.what)?;
        }
        Ok(())
    }
}
