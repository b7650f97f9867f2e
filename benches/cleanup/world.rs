//! Many processes, thousands of replaced files whose aliases are there still, and some of them in use.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::measure::{self, Cost};
use crate::support::peers::Peers;
use crate::support::sandbox::Sandbox;
use crate::support::small::{Change, Frontend, Holder, stream};
use crate::support::status::Status;

/// Where the aliases are.
pub const STORE: &str = "/usr/.rokeep";

/// Libraries that each process maps: 100 lines of its map, as of a small daemon.
const LIBRARIES: usize = 25;

/// Bytes that a library has for each of its parts.
const PAGE: usize = 4096;

/// So many files are mapped by one process at most: the kernel permits some more (`vm.max_map_count`).
const MAPPED_BY_ONE: usize = 50_000;

/// The place where it happens. Dropping it ends all of it.
pub struct World {
    frontend: Frontend,
    files: Vec<String>,
    held: usize,
    crowds: Vec<Holder>,
    _holder: Holder,
    holders_of_the_rest: Vec<Holder>,
    sandbox: Sandbox,
}

impl World {
    /// So many aliases of replaced files, of which so many are held by a process. The session is still open: nothing is
    /// dropped.
    pub fn start(aliases: usize, held: usize) -> Result<World> {
        let sandbox = measure::sandbox(2 * aliases + 50_000, "mkdir -p usr/lib/replaced usr/lib/mapped\n")?;
        measure::compile_into(&sandbox, "cleanup/floor.c", "floor")?;
        measure::compile_into(&sandbox, "cleanup/crowd.c", "crowd")?;
        // rokeep passes over shells on its way up to apt.
        measure::compile_into(&sandbox, "cleanup/undecided.c", "bash")?;
        let libraries = write_files(&sandbox, "/usr/lib/mapped", LIBRARIES, 4 * PAGE)?;
        let files = write_files(&sandbox, "/usr/lib/replaced", aliases, PAGE)?;
        install(&sandbox, &files)?;
        fs::write(sandbox.outside("/tmp/libraries"), lines(&libraries))?;
        let holder = map_all(&sandbox, "/tmp/held", &spread_out(&files, held))?;
        let frontend = Frontend::start(&sandbox, &["frontend"]);
        let (crowds, holders_of_the_rest) = (Vec::new(), Vec::new());
        let mut world = World { frontend, files, held, crowds, _holder: holder, holders_of_the_rest, sandbox };
        world.remount("ro")?;
        world.protect_and_replace()?;
        Ok(world)
    }

    /// A package run as far as dpkg's end: each file has its alias, and was replaced.
    pub fn protect_and_replace(&mut self) -> Result<()> {
        self.hook("pre-invoke")?;
        self.hook("pre-install-pkgs")?;
        for file in &self.files {
            let (old, new) = (self.sandbox.outside(file), self.sandbox.outside("/usr/lib/new"));
            fs::write(&new, b"another version\n")?;
            fs::rename(new, old)?;
        }
        nix::unistd::sync();
        Ok(())
    }

    /// So many processes more.
    pub fn add_processes(&mut self, count: usize) -> Result<()> {
        // The first of them is one itself.
        let children = count.saturating_sub(1).to_string();
        self.crowds
            .push(Holder::start(&self.sandbox, &["env", "NAME=crowd", "/tool/crowd", &children, "/tmp/libraries"]));
        Ok(())
    }

    /// Those that were added last end.
    pub fn end_processes(&mut self) {
        drop(self.crowds.pop());
    }

    /// From now on every alias is held.
    pub fn hold_the_rest(&mut self) -> Result<()> {
        for (number, some) in self.aliases()?.chunks(MAPPED_BY_ONE).enumerate() {
            self.holders_of_the_rest.push(map_all(&self.sandbox, &format!("/tmp/rest-{number}"), some)?);
        }
        Ok(())
    }

    /// Those are let go again.
    pub fn let_go(&mut self) {
        self.holders_of_the_rest.clear();
    }

