//! The two systems: one with rokeep and a read-only /usr, and one as everybody has it, which says what would have come out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use crate::acts;
use crate::packages;
use crate::support::debian::{Debian, Run};

pub struct Systems {
    /// With rokeep, and who uses files.
    pub here: Debian,
    /// Without both, and /usr writable.
    pub there: Debian,
    /// What was different from the beginning: rokeep's own files.
    own: BTreeSet<PathBuf>,
    /// So many inodes more are free there.
    inodes_of_our_own: i64,
    /// Blocks that belong to no file, here.
    overhead: i64,
}

impl Systems {
    pub fn start() -> Result<Systems> {
        let made = packages::made()?;
        let ready = |debian: Debian| {
            packages::offer(&made, &debian)?;
            // Waiting for a disk is no part of it.
            debian.write("/etc/dpkg/dpkg.cfg.d/10soak", "force-unsafe-io\n")?;
            packages::install(&debian)?;
            acts::install(&debian)?;
            Ok::<_, anyhow::Error>(debian)
        };
        let (here, there) = thread::scope(|scope| {
            let there = scope.spawn(|| ready(Debian::bookworm()?));
            let here = Debian::bookworm().and_then(Debian::with_rokeep_as_it_is).and_then(ready);
            (here, there.join().expect("it does not panic"))
        });
        let (here, there) = (here?, there?);
        acts::permit_holders(&here)?;
        here.write(COUNT, &format!("pre-invoke=ls -A /usr/.rokeep 2>/dev/null | wc -l >>{COUNTED}\n"))?;
        let here = here.read_only()?;
        let own = tree(&here)?.keys().filter(|path| !there_is(&there, path)).cloned().collect();
        let mut systems = Systems { here, there, own, inodes_of_our_own: 0, overhead: 0 };
        let (here, there) = systems.space()?;
        systems.inodes_of_our_own = there.free_inodes - here.free_inodes;
        systems.overhead = here.used_blocks - systems.blocks_of_files()?;
        Ok(systems)
    }

