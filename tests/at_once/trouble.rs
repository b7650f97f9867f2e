//! What befalls whoever is at work: to be stopped for a moment, to be killed, never to end.

use std::fs::File;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::Scene;
use crate::support::dice::Dice;

/// A round that takes so long hangs.
const FOR_EVER: Duration = Duration::from_secs(90);

/// Stops some rokeep at a random instant, for a moment, again and again; in a deadly round it kills one now and then.
pub fn stops_and_kills(scene: &Scene, seed: u64) {
    let mut dice = Dice::new(seed);
    while !scene.is_over() {
        std::thread::sleep(Duration::from_micros(dice.below(12_000)));
        // Now and then everybody queues for the lock, and somebody who had seen how things are comes last.
        let queue = if dice.below(4) == 0 { locked(scene, Duration::from_millis(20 + dice.below(80))) } else { None };
        let all = scene.running("rokeep");
        let Some((pid, line)) = all.get(dice.below(all.len() as u64) as usize) else { continue };
        let process = Pid::from_raw(*pid);
        let age = scene.age().as_millis();
        if scene.is_deadly && dice.below(6) == 0 {
            scene.note(format!("{age:>5} SIGKILL for {line}"));
            let _ = kill(process, Signal::SIGKILL);
            continue;
        }
        // Long enough, now and then, for others to do all that they came for.
        let longest = if queue.is_some() || dice.below(4) == 0 { 700 } else { 80 };
        let moment = Duration::from_millis(dice.below(longest));
        scene.note(format!("{age:>5} {line} is stopped for {moment:?}"));
        let _ = kill(process, Signal::SIGSTOP);
        drop(queue);
        std::thread::sleep(moment);
        let _ = kill(process, Signal::SIGCONT);
    }
}

/// As another rokeep has it, if nobody else has just now; what waits for it has gathered when this returns.
pub fn locked(scene: &Scene, gathering: Duration) -> Option<Flock<File>> {
    let file = File::options().write(true).open(scene.sandbox.outside("/run/rokeep/lock")).ok()?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
    std::thread::sleep(gathering);
    Some(lock)
}

/// Sees that a round ends: whoever hangs is named, and killed.
pub fn ends_what_hangs(scene: &Scene) {
    while !scene.is_over() {
        std::thread::sleep(Duration::from_millis(5));
        lets_stand_ins_go_on();
        if scene.age() > FOR_EVER {
            scene.check(false, || format!("somebody hangs: {}", scene.everybody()));
            for (pid, _) in ["rokeep", "holder"].iter().flat_map(|program| scene.running(program)) {
                // Process 1 takes everything with it.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// nsenter(1) stops itself when its child is stopped, and nobody tells it when that goes on.
fn lets_stand_ins_go_on() {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for thread in threads {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(child), Signal::SIGCONT);
        }
    }
}
