//! Which points there are, and what is done at each.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use crate::commands::{Command, NAMES};
use crate::next::{self, Next};
use crate::overlay;
use crate::rules;
use crate::stage::{Ground, Stage};
use crate::support::calls::{Among, Blow, Call, Effect, Strike, Trace};
use crate::support::dice::Dice;
use crate::support::small::Small;

/// A blow and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    strike: Strike,
    next: Next,
}

/// So many points whose rules are broken are enough to be told of.
const ENOUGH: usize = 5;

/// Of the calls that change nothing, so many are struck in a short run.
const FEW: usize = 5;

/// Plays a command once without a blow, then with one at each point.
#[track_caller]
pub fn strike_at_each_point_of(name: &str, ground: Ground, command: Command) {
    let one = match env::var("ROKEEP_CRASH") {
        Ok(point) => match point.split_once(' ') {
            Some((of, point)) if of == name => Some(point.parse::<Point>().unwrap_or_else(|why| panic!("{why}"))),
            Some((of, _)) if NAMES.contains(&of) => return,
            _ => panic!("ROKEEP_CRASH={point:?} is no point of any command"),
        },
        Err(_) => None,
    };
    let mut current = ground.world();
    let calls =
        play(&current, ground, command, None, Next::Watch).unwrap_or_else(|why| panic!("{name}, not struck: {why}"));
    let points = match one {
        Some(point) => vec![point],
        None => points(&calls.calls, ground),
    };
    println!("{name}: {}", count(&calls.calls, &points));
    let (mut not_reached, mut broken) = (0, Vec::new());
    for point in &points {
        match play(&current, ground, command, Some(point.strike), point.next) {
            Ok(Trace { struck: Some(_), .. }) => {}
            Ok(Trace { struck: None, .. }) => not_reached += 1,
            Err(why) => {
                let at = target(&calls.calls, point.strike);
                broken
                    .push(format!("{name} {point}, at {at}: {why}\n\nTo play it again: ROKEEP_CRASH='{name} {point}'"));
                if broken.len() == ENOUGH {
                    break;
                }
                current = ground.world();
            }
        }
    }
    println!("{name}: {not_reached} points were not reached");
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(not_reached * 20 <= points.len(), "too many points of {name} were not reached: {not_reached}");
}

/// The whole play. Answers what the tracer saw, or what rule was broken and all that rokeep said until then.
fn play(world: &Small, ground: Ground, command: Command, strike: Option<Strike>, next: Next) -> Result<Trace, String> {
    world.forget_what_was_said();
    let played = catch_unwind(AssertUnwindSafe(|| {
        let stage = Stage::new(world, ground, strike);
        let run = command(&stage);
        let trace = stage.trace();
        overlay::is_laid_or_not(&stage);
        next.comes(&stage);
        overlay::is_laid_or_not(&stage);
        comes_right(&stage);
        drop(run);
        trace
    }));
    played.map_err(|why| {
        let why =
            why.downcast_ref::<String>().cloned().or_else(|| why.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        format!("{}\n\nWhat rokeep said:\n{}", why.unwrap_or_default(), world.said())
    })
}

fn comes_right(stage: &Stage) {
    let world = stage.world;
    // Where a person holds the mounts, nobody else closes them.
    if stage.is_held_by_hand() {
        let run = world.rokeep(["remount", "ro"]);
        world.check(run.code == 0 || stage.is_excused.get(), "a person cannot close what a person opened");
    }
    if !stage.is_excused.get() {
        rules::closed(stage);
        world.rokeep(["cleanup"]).assert_code(0);
        rules::closed(stage);
        rules::tidy(stage);
        let kept = rules::all_that_is_kept(stage);
        for command in ["recover", "cleanup"] {
            world.runs("/tool/rokeep", &[command]).assert_code(0);
            world.check(rules::all_that_is_kept(stage) == kept, &format!("a second {command} changes something"));
        }
    }
    stage.nobody_uses_anything();
    if stage.is_excused.get() {
        world.rokeep(["cleanup"]).assert_code(0);
        rules::as_found(stage);
    }
    overlay::can_be_laid_and_taken_away(stage);
    stage.strike_the_set();
    rules::without_a_trace(stage);
}

/// The points of a command that made these calls.
fn points(calls: &[Call], ground: Ground) -> Vec<Point> {
    let everything = env::var_os("ROKEEP_CRASH_ALL").is_some();
    let seed = seed();
    let mut points = Vec::new();
    let mut in_turn = next::in_turn(ground);
    let kinds = next::kinds(ground, 1).len();
    let mut add = |nexts: usize, among, number, blow| {
        points.extend(in_turn.by_ref().take(nexts).map(|next| Point { strike: Strike { among, number, blow }, next }));
    };
    let of = |among: Among| calls.iter().filter(move |call| among.has(call.effect)).zip(1..);
    of(Among::Changes)
        .for_each(|(_, number)| add(if everything { kinds } else { 1 }, Among::Changes, number, Blow::Kill));
    for (call, number) in of(Among::Refusable) {
        let errors = errors(&call.name);
        for (which, errno) in errors.iter().enumerate() {
            // In a short run half of the calls are refused, once or from then on; with the next seeds it is the others, and the
            // other way.
            let its_turn = (number + (seed % 4) as usize) % 4;
            let in_a_short_run = |turn: usize| (number + turn) % errors.len() == which && its_turn == turn;
            if everything || in_a_short_run(0) {
                add(1, Among::Refusable, number, Blow::Refuse(*errno as i32));
            }
            if everything || in_a_short_run(1) {
                add(1, Among::Refusable, number, Blow::RefuseAll(*errno as i32));
            }
        }
    }
    let is_other = |(call, number): (&Call, usize)| (!Among::Changes.has(call.effect)).then_some(number);
    let mut others: Vec<usize> = of(Among::All).filter_map(is_other).collect();
    if !everything {
        shuffle(&mut others, seed);
        others.truncate(FEW);
    }
    others.into_iter().for_each(|number| add(1, Among::All, number, Blow::Kill));
    points
}

/// What the kernel may answer to it on a file system that is full, broken, closed or none of ours.
fn errors(call: &str) -> &'static [Errno] {
    use Errno::{EACCES, EAGAIN, EIO, EMLINK, ENOLCK, ENOMEM, ENOSPC, EPERM, EROFS};
    match call {
        "linkat" | "link" | "symlinkat" | "symlink" | "mkdirat" | "mkdir" => &[EIO, ENOSPC, EROFS, EMLINK, EACCES],
        "unlinkat" | "unlink" | "rmdir" | "fchmod" | "chmod" | "fchmodat" | "chown" => &[EIO, EROFS, EACCES],
        "openat" | "open" | "renameat2" | "renameat" | "rename" => &[EIO, ENOSPC, EROFS, EACCES],
        "write" | "writev" | "pwrite64" => &[EIO, ENOSPC],
        "fsync" | "fdatasync" | "ftruncate" | "fallocate" | "fsetxattr" => &[EIO, ENOSPC, EROFS],
        "fsconfig" | "mount" | "umount2" => &[EIO, EROFS, EACCES],
        "fsopen" | "fspick" | "mount_setattr" | "open_tree" | "move_mount" => &[EIO, EACCES, EPERM],
        "flock" => &[EIO, ENOLCK],
        "clone" | "clone3" | "fork" | "vfork" => &[EAGAIN],
        "unshare" | "setns" => &[ENOMEM, EPERM],
        "exit_group" => &[],
        _ => &[EIO],
    }
}

