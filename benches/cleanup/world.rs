//! Many processes, thousands of replaced files whose aliases are there still, and some of them in use.
#![allow(dead_code, reason = "each benchmark uses its own part")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::measure::{self, Cost};
use crate::support::peers::Peers;
use crate::support::sandbox::Sandbox;
use crate::support::small::{Change, Frontend, Holder, stream};
use crate::support::status::Status;

/// /usr on an ext4 image of its own, which has no name any more when this is done.
const SETUP: &str = r#"
mount -t tmpfs -o mode=755 root "$ROOT"
cd "$ROOT"
mkdir -p etc run tmp usr var/lib/dpkg/info var/lib/rokeep
for name in bin sbin lib; do ln -s usr/$name $name; done
echo 1 > var/lib/dpkg/info/format
truncate -s 4G "$IMAGES/usr"
mkfs.ext4 -q -N 400000 -E lazy_itable_init=0,lazy_journal_init=0 "$IMAGES/usr" >/dev/null
mount -o loop,nodev,noatime "$IMAGES/usr" usr
rm "$IMAGES/usr"
mkdir -p usr/lib/replaced usr/lib/mapped
"#;

/// Libraries that each process maps: 100 lines of its map, as of a small daemon.
const LIBRARIES: usize = 25;

/// Bytes that a library has for each of its parts.
const PAGE: usize = 4096;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Processes.
    pub processes: usize,
    /// Aliases of replaced files.
    pub aliases: usize,
    /// How many of these are in use, by one of the processes.
    pub held: usize,
}

/// The place where it happens. Dropping it ends all of it.
pub struct World {
    size: Size,
    frontend: Frontend,
    _holders: [Holder; 2],
    sandbox: Sandbox,
}

impl World {
    /// The files are replaced, and the session is still open: nothing is dropped.
    pub fn start(size: Size) -> Result<World> {
        let images = env!("CARGO_TARGET_TMPDIR");
        let sandbox = Sandbox::start(Path::new("/mnt"), &format!("IMAGES='{images}'\n{SETUP}"))?;
        measure::compile_into(&sandbox, "cleanup/floor.c", "floor")?;
        measure::compile_into(&sandbox, "cleanup/crowd.c", "crowd")?;
        measure::name_stand_ins(&sandbox)?;
        let libraries = write_files(&sandbox, "/usr/lib/mapped", LIBRARIES, 4 * PAGE)?;
        let files = write_files(&sandbox, "/usr/lib/replaced", size.aliases, PAGE)?;
        install(&sandbox, &files)?;
        fs::write(sandbox.outside("/tmp/libraries"), lines(&libraries))?;
        fs::write(sandbox.outside("/tmp/held"), lines(&spread_out(&files, size.held)))?;
        let count = size.processes.to_string();
        let holders = [
            Holder::start(&sandbox, &["env", "NAME=crowd", "/tool/crowd", &count, "/tmp/libraries"]),
            Holder::start(&sandbox, &["mapped-all", "/tmp/held"]),
        ];
        let remounted = sandbox.command("/tool/holder").args(["remount", "ro", "/usr"]).status()?;
        ensure!(remounted.success(), "/usr cannot become read-only: {remounted}");
        let frontend = Frontend::start(&sandbox, &["frontend"]);
        let mut world = World { size, frontend, _holders: holders, sandbox };
        world.hook("pre-invoke")?;
        world.hook("pre-install-pkgs")?;
        for file in &files {
            let (old, new) = (world.sandbox.outside(file), world.sandbox.outside("/usr/lib/new"));
            fs::write(&new, b"another version\n")?;
            fs::rename(new, old)?;
        }
        Ok(world)
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
        let (answer, cost) = measure::timed(&self.sandbox, &mut self.frontend, words, None)?;
        measure::assert_silent(words, &answer)?;
        Ok(cost)
    }

    /// A package run in which nothing is done.
    pub fn empty_run(&mut self) -> Result<Cost> {
        Ok(self.time(&["/tool/rokeep", "hook", "pre-invoke"])? + self.time(&["/tool/rokeep", "hook", "post-invoke"])?)
    }

    /// The loop in C.
    pub fn floor(&mut self) -> Result<Cost> {
        self.time(&["/tool/floor"])
    }

    /// `rokeep status --json`: who holds which of them. It must be right.
    pub fn status(&mut self) -> Result<Cost> {
        let words = ["/tool/rokeep", "status", "--json"];
        let (answer, cost) = measure::timed(&self.sandbox, &mut self.frontend, &words, None)?;
        measure::assert_silent(&words, &answer)?;
        let status: Status = serde_json::from_slice(&answer.stdout).context("status --json")?;
        let found = &status.mount("/usr").aliases;
        let Size { aliases, held, .. } = self.size;
        let right = (found.held, found.droppable) == (held, aliases - held);
        ensure!(right, "of {aliases} aliases {held} are held, and status says {found:?}");
        Ok(cost)
    }

    /// `rokeep cleanup`, where every alias is held and so nothing can be dropped: the decision, and no more.
    pub fn cleanup(&mut self) -> Result<Cost> {
        let cost = self.time(&["/tool/rokeep", "cleanup"])?;
        let left = self.aliases()?.len();
        ensure!(left == self.size.aliases, "{left} aliases are left of {}", self.size.aliases);
        Ok(cost)
    }

    /// Where the aliases are.
    pub fn aliases(&self) -> Result<Vec<String>> {
        let store = fs::read_dir(self.sandbox.outside("/usr/.rokeep"))?;
        let path = |entry: fs::DirEntry| format!("/usr/.rokeep/{}", entry.file_name().to_string_lossy());
        Ok(store.map(|entry| entry.map(path)).collect::<Result<_, _>>()?)
    }

    /// Other tools can be run here from now on.
    pub fn visited_by(&self, peers: &Peers) -> Result<()> {
        peers.visit(&self.sandbox)
    }

    /// Runs one of them, whatever it finds and so whatever it exits with: that it looks takes the time.
    pub fn ask(&mut self, words: &[String]) -> Result<Cost> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(measure::timed(&self.sandbox, &mut self.frontend, &words, None)?.1)
    }
}

fn write_files(sandbox: &Sandbox, dir: &str, count: usize, bytes: usize) -> Result<Vec<String>> {
    let files: Vec<String> = (0..count).map(|number| format!("{dir}/lib{number:06}.so")).collect();
    for file in &files {
        fs::write(sandbox.outside(file), vec![b'.'; bytes])?;
    }
    Ok(files)
}

fn install(sandbox: &Sandbox, files: &[String]) -> Result<()> {
    fs::write(sandbox.outside("/var/lib/dpkg/info/sample.list"), lines(files))?;
    let status = "Package: sample\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n";
    Ok(fs::write(sandbox.outside("/var/lib/dpkg/status"), status)?)
}

fn spread_out(files: &[String], count: usize) -> Vec<String> {
    files.iter().step_by(files.len().checked_div(count).unwrap_or(1).max(1)).take(count).cloned().collect()
}

fn lines(paths: &[String]) -> String {
    paths.iter().map(|path| format!("{path}\n")).collect()
}
