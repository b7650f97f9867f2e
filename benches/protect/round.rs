//! One round: everything as it was, then one of the two gives every file its link.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::measure::{self, Cost};
use crate::support::sandbox::Sandbox;
use crate::support::small::{Change, Frontend, Holder, stream};
use crate::world::{self, FILES, Package};

/// /usr on an ext4 image of its own, and so is /var, where the journal is. What the images are in has no name any more
/// when this is done: nothing is left of them, however the benchmark ends.
const SETUP: &str = r#"
mount -t tmpfs -o mode=755 root "$ROOT"
cd "$ROOT"
mkdir -p etc run tmp usr var
for name in bin sbin lib; do ln -s usr/$name $name; done
for name in usr var; do
    truncate -s 4G "$IMAGES/$name"
    mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$IMAGES/$name" >/dev/null
    mount -o loop,nodev,noatime "$IMAGES/$name" $name
    rm "$IMAGES/$name"
done
mkdir -p var/lib/dpkg/info var/lib/rokeep var/cache/apt/archives
echo 1 > var/lib/dpkg/info/format
"#;

/// How many processes use some of the files, and how many each.
const HOLDERS: (usize, usize) = (5, 80);

/// Who gives the files their links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// The loop in C.
    Floor,
    /// `rokeep hook pre-install-pkgs`.
    Rokeep,
}

impl Contestant {
    /// Both, in the order of a round.
    pub const BOTH: [Contestant; 2] = [Contestant::Floor, Contestant::Rokeep];

    fn store(self) -> &'static str {
        match self {
            Contestant::Floor => "/usr/.floor",
            Contestant::Rokeep => "/usr/.rokeep",
        }
    }

    fn command(self) -> Vec<&'static str> {
        match self {
            Contestant::Floor => vec!["/tool/floor", "/tmp/sorted", "/usr/.floor"],
            Contestant::Rokeep => vec!["/tool/rokeep", "hook", "pre-install-pkgs"],
        }
    }
}

/// What the kernel knows about the files when a round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// All of it was looked at just before.
    Warm,
    /// Nothing: it has to be read from the disk.
    Cold,
}

/// How often which system call was made: those that most calls were of.
pub struct SystemCalls(pub Vec<(u64, String)>);

impl SystemCalls {
    /// Of a table of strace's: share of time, seconds, time a call, calls, errors if there were any, name.
    fn read(lines: &[String]) -> SystemCalls {
        let row = |line: &String| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some((words.get(3)?.parse().ok()?, (*words.last()?).to_owned()))
        };
        let of_a_name = |(_, name): &(u64, String)| name != "total";
        SystemCalls(lines.iter().filter_map(row).filter(of_a_name).take(6).collect())
    }
}

/// What both took, round by round.
#[derive(Default)]
pub struct Costs {
    /// The loop in C.
    pub floor: Vec<Cost>,
    /// rokeep.
    pub rokeep: Vec<Cost>,
}

/// The place where it happens.
pub struct World {
    frontend: Frontend,
    _holders: Vec<Holder>,
    sandbox: Sandbox,
    packages: Vec<Package>,
    sorted: Vec<PathBuf>,
    stream: Vec<u8>,
}

impl World {
    /// Packages installed, some of their files in use, /usr found read-only and opened by rokeep for an apt.
    pub fn start() -> Result<World> {
        let sandbox = sandbox()?;
        let packages = world::packages();
        world::install(&packages, &sandbox.outside(""))?;
        world::fetch(&packages, &sandbox.outside("/var/cache/apt/archives"), &sandbox.outside("/tmp/next"))?;
        let mut sorted: Vec<PathBuf> = packages.iter().flat_map(|package| package.files.clone()).collect();
        sorted.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        ensure!(sorted.len() == FILES, "there are {} files", sorted.len());
        fs::write(sandbox.outside("/tmp/sorted"), lines(&sorted))?;

        let holders = holders(&sandbox, &sorted)?;
        let remounted = sandbox.command("/tool/holder").args(["remount", "ro", "/usr"]).status()?;
        ensure!(remounted.success(), "/usr cannot become read-only: {remounted}");
        let changes: Vec<_> = packages.iter().map(|package| Change::Upgrade(&package.name, "1", "2")).collect();
        let stream = stream(&changes);
        let frontend = Frontend::start(&sandbox, &["frontend"]);
        let mut world = World { frontend, _holders: holders, sandbox, packages, sorted, stream };
        world.run(&["/tool/rokeep", "hook", "pre-invoke"])?;
        Ok(world)
    }

