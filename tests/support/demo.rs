//! The same upgrades twice, side by side: with the pair of remounts that every guide gives, and with rokeep.
//!
//! Both start from the same Debian root, with /usr read-only on its own ext4 and the same daemons running. Nothing of
//! this machine is touched; what the runs write is gone when this program is, however it ends. apt's own output stays
//! in `target/demo`. Exit code 0 only if the pair failed and rokeep did not.

#[path = "mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};
use support::debian::Debian;
use support::debian::base;
use support::debian::hooks::Hooks;
use support::sandbox::Access;

fn main() -> Result<ExitCode> {
    clean_up_when_interrupted()?;
    let progress = Progress(Instant::now());

    progress.say("a Debian 12, /usr read-only on its own ext4; apt has the pair of remounts");
    let pair = upgrade(
        &progress,
        "pair",
        &Debian::bookworm_with_all_lists()?.with_remount_pair()?.with_witnesses()?.read_only()?,
    )?;
    progress.say("the same Debian 12; apt has rokeep");
    let rokeep = upgrade(
        &progress,
        "rokeep",
        &Debian::bookworm_with_all_lists()?.with_rokeep()?.with_witnesses()?.read_only()?,
    )?;

    print!("{}", side_by_side(&pair, &rokeep));
    Ok(verdict(&pair, &rokeep))
}

/// What one of the two came to.
struct Outcome {
    apt: i32,
    took: Duration,
    usr: Access,
    hooks: Hooks,
    protected: usize,
    /// Files without a name, which keep the superblock from becoming read-only.
    deleted: Held,
    /// Files that were replaced and that rokeep keeps a name for.
    kept: Held,
    /// What rokeep itself had to say.
    said: String,
    /// What it is like once the daemons have ended: /usr, and the number of aliases.
    afterwards: (Access, usize),
}

fn upgrade(progress: &Progress, name: &str, debian: &Debian) -> Result<Outcome> {
    let daemons = debian.start_daemons()?;
    let names: Vec<&str> = daemons.iter().map(|daemon| daemon.program).collect();
    progress.say(&format!("running from it: {}", names.join(", ")));
    progress.say(&format!("apt-get dist-upgrade, {} packages", debian.upgrades()?.len()));
    let run = debian.apt(&["-y", "dist-upgrade"])?;
    debian.settled()?;
    let log = keep_output(name, &format!("{}{}", run.stdout, run.stderr))?;
    progress.say(&format!("apt ended with {}; what it wrote is in {log}", run.code));

    let (usr, deleted, kept) = (debian.usr()?, deleted(debian)?, kept(debian)?);
    progress.say("stopping the daemons");
    debian.stop_everything()?;
    debian.run("rokeep", &["cleanup"])?;
    Ok(Outcome {
        apt: run.code,
        took: run.took,
        usr,
        hooks: debian.hooks()?,
        protected: debian.aliases_before_dpkg()?,
        deleted,
        kept,
        said: words_of_rokeep(&run.stderr),
        afterwards: (debian.usr()?, debian.aliases()?.len()),
    })
}

fn words_of_rokeep(stderr: &str) -> String {
    let own = stderr.lines().filter(|line| line.starts_with("rokeep: "));
    own.map(|line| format!("  {line}\n")).collect()
}

/// Files, and by process what it is called and how many of them it holds.
#[derive(Default)]
struct Held {
    files: usize,
    by: BTreeMap<u32, (String, usize)>,
}

impl Held {
    fn add<'a>(&mut self, holders: impl Iterator<Item = (u32, &'a str)>) {
        self.files += 1;
        for (pid, command) in holders {
            self.by.entry(pid).or_insert((command.to_owned(), 0)).1 += 1;
        }
    }
}

fn deleted(debian: &Debian) -> Result<Held> {
    let mut held = Held::default();
    for file in debian.deleted_files()? {
        held.add(file.holders.iter().map(|(pid, command)| (*pid, command.as_str())));
    }
    Ok(held)
}

fn kept(debian: &Debian) -> Result<Held> {
    let mut held = Held::default();
    if debian.outside("/usr/sbin/rokeep").exists() {
        for file in debian.status()?.held {
            held.add(file.holders.iter().filter_map(|holder| Some((holder.pid?, holder.command.as_deref()?))));
        }
    }
    Ok(held)
}