    /// Runs commands on both at once.
    pub fn run(&self, here: &[String], there: Option<&[String]>) -> Result<(Run, Option<Run>)> {
        let run = |debian: &Debian, words: &[String]| {
            let (program, arguments) = words.split_first().context("a command")?;
            debian.run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        thread::scope(|scope| {
            let there = scope.spawn(|| there.map(|words| run(&self.there, words)).transpose());
            let here = run(&self.here, here);
            Ok((here?, there.join().expect("it does not panic")?))
        })
    }

    /// What dpkg says of our packages, here and there.
    pub fn packages(&self) -> Result<(String, String)> {
        let format = "--showformat=${binary:Package} ${Version} ${db:Status-Want} ${db:Status-Eflag} ${db:Status-Status} \
                      ${Conffiles}\n";
        let words = ["dpkg-query", "--show", format, "soak-*"].map(str::to_owned);
        let (here, there) = self.run(&words, Some(&words))?;
        Ok((here.stdout, there.context("it ran there, too")?.stdout))
    }

    /// How the trees below /usr differ, beside what rokeep is and keeps; a line each.
    pub fn differences(&self) -> Result<Vec<String>> {
        let (here, there) = thread::scope(|scope| {
            let there = scope.spawn(|| tree(&self.there));
            (tree(&self.here), there.join().expect("it does not panic"))
        });
        let (here, there) = (here?, there?);
        let kept: BTreeSet<&PathBuf> = here.keys().filter(|path| is_marker(path)).collect();
        let is_kept = |path: &PathBuf| kept.iter().any(|marker| marker.starts_with(path));
        let mut differences = Vec::new();
        for (path, entry) in &here {
            match there.get(path) {
                Some(other) if other != entry => differences.push(format!("{path:?}: {entry:?}, not {other:?}")),
                Some(_) => {}
                None if self.own.contains(path) || is_kept(path) => {}
                None => differences.push(format!("{path:?} is here only: {entry:?}")),
            }
        }
        let missing = there.iter().filter(|(path, _)| !here.contains_key(*path));
        differences.extend(missing.map(|(path, entry)| format!("{path:?} is missing: {entry:?}")));
        Ok(differences)
    }

    /// Markers of directories.
    pub fn markers(&self) -> Result<Vec<PathBuf>> {
        Ok(tree(&self.here)?.into_keys().filter(|path| is_marker(path)).collect())
    }

    /// Nobody uses anything and both are the same: then so much must be free as if rokeep had never been there.
    pub fn check_the_file_system(&self) -> Result<()> {
        let device = self.here.device_of_usr()?;
        let output = Command::new("e2fsck").args(["-f", "-n", &device]).output()?;
        ensure!(output.status.success(), "the file system is not clean: {}", String::from_utf8_lossy(&output.stdout));
        let (here, there) = self.space()?;
        let missing = there.free_inodes - here.free_inodes - self.inodes_of_our_own;
        ensure!(missing == 0, "{missing} inodes are in use that nothing leads to");
        let blocks = here.used_blocks - self.blocks_of_files()? - self.overhead;
        ensure!(blocks == 0, "{blocks} blocks are in use that belong to no file");
        Ok(())
    }

    /// How many aliases there were when dpkg started, each time that it did.
    pub fn aliases_before_dpkg(&self) -> Result<(usize, usize)> {
        let text = self.here.read(COUNTED).unwrap_or_default();
        let counts: Vec<usize> = text.lines().map(|line| line.trim().parse()).collect::<Result<_, _>>()?;
        Ok((counts.len(), counts.iter().sum()))
    }

    fn space(&self) -> Result<(Space, Space)> {
        // What was deleted a moment ago is freed when the file system is written.
        self.there.must("mount", &["-o", "remount,ro", "/usr"])?;
        let spaces = (Space::of(&self.here)?, Space::of(&self.there)?);
        self.there.must("mount", &["-o", "remount,rw", "/usr"])?;
        Ok(spaces)
    }

    fn blocks_of_files(&self) -> Result<i64> {
        let mut inodes = BTreeMap::new();
        for entry in WalkDir::new(self.here.outside("/usr")).same_file_system(true) {
            let metadata = entry?.metadata()?;
            inodes.insert(metadata.ino(), metadata.blocks());
        }
        // Sectors of 512 bytes; ext4 has blocks of 4096.
        Ok(i64::try_from(inodes.values().sum::<u64>() / 8)?)
    }
}

/// dpkg reads this directory in byte order, and has rokeep's hook by then.
const COUNT: &str = "/etc/dpkg/dpkg.cfg.d/zzz-count";
const COUNTED: &str = "/run/soak/aliases";

/// What dumpe2fs(8) says.
struct Space {
    free_inodes: i64,
    used_blocks: i64,
}

impl Space {
    fn of(debian: &Debian) -> Result<Space> {
        let output = Command::new("dumpe2fs").args(["-h", &debian.device_of_usr()?]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let number = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok::<i64, anyhow::Error>(found.trim().parse()?)
        };
        let used_blocks = number("Block count:")? - number("Free blocks:")?;
        Ok(Space { free_inodes: number("Free inodes:")?, used_blocks })
    }
}

/// What can be seen of a file, but for its times and number.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: char,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    /// Without ours.
    names: u64,
    /// Of small ones.
    contents: Option<Vec<u8>>,
}

/// Everything below /usr but the store.
fn tree(debian: &Debian) -> Result<BTreeMap<PathBuf, Entry>> {
    let root = debian.outside("/usr");
    let store = root.join(".rokeep");
    let mut entries = BTreeMap::new();
    for entry in WalkDir::new(&root).into_iter().filter_entry(|entry| entry.path() != store) {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        let kind = metadata.file_type();
        let kind = [(kind.is_dir(), 'd'), (kind.is_file(), '-'), (kind.is_symlink(), 'l'), (kind.is_fifo(), 'p')]
            .into_iter()
            .find_map(|(is, kind)| is.then_some(kind))
            .unwrap_or('?');
        let ours = u64::from(kind != 'd' && store.join(metadata.ino().to_string()).symlink_metadata().is_ok());
        let is_of_ours = path.as_os_str().as_bytes().windows(4).any(|part| part == b"soak");
        let contents = match kind {
            'l' => Some(fs::read_link(path)?.as_os_str().as_bytes().to_vec()),
            '-' if is_of_ours => Some(fs::read(path)?),
            _ => None,
        };
        let entry = Entry {
            kind,
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            size: if kind == 'd' { 0 } else { metadata.size() },
            names: if kind == 'd' { 0 } else { metadata.nlink() - ours },
            contents,
        };
        entries.insert(path.strip_prefix(&root)?.to_owned(), entry);
    }
    Ok(entries)
}

fn there_is(debian: &Debian, path: &Path) -> bool {
    match debian.outside("/usr").join(path).symlink_metadata() {
        Ok(_) => true,
        Err(why) => why.kind() != io::ErrorKind::NotFound,
    }
}

fn is_marker(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".rokeep."))
}
