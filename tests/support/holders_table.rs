//! What the kernel, fuser, lsof, needrestart and rokeep say of every kind of holder, each asked for real.
//!
//! Writes the tables of `docs/holders.md`, between its two marks. Exit code 0 whatever they say: what rokeep should say
//! is for the tests.

#[path = "mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use serde_json::Value;
use support::kinds::{self, FILE_SYSTEMS, Keeps, Kind, Said};
use support::peers::Peers;
use support::small::{FileSystem, Holder, Run, Small};

const BEGIN: &str = "<!-- made by \"make holders\": do not edit -->\n";
const END: &str = "<!-- end -->\n";

fn main() -> Result<()> {
    let peers = Peers::get()?;
    let mut rows = Vec::new();
    for kind in kinds::ALL {
        let mut cells = Vec::new();
        let file_systems = if is_a_matter_of_luck(kind.name) { &FILE_SYSTEMS[..1] } else { &FILE_SYSTEMS };
        for file_system in file_systems.iter().copied() {
            eprintln!("{} on {}", kind.name, name_of(file_system));
            cells.push(match kind.missing_on(file_system) {
                Some(why) => Cells::missing(why),
                None => Cells::ask(kind, file_system, &peers)?,
            });
        }
        rows.push((kind.name, cells));
    }
    let kernel = nix::sys::utsname::uname()?;
    let kernel = kernel.release().to_string_lossy().split(['-', '+']).next().unwrap_or_default().to_owned();
    let text = format!("Linux {kernel}; {} (Debian 12).\n\n{}{}", peers.versions()?, table(&rows), differences(&rows));
    write(&text)
}

/// What everybody says of one kind on one file system, in the order of [`HEADS`].
#[derive(PartialEq, Eq)]
struct Cells([String; HEADS.len()]);

const HEADS: [&str; 7] =
    ["kernel", "`fuser FILE`", "`fuser -m`", "`lsof FILE`", "`lsof +L1`", "`needrestart`", "rokeep"];

impl Cells {
    fn missing(why: &str) -> Cells {
        Cells(std::array::from_fn(|column| if column == 0 { why.to_owned() } else { String::new() }))
    }

    fn ask(kind: &Kind, file_system: FileSystem, peers: &Peers) -> Result<Cells> {
        let world = kinds::world(file_system);
        world.remount("rw", "/usr").context("/usr can be written")?;
        peers.visit(world.sandbox())?;
        let holder = (kind.hold)(&world);
        let ask = |words: &[&str]| often_enough(kind, || Ok(names(kind, &peers.run(&world, words)?, &holder)));

        let fuser_file = ask(&["fuser", "-v", kind.path()])?;
        let lsof_file = ask(&["lsof", kind.path()])?;
        kind.replace(&world);
        let kernel = match world.remount("ro", "/usr") {
            Err(Errno::EBUSY) => "busy".to_owned(),
            other => format!("{other:?}"),
        };
        let fuser_mount = ask(&["fuser", "-v", "-m", "/usr"])?;
        let lsof_unlinked = ask(&["lsof", "+L1"])?;
        let script = "/tool/peers/usr/sbin/needrestart";
        let settings = "/tool/peers/etc/needrestart/needrestart.conf";
        let needrestart = ["perl", script, "-c", settings, "-b", "-l", "-v", "-r", "l"];
        let needrestart =
            often_enough(kind, || Ok(needrestart_names(kind, &peers.run(&world, &needrestart)?, &holder)))?;
        Ok(Cells([kernel, fuser_file, fuser_mount, lsof_file, lsof_unlinked, needrestart, rokeep(kind, file_system)]))
    }
}

/// Once, or so often that luck shows.
fn often_enough(kind: &Kind, named: impl Fn() -> Result<bool>) -> Result<String> {
    let times = if is_a_matter_of_luck(kind.name) { 30 } else { 1 };
    let named = (0..times).map(|_| named()).collect::<Result<Vec<_>>>()?;
    let answer = match (named.contains(&true), named.contains(&false)) {
        (true, true) => "by luck",
        (true, false) => "yes",
        (false, _) => "–",
    };
    Ok(answer.to_owned())
}

/// Of which one file system says as much as all.
fn is_a_matter_of_luck(name: &str) -> bool {
    name == kinds::PASSED_ON.name
}

/// Whether fuser or lsof name whoever holds it: the process, or the kernel where there is none.
fn names(kind: &Kind, run: &Run, holder: &Holder) -> bool {
    let has_word = |is: &dyn Fn(&str) -> bool| run.stdout.split_whitespace().any(is);
    match kind.said {
        // lsof has a line that says what a process is called; fuser writes only numbers here.
        Said::Somebody if run.stdout.starts_with("COMMAND") => has_word(&|word| word == "holder"),
        Said::Somebody => has_word(&|word| word.parse::<u32>().is_ok()),
        Said::Process(_) | Said::Unseen => has_word(&|word| word == holder.pid().to_string()),
        Said::Mount | Said::LoopDevice | Said::Nobody => {
            let said = run.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            ["swap /usr/lib/swap", "mount /tmp/mounted"].iter().any(|words| said.contains(words))
        }
    }
}