/// What a short run leaves out depends on it.
fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = env::var("ROKEEP_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
    println!("ROKEEP_CRASH_SEED={seed}");
    seed
}

fn shuffle(numbers: &mut [usize], seed: u64) {
    let mut dice = Dice::new(seed);
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, dice.below(at as u64 + 1) as usize);
    }
}

fn target(calls: &[Call], strike: Strike) -> String {
    let mut counted = calls.iter().filter(|call| strike.among.has(call.effect));
    counted
        .nth(strike.number - 1)
        .map_or_else(|| "a call that was not made before".to_owned(), |call| call.text.clone())
}

fn count(calls: &[Call], points: &[Point]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for point in points {
        let kind = match (point.strike.among, point.strike.blow) {
            (Among::Changes, _) => "killed at a change",
            (_, Blow::Kill) => "killed elsewhere",
            (_, Blow::Refuse(_)) => "refused once",
            (_, Blow::RefuseAll(_)) => "refused from then on",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let changes = calls.iter().filter(|call| call.effect == Effect::Lasting).count();
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!("{} calls, {changes} of them changes; {} points: {}", calls.len(), points.len(), kinds.join(", "))
}

// ── a point in words, for whoever plays it again ────────────────────────────────────────────────────────────────────

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { strike: Strike { among, number, blow }, next } = self;
        let blow = match blow {
            Blow::Kill => "kill".to_owned(),
            Blow::Refuse(errno) => format!("{:?}", Errno::from_raw(*errno)),
            Blow::RefuseAll(errno) => format!("{:?}+", Errno::from_raw(*errno)),
        };
        write!(f, "{among} {number} {blow} {next}")
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        let [among, number, blow, next] = text.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("{text:?} is no point: COMMAND change|refusable|call NUMBER kill|ERROR|ERROR+ NEXT"));
        };
        let all = [Among::Changes, Among::Refusable, Among::All];
        let among = all.into_iter().find(|one| one.to_string() == among).ok_or_else(|| format!("{among:?}?"))?;
        let number = number.parse().map_err(|_| format!("{number:?} is no number"))?;
        let named = |name: &str| (1..200).find(|errno| format!("{:?}", Errno::from_raw(*errno)) == name);
        let blow = match (blow, blow.strip_suffix('+')) {
            ("kill", _) => Blow::Kill,
            (_, Some(name)) => Blow::RefuseAll(named(name).ok_or_else(|| format!("{name:?} is no error"))?),
            (name, None) => Blow::Refuse(named(name).ok_or_else(|| format!("{name:?} is no error"))?),
        };
        Ok(Point { strike: Strike { among, number, blow }, next: next.parse()? })
    }
}