    /// What there is, in a few lines.
    pub fn describe(&self) -> Result<String> {
        let bytes: usize = self.sorted.iter().map(|path| path.as_os_str().len()).sum();
        let dirs: BTreeMap<_, ()> = self.sorted.iter().map(|path| (path.parent(), ())).collect();
        let (processes, each) = HOLDERS;
        Ok(format!(
            "{FILES} files of {} packages in {} directories on ext4, paths of {} bytes, {} of them in use; Linux {}",
            self.packages.len(),
            dirs.len(),
            bytes / FILES,
            processes * each,
            fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        ))
    }

    /// Rounds of one after the other.
    pub fn alternately(&mut self, rounds: usize, cache: Cache) -> Result<Costs> {
        let mut costs = Costs::default();
        for _ in 0..rounds {
            costs.floor.push(self.round(Contestant::Floor, cache)?);
            costs.rokeep.push(self.round(Contestant::Rokeep, cache)?);
        }
        Ok(costs)
    }

    /// How often which system call was made, by strace(1), in a run that nobody measures. The few calls of whoever
    /// starts the process are among them.
    pub fn system_calls(&mut self, contestant: Contestant) -> Result<SystemCalls> {
        self.start_anew(contestant, Cache::Warm)?;
        let frontend = self.frontend.outer_pid().context("the frontend is gone")?;
        let mut strace = Command::new("strace")
            .args(["--follow-forks", "--summary-only", "--summary-sort-by=calls", "--attach", &frontend.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start strace")?;
        let mut said = BufReader::new(strace.stderr.take().context("strace says nothing")?).lines();
        let attached = said.next().context("strace ended")??;
        ensure!(attached.contains("attached"), "{attached}");
        let ran = self.run(&contestant.command());
        kill(Pid::from_raw(i32::try_from(strace.id())?), Signal::SIGINT)?;
        let counts: Vec<String> = said.collect::<Result<_, _>>()?;
        strace.wait()?;
        ran.and_then(|()| self.check(contestant))?;
        Ok(SystemCalls::read(&counts))
    }

    fn round(&mut self, contestant: Contestant, cache: Cache) -> Result<Cost> {
        self.start_anew(contestant, cache)?;
        let (words, stream) = (contestant.command(), Some(self.stream.as_slice()));
        let (answer, cost) = measure::timed(&self.sandbox, &mut self.frontend, &words, stream)?;
        measure::assert_silent(&words, &answer)?;
        self.check(contestant)?;
        Ok(cost)
    }

    /// No store, no journal, nothing left to be written, and the files in memory or not.
    fn start_anew(&self, contestant: Contestant, cache: Cache) -> Result<()> {
        for store in Contestant::BOTH.map(Contestant::store) {
            let store = self.sandbox.outside(store);
            if store.exists() {
                fs::remove_dir_all(store)?;
            }
        }
        let journal = self.sandbox.outside("/var/lib/rokeep/journal.jsonl");
        if journal.exists() {
            fs::remove_file(journal)?;
        }
        if contestant == Contestant::Floor {
            fs::create_dir(self.sandbox.outside(contestant.store()))?;
        }
        nix::unistd::sync();
        match cache {
            Cache::Warm => {
                let usr = self.sandbox.outside("");
                for path in &self.sorted {
                    fs::symlink_metadata(usr.join(path.strip_prefix("/")?))?;
                }
            }
            Cache::Cold => fs::write("/proc/sys/vm/drop_caches", "3")?,
        }
        Ok(())
    }

    /// It must succeed and have nothing to say.
    fn run(&mut self, words: &[&str]) -> Result<()> {
        measure::assert_silent(words, &measure::run(&mut self.frontend, words, Some(&self.stream)))
    }

    fn check(&self, contestant: Contestant) -> Result<()> {
        let links = fs::read_dir(self.sandbox.outside(contestant.store()))?.count();
        ensure!(links == FILES, "{contestant:?} made {links} links, not {FILES}");
        Ok(())
    }
}

fn sandbox() -> Result<Sandbox> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let sandbox = Sandbox::start(Path::new("/mnt"), &format!("IMAGES='{}'\n{SETUP}", target.display()))?;
    measure::compile_into(&sandbox, "protect/floor.c", "floor")?;
    measure::name_stand_ins(&sandbox)?;
    Ok(sandbox)
}

/// Each uses files all over the list.
fn holders(sandbox: &Sandbox, sorted: &[PathBuf]) -> Result<Vec<Holder>> {
    let (processes, each) = HOLDERS;
    let holder = |number: usize| {
        let list = format!("/tmp/in-use-{number}");
        let files: Vec<_> = sorted.iter().skip(number).step_by(FILES / each).cloned().collect();
        fs::write(sandbox.outside(&list), lines(&files))?;
        Ok(Holder::start(sandbox, &["mapped-all", &list]))
    };
    (0..processes).map(holder).collect()
}

fn lines(paths: &[PathBuf]) -> Vec<u8> {
    paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\n"].concat()).collect()
}