fn keep_output(name: &str, text: &str) -> Result<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/demo");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(format!("{name}.log")), text)?;
    Ok(format!("target/demo/{name}.log"))
}

/// A table for 80 columns, then who holds what.
fn side_by_side(pair: &Outcome, rokeep: &Outcome) -> String {
    let row = |name: &str, value: &dyn Fn(&Outcome) -> String| {
        format!("{name:26}{:27}{}\n", value(pair), value(rokeep)).trim_end().to_owned() + "\n"
    };
    let rule = format!("{}\n", "─".repeat(79));
    [
        "\n".to_owned(),
        format!("{:26}{:27}{}\n", "", "remount before and after", "rokeep"),
        rule.clone(),
        row("apt's exit code", &|run| run.apt.to_string()),
        row("/usr at the end", &|run| state(run.usr)),
        row("apt took", &|run| format!("{:.1} s", run.took.as_secs_f64())),
        row("  of that, all hooks", &|run| time_in_hooks(run)),
        row("  peak memory of a hook", &|run| format!("{:.1} MiB", run.hooks.peak_mib())),
        row("files protected", &|run| run.protected.to_string()),
        row("deleted, but held", &|run| amount(&run.deleted)),
        row("replaced, held, kept", &|run| amount(&run.kept)),
        "once the daemons have ended\n".to_owned(),
        row("  /usr", &|run| state(run.afterwards.0)),
        row("  aliases left", &|run| run.afterwards.1.to_string()),
        rule,
        holders("Deleted files that keep /usr writable, after the pair", &pair.deleted),
        holders("Replaced files that rokeep keeps until they are let go", &rokeep.kept),
        format!("What rokeep said when apt was done:\n{}", rokeep.said),
    ]
    .concat()
}

fn state(access: Access) -> String {
    match access {
        Access::ReadOnly | Access::WriteProtected => "read-only".to_owned(),
        Access::ReadOnlyMount => "degraded".to_owned(),
        Access::Writable => "WRITABLE".to_owned(),
    }
}

fn time_in_hooks(run: &Outcome) -> String {
    let seconds = run.hooks.seconds();
    format!("{seconds:.2} s ({:.1} %)", 100.0 * seconds / run.took.as_secs_f64())
}

fn amount(held: &Held) -> String {
    match held.files {
        0 => "none".to_owned(),
        files => format!("{files} files, {} processes", held.by.len()),
    }
}

fn holders(title: &str, held: &Held) -> String {
    let mut by_command: BTreeMap<&str, (Vec<u32>, usize)> = BTreeMap::new();
    for (pid, (command, files)) in &held.by {
        let (pids, most) = by_command.entry(command).or_default();
        pids.push(*pid);
        *most = (*most).max(*files);
    }
    let line = |(command, (pids, files)): (&str, (Vec<u32>, usize))| {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        format!("  {command:18}{files:4} files   process {}\n", pids.join(", "))
    };
    if by_command.is_empty() {
        String::new()
    } else {
        format!("{title}:\n") + &by_command.into_iter().map(line).collect::<String>() + "\n"
    }
}

/// Success only if the run showed what it is there to show.
fn verdict(pair: &Outcome, rokeep: &Outcome) -> ExitCode {
    let mut shown = ExitCode::SUCCESS;
    if pair.apt == 0 || pair.usr != Access::Writable {
        println!("The pair did not fail here: apt ended with {}, /usr is {}.", pair.apt, state(pair.usr));
        shown = ExitCode::FAILURE;
    }
    if rokeep.apt != 0 || rokeep.usr != Access::ReadOnly {
        println!("rokeep FAILED here: apt ended with {}, /usr is {}.", rokeep.apt, state(rokeep.usr));
        shown = ExitCode::FAILURE;
    }
    shown
}

/// Says what goes on, with the seconds since the start.
struct Progress(Instant);

impl Progress {
    fn say(&self, what: &str) {
        println!("{:4} s  {what}", self.0.elapsed().as_secs());
    }
}

/// Ctrl-C, a closed terminal and a polite kill end this program at once. The kernel clears up after what runs (see
/// [`support::sandbox`]); only a half-made Debian root is ours to remove.
fn clean_up_when_interrupted() -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Every thread started from here on inherits this; programs do not, as Command resets it.
    signals.thread_block()?;
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            base::abandon();
            eprintln!("\ninterrupted; nothing was left behind");
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}