    /// apt calls a hook.
    pub fn hook(&mut self, name: &str) -> Result<()> {
        let stream = stream(&[Change::Upgrade("sample", "1", "2")]);
        let answer = measure::run(&mut self.frontend, &["/tool/rokeep", "hook", name], Some(&stream));
        let said = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.code == 0, "{name} ended with {}: {said}", answer.code);
        Ok(())
    }

    /// Runs it as a hook's shell would. It must have nothing to complain of.
    pub fn time(&mut self, words: &[&str]) -> Result<Cost> {
        measure::timed(&self.sandbox, &mut self.frontend, words, None)
    }

    /// The end of a package run as far as its decision: it is killed when it is about to drop the first alias.
    pub fn decide(&mut self) -> Result<Cost> {
        let cost = self.time(&["/tool/bash", STORE, "/tool/rokeep", "hook", "post-invoke"])?;
        self.assert_aliases(self.files.len())?;
        Ok(cost)
    }

    /// The end of a package run, once, without a look at the clock, by other words before its own.
    pub fn end_under(&mut self, words: &[&str]) -> Result<()> {
        let words = [words, &["/tool/rokeep", "hook", "post-invoke"]].concat();
        let answer = measure::run(&mut self.frontend, &words, None);
        ensure!(answer.code == 0, "{words:?} ended with {}: {}", answer.code, String::from_utf8_lossy(&answer.stderr));
        Ok(())
    }

    /// `rokeep status --json` must say of each alias what is true.
    pub fn assert_right(&mut self) -> Result<()> {
        let words = ["/tool/rokeep", "status", "--json"];
        let answer = measure::run(&mut self.frontend, &words, None);
        measure::assert_silent(&words, &answer)?;
        let status: Status = serde_json::from_slice(&answer.stdout).context("status --json")?;
        let found = &status.mount("/usr").aliases;
        let (aliases, held) = (self.files.len(), self.held);
        let right = (found.held, found.droppable) == (held, aliases - held);
        ensure!(right, "of {aliases} aliases {held} are held, and status says {found:?}");
        Ok(())
    }

    /// So many aliases are left.
    pub fn assert_aliases(&self, expected: usize) -> Result<()> {
        let left = self.aliases()?.len();
        ensure!(left == expected, "{left} aliases are left, not {expected}");
        Ok(())
    }

    /// Where the aliases are.
    pub fn aliases(&self) -> Result<Vec<String>> {
        let store = self.sandbox.outside(STORE);
        if !store.exists() {
            return Ok(Vec::new());
        }
        let path = |entry: fs::DirEntry| format!("{STORE}/{}", entry.file_name().to_string_lossy());
        Ok(fs::read_dir(store)?.map(|entry| entry.map(path)).collect::<Result<_, _>>()?)
    }

    /// mount(8) with `-o remount,HOW`.
    pub fn remount(&self, how: &str) -> Result<()> {
        let remounted = self.sandbox.command("/tool/holder").args(["remount", how, "/usr"]).status()?;
        ensure!(remounted.success(), "/usr cannot become {how}: {remounted}");
        Ok(())
    }

    /// Nobody knows any more that there were aliases.
    pub fn forget_the_journal(&self) -> Result<()> {
        Ok(fs::remove_file(self.sandbox.outside("/var/lib/rokeep/journal.jsonl"))?)
    }

    /// Other tools can be run here from now on.
    pub fn visited_by(&self, peers: &Peers) -> Result<()> {
        peers.visit(&self.sandbox)
    }

    /// Runs one of them, whatever it finds and so whatever it exits with: that it looks takes the time.
    pub fn ask(&mut self, words: &[String]) -> Result<Cost> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(measure::timed_outcome(&self.sandbox, &mut self.frontend, &words, None)?.1)
    }

    /// Who calls the hooks, by its process id out here.
    pub fn frontend_pid(&self) -> Result<i32> {
        self.frontend.outer_pid().context("the frontend is gone")
    }

    /// For who brings programs of his own, or looks from outside.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }
}

fn write_files(sandbox: &Sandbox, dir: &str, count: usize, bytes: usize) -> Result<Vec<String>> {
    let files: Vec<String> = (0..count).map(|number| format!("{dir}/lib{number:06}.so")).collect();
    let contents = vec![b'.'; bytes];
    for file in &files {
        fs::write(sandbox.outside(file), &contents)?;
    }
    Ok(files)
}

/// All of them are one package's.
fn install(sandbox: &Sandbox, files: &[String]) -> Result<()> {
    let list = format!("/.\n/usr\n/usr/lib\n/usr/lib/replaced\n{}", lines(files));
    fs::write(sandbox.outside("/var/lib/dpkg/info/sample.list"), list)?;
    let status = "Package: sample\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\
                  Maintainer: Nobody <nobody@example.org>\nDescription: a benchmark\n\n";
    Ok(fs::write(sandbox.outside("/var/lib/dpkg/status"), status)?)
}

/// A process that maps them.
fn map_all(sandbox: &Sandbox, list: &str, files: &[String]) -> Result<Holder> {
    fs::write(sandbox.outside(list), lines(files))?;
    Ok(Holder::start(sandbox, &["mapped-all", list]))
}

fn spread_out(files: &[String], count: usize) -> Vec<String> {
    files.iter().step_by(files.len().checked_div(count).unwrap_or(1).max(1)).take(count).cloned().collect()
}

fn lines(paths: &[String]) -> String {
    paths.iter().map(|path| format!("{path}\n")).collect()
}
