//! Which rounds are played, and what one is.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::actors::{Actor, Before};
use crate::rules::{self, Witness};
use crate::scene::{MOUNTS, OF_A_COMMAND, OF_A_PERSON, OF_NOBODY, PACKAGES, Package, Scene, world};
use crate::support::dice::Dice;
use crate::support::small::{Holder, Small};
use crate::trouble;

/// So long a usual run may play; `AT_ONCE` says how many rounds instead.
const SHORT: Duration = Duration::from_secs(30);

/// The same round so often, where it is to be had once more.
const AGAIN: u64 = 50;

/// In so many worlds at a time.
const WORLDS: u64 = 2;

/// Plays rounds until one breaks a rule.
pub fn play() {
    let (seed, rounds, one) = wanted();
    let (next, broken, began) = (AtomicU64::new(0), Mutex::new(None), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..WORLDS {
            scope.spawn(|| {
                let world = world();
                while broken.lock().expect("nobody panics").is_none() {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let is_enough = match rounds {
                        Some(rounds) => number >= rounds,
                        None => began.elapsed() > SHORT,
                    };
                    if is_enough {
                        next.fetch_sub(1, Ordering::SeqCst);
                        break;
                    }
                    let round = one.unwrap_or(number);
                    if number % 100 == 99 {
                        println!("{} rounds of seed {seed} in {:.0} s", number + 1, began.elapsed().as_secs_f64());
                    }
                    if let Err(why) = play_one(&world, seed, round) {
                        broken.lock().expect("nobody panics").get_or_insert(why);
                    }
                }
            });
        }
    });
    let played = next.load(Ordering::SeqCst);
    println!("{played} rounds of seed {seed} in {:.0} s", began.elapsed().as_secs_f64());
    if let Some(why) = broken.into_inner().expect("nobody panics") {
        panic!("{why}");
    }
}

/// The seed, how many rounds, and the one that is to be had again.
fn wanted() -> (u64, Option<u64>, Option<u64>) {
    let number =
        |name: &str| env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?}")));
    if let Ok(again) = env::var("ROKEEP_AT_ONCE") {
        let parts = again.split_once(':').and_then(|(seed, round)| Some((seed.parse().ok()?, round.parse().ok()?)));
        let (seed, round) = parts.unwrap_or_else(|| panic!("ROKEEP_AT_ONCE={again:?} is not SEED:ROUND"));
        return (seed, Some(AGAIN), Some(round));
    }
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let rounds = number("AT_ONCE");
    // The usual run has the same actors each time.
    let seed = number("AT_ONCE_SEED").or_else(|| rounds.is_none().then_some(1));
    (seed.unwrap_or_else(now), rounds, None)
}

fn play_one(world: &Small, seed: u64, round: u64) -> Result<(), String> {
    let mut dice = Dice::new(seed ^ Dice::new(round).roll());
    let is_troubled = dice.below(2) == 0;
    let scene = Scene::new(world.sandbox(), is_troubled && dice.below(2) == 0);
    let before = Before::chosen_by(&mut dice);
    let mut actors: Vec<Actor> = (0..3 + dice.below(5)).map(|_| Actor::chosen_by(&mut dice)).collect();
    // One person works on a file at a time.
    let mut persons = BTreeSet::new();
    let is_a_person = |actor: &Actor| matches!(actor, Actor::Remount | Actor::Run);
    actors.retain(|actor| !is_a_person(actor) || persons.insert(format!("{actor:?}")));
    let found = MOUNTS.map(|point| (point, world.mount_line(point)));
    let untouched = OF_NOBODY.map(|path| (path, contents(world, path)));
    let _ = fs::remove_file(world.outside("/tmp/dpkg-failed"));
    let used = [OF_A_COMMAND, OF_A_PERSON].map(|path| (path, Holder::start(world.sandbox(), &["mapped", path])));
    let witnesses = used.each_ref().map(|(path, holder)| Witness::new(&scene, holder, "mapped", path));
    before.happens(&scene);
    std::thread::scope(|scope| {
        scope.spawn(|| trouble::ends_what_hangs(&scene));
        if is_troubled {
            let seed = dice.roll();
            let scene = &scene;
            scope.spawn(move || trouble::stops_and_kills(scene, seed));
        }
        let playing: Vec<_> = actors
            .iter()
            .map(|actor| {
                let (scene, seed) = (&scene, dice.roll());
                scope.spawn(move || actor.plays(scene, seed))
            })
            .collect();
        let ended: Vec<_> = playing.into_iter().map(|actor| actor.join()).collect();
        scene.check(ended.iter().all(Result::is_ok), || "an actor panicked (see stderr)".to_owned());
        scene.ends();
    });
    witnesses.iter().for_each(|witness| witness.looks(&scene));
    scene.note("      everybody has left".to_owned());
    scene.wait_until("no rokeep runs", || scene.running("rokeep").is_empty());
    scene.wait_until("no dpkg works", || scene.no_dpkg_works());
    if fs::read_to_string(world.outside("/run/rokeep/session.json")).is_ok_and(|text| text.contains("by_hand")) {
        scene.rokeep(&["remount", "ro"]);
    }
    // What was left behind is closed by whoever comes, unless they only look.
    if !is_troubled && before != Before::LeftBehind {
        rules::closed(&scene, &found);
    }
    let cleaned = scene.rokeep(&["cleanup"]);
    scene.check(cleaned.code == 0, || format!("the last cleanup ended with {}", cleaned.code));
    witnesses.iter().for_each(|witness| witness.looks(&scene));
    rules::closed(&scene, &found);
    rules::written_down(&scene);
    rules::no_file_is_touched(&scene, &untouched);
    drop(used);
    scene.rokeep(&["cleanup"]);
    // What a package manager was to replace and did not has its alias still.
    scene.rokeep(&["release"]);
    rules::without_a_trace(&scene, &found);
    tidy_up(world);
    let broken = scene.broken();
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!(
        "round {round}, seed {seed}{}:\n{}\n\nBefore: {before:?}. Who came: {actors:?}\n\nWhat was said, and when, in milliseconds:\n{}\n\n\
         The same actors once more, though what the kernel makes of it is never twice the same:\n\
         ROKEEP_AT_ONCE={seed}:{round}",
        if is_troubled { ", in which rokeeps are stopped or killed" } else { "" },
        broken.join("\n"),
        scene.said()
    ))
}

fn contents(world: &Small, path: &str) -> (u64, Vec<u8>) {
    let path = world.outside(path);
    (path.symlink_metadata().expect("it is there").ino(), fs::read(&path).expect("it is there"))
}

/// What a dpkg that died has left.
fn tidy_up(world: &Small) {
    let files = PACKAGES.iter().flat_map(|Package(_, files)| files).chain(&[OF_A_COMMAND, OF_A_PERSON]);
    let rests: Vec<String> =
        files.flat_map(|file| [".dpkg-new", ".dpkg-tmp"].map(|rest| format!("{file}{rest}"))).collect();
    let left: Vec<_> =
        rests.iter().map(|rest| world.outside(rest)).filter(|rest| rest.symlink_metadata().is_ok()).collect();
    if !left.is_empty() {
        world.writably(|| left.iter().for_each(|rest| fs::remove_file(rest).expect("it is there")));
    }
}
