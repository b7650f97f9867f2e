//! One round: everything as it was, then somebody gives every file its link.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::packages::{self, FILES_EACH};
use super::shell::Shell;
use crate::measure::{self, Cost};
use crate::support::sandbox::Sandbox;
use crate::support::small::{Change, Frontend, Holder, stream};

/// How many processes use some of the files.
const HOLDERS: usize = 5;

/// Where the links are, of each of the three.
const STORES: [&str; 3] = [FLOORS, ROKEEPS, SHELLS];
const FLOORS: &str = "/usr/.floor";
const ROKEEPS: &str = "/usr/.rokeep";
const SHELLS: &str = "/usr/.shell-aliases";

/// What the kernel knows about the files when a round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// All of it was looked at just before.
    Warm,
    /// Nothing: it has to be read from the disk.
    Cold,
}

impl Cache {
    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Cache::Warm => "warm",
            Cache::Cold => "cold",
        }
    }
}

/// The place where it happens. Dropping it ends all of it.
pub struct World {
    frontend: Frontend,
    _holders: Vec<Holder>,
    sandbox: Sandbox,
    shell: Shell,
    sorted: Vec<PathBuf>,
    stream: Vec<u8>,
}

impl World {
    /// So many packages installed, some of their files in use, /usr found read-only and opened by rokeep for an apt.
    pub fn start(count: usize) -> Result<World> {
        let shell = Shell::get()?;
        let files = count * FILES_EACH;
        let sandbox = measure::sandbox(files + 100_000, &shell.setup())?;
        measure::compile_into(&sandbox, "protect/floor.c", "floor")?;
        shell.visit(&sandbox)?;
        let packages = packages::packages(count);
        packages::install(&packages, &sandbox.outside(""))?;
        packages::fetch(&packages, &sandbox.outside("/var/cache/apt/archives"), &sandbox.outside("/tmp/next"))?;
        let mut sorted: Vec<PathBuf> = packages.iter().flat_map(|package| package.files.clone()).collect();
        sorted.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        ensure!(sorted.len() == files, "there are {} files", sorted.len());
        fs::write(sandbox.outside("/tmp/sorted"), lines(&sorted))?;

        let holders = holders(&sandbox, &sorted, count)?;
        let remounted = sandbox.command("/tool/holder").args(["remount", "ro", "/usr"]).status()?;
        ensure!(remounted.success(), "/usr cannot become read-only: {remounted}");
        let changes: Vec<_> = packages.iter().map(|package| Change::Upgrade(&package.name, "1", "2")).collect();
        let stream = stream(&changes);
        let mut frontend = Frontend::start(&sandbox, &["frontend"]);
        let begin = ["/tool/rokeep", "hook", "pre-invoke"];
        measure::assert_silent(&begin, &measure::run(&mut frontend, &begin, None))?;
        Ok(World { frontend, _holders: holders, sandbox, shell, sorted, stream })
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.sorted.len()
    }

    /// The loop in C, all of them.
    pub fn floor(&mut self, cache: Cache) -> Result<Cost> {
        self.start_anew(cache)?;
        fs::create_dir(self.sandbox.outside(FLOORS))?;
        let words = ["/tool/floor", "/tmp/sorted", FLOORS];
        let cost = measure::timed(&self.sandbox, &mut self.frontend, &words, None)?;
        self.check(FLOORS, self.files())?;
        Ok(cost)
    }

    /// rokeep, all of them.
    pub fn rokeep(&mut self, cache: Cache) -> Result<Cost> {
        self.start_anew(cache)?;
        let words = ["/tool/rokeep", "hook", "pre-install-pkgs"];
        let cost = measure::timed(&self.sandbox, &mut self.frontend, &words, Some(&self.stream))?;
        self.check(ROKEEPS, self.files())?;
        Ok(cost)
    }

    /// The shell way, so many of them, from all over the list.
    pub fn shell(&mut self, sample: usize) -> Result<Cost> {
        let some: Vec<PathBuf> = self.sorted.iter().step_by(self.files() / sample).take(sample).cloned().collect();
        fs::write(self.sandbox.outside("/tmp/sample"), lines(&some))?;
        self.start_anew(Cache::Warm)?;
        let words = self.shell.command(&[SHELLS, "/tmp/sample"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let cost = measure::timed(&self.sandbox, &mut self.frontend, &words, None)?;
        self.check(SHELLS, sample)?;
        Ok(cost)
    }

    /// What rokeep does, once, without a look at the clock, by other words before its own.
    pub fn rokeep_under(&mut self, words: &[&str]) -> Result<()> {
        self.start_anew(Cache::Warm)?;
        let words = [words, &["/tool/rokeep", "hook", "pre-install-pkgs"]].concat();
        let answer = measure::run(&mut self.frontend, &words, Some(&self.stream));
        ensure!(answer.code == 0, "{words:?} ended with {}: {}", answer.code, String::from_utf8_lossy(&answer.stderr));
        self.check(ROKEEPS, self.files())
    }

    /// Who calls the hooks, by its process id out here.
    pub fn frontend_pid(&self) -> Result<i32> {
        self.frontend.outer_pid().context("the frontend is gone")
    }

    /// For who brings programs of his own.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// No store, no journal, nothing left to be written, and the files in memory or not.
    fn start_anew(&self, cache: Cache) -> Result<()> {
        for store in STORES.map(|store| self.sandbox.outside(store)) {
            if store.exists() {
                fs::remove_dir_all(store)?;
            }
        }
        let journal = self.sandbox.outside("/var/lib/rokeep/journal.jsonl");
        if journal.exists() {
            fs::remove_file(journal)?;
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

    fn check(&self, store: &str, expected: usize) -> Result<()> {
        let links = fs::read_dir(self.sandbox.outside(store))?.count();
        ensure!(links == expected, "there are {links} links in {store}, not {expected}");
        Ok(())
    }
}

/// Each uses files all over the list; as many as there are packages, together.
fn holders(sandbox: &Sandbox, sorted: &[PathBuf], packages: usize) -> Result<Vec<Holder>> {
    let each = packages.div_ceil(HOLDERS);
    let holder = |number: usize| {
        let list = format!("/tmp/in-use-{number}");
        let files: Vec<_> = sorted.iter().skip(number).step_by(sorted.len() / each).cloned().collect();
        fs::write(sandbox.outside(&list), lines(&files))?;
        Ok(Holder::start(sandbox, &["mapped-all", &list]))
    };
    (0..HOLDERS).map(holder).collect()
}

fn lines(paths: &[PathBuf]) -> Vec<u8> {
    paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\n"].concat()).collect()
}