/// Its words for a process, while it looks.
fn needrestart_names(kind: &Kind, run: &Run, holder: &Holder) -> bool {
    let of = match kind.said {
        Said::Somebody => "[main] #".to_owned(),
        _ => format!("[main] #{} uses ", holder.pid()),
    };
    run.stderr.lines().any(|line| line.starts_with(&of) && line.contains(" uses "))
}

/// After the same with rokeep.
fn rokeep(kind: &Kind, file_system: FileSystem) -> String {
    let world = kinds::world(file_system);
    let (_holder, end) = kind.upgraded_while_held(&world);
    let is_kept = match kind.keeps {
        Keeps::File | Keeps::FileForWriting => !world.all_aliases().is_empty(),
        Keeps::Directory | Keeps::SwapFile => world.inode(kind.path()).is_some(),
    };
    let status = world.rokeep(["status", "--json"]).stdout;
    let mut who: Vec<String> = kinds::holders(&status, kind.path()).iter().map(in_words).collect();
    who.sort();
    who.dedup();
    let who = match (is_kept, who.as_slice()) {
        (false, _) => "**not kept**".to_owned(),
        (true, []) if end.stderr.contains(kind.path()) => "says that it is in the way".to_owned(),
        (true, []) => "kept".to_owned(),
        (true, who) => who.join(", "),
    };
    format!("{who}; {}", mount(&world))
}

fn in_words(holder: &Value) -> String {
    let uses: Vec<&str> = holder["uses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (holder["kind"].as_str(), uses.as_slice()) {
        (None | Some("process"), uses) => format!("the process: {}", uses.join(", ")),
        (Some("unseen"), _) => "that it is held".to_owned(),
        (Some(kind), _) => format!("the {}", kind.replace('-', " ")),
    }
}

fn mount(world: &Small) -> &'static str {
    use support::small::Access::{ReadOnly, ReadOnlyMount, Writable, WriteProtected};
    match world.access("/usr") {
        ReadOnly | WriteProtected => "read-only",
        ReadOnlyMount => "degraded",
        Writable => "writable until it ends",
    }
}

type Row<'a> = (&'a str, Vec<Cells>);

/// On the first of the file systems.
fn table(rows: &[Row]) -> String {
    let head = format!("| holder | {} |\n|---|{}\n", HEADS.join(" | "), "---|".repeat(HEADS.len()));
    let row = |(name, cells): &Row| {
        let cells = cells.first().map(|cells| cells.0.join(" | ")).unwrap_or_default();
        format!("| {name} | {cells} |\n")
    };
    head + &rows.iter().map(row).collect::<String>()
}

/// Whatever is not the same on the others.
fn differences(rows: &[Row]) -> String {
    let mut text = String::from("\nThe same on the other file systems, but for:\n\n");
    for (number, file_system) in FILE_SYSTEMS.into_iter().enumerate().skip(1) {
        let mut found: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, cells) in rows {
            let (Some(first), Some(here)) = (cells.first(), cells.get(number)) else { continue };
            let differs = HEADS.iter().zip(first.0.iter().zip(&here.0)).filter(|(_, (first, here))| first != here);
            let differs: Vec<String> = differs
                .filter(|(_, (_, here))| !here.is_empty())
                .map(|(head, (_, here))| format!("{head}: {here}"))
                .collect();
            let differs = differs.join("; ");
            match found.iter_mut().find(|(known, _)| *known == differs) {
                _ if differs.is_empty() => {}
                Some((_, names)) => names.push(name),
                None => found.push((differs, vec![name])),
            }
        }
        for (differs, names) in found {
            text += &format!("- {} – {differs} ({})\n", name_of(file_system), names.join("; "));
        }
    }
    text
}

fn name_of(file_system: FileSystem) -> &'static str {
    match file_system {
        FileSystem::Subvolume(_) => "btrfs subvolume",
        FileSystem::Overlay(_) => "overlayfs",
        FileSystem::Xfs => "xfs",
        FileSystem::Tmpfs => "tmpfs",
        FileSystem::Ext4 => "ext4",
        _ => "another",
    }
}

fn write(text: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/holders.md");
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (head, rest) = old.split_once(BEGIN).context("no mark where the tables begin")?;
    let (_, tail) = rest.split_once(END).context("no mark where the tables end")?;
    fs::write(&path, format!("{head}{BEGIN}\n{text}\n{END}{tail}"))?;
    println!("{text}");
    Ok(())
}
