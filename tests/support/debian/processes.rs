//! What /proc says about the processes of a system, and which deleted files they hold.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Debian;

/// A process of the system, seen from inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did; with the number it is its identity.
    pub started: u64,
    /// The name of its program's file.
    pub program: String,
}

/// A file of /usr that processes use.
#[derive(Debug)]
pub struct UsedFile {
    /// What it is called, or was.
    pub name: PathBuf,
    /// How many names it has.
    pub links: u64,
    /// The processes that have it open, mapped, or as their program, by number, with the names of their programs.
    pub holders: BTreeMap<u32, String>,
}

impl Debian {
    /// Every process but the first.
    pub(super) fn processes(&self) -> Result<Vec<Process>> {
        let numbers = fs::read_dir(self.outside("/proc"))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid: &u32| pid != 1);
        // One that ends meanwhile, and a zombie, have no program.
        Ok(numbers.filter_map(|pid| self.process(pid)).collect())
    }

    fn process(&self, pid: u32) -> Option<Process> {
        let directory = self.outside(&format!("/proc/{pid}"));
        let program = fs::read_link(directory.join("exe")).ok()?;
        let program = without_mark(&program).file_name()?.to_str()?.to_owned();
        let stat = fs::read_to_string(directory.join("stat")).ok()?;
        // proc_pid_stat(5): field 2 ends with the last parenthesis, the start time is field 22.
        let started = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
        Some(Process { pid, started, program })
    }

    /// The files of /usr that are in use, by inode number.
    pub fn used_files(&self) -> Result<BTreeMap<u64, UsedFile>> {
        let device = fs::metadata(self.outside("/usr"))?.dev();
        let mut files: BTreeMap<u64, UsedFile> = BTreeMap::new();
        for process in self.processes()? {
            for link in self.links_to_files(process.pid) {
                // What was let go meanwhile cannot be followed.
                let (Ok(file), Ok(name)) = (fs::metadata(&link), fs::read_link(&link)) else { continue };
                if file.dev() == device {
                    let new = || UsedFile { name: without_mark(&name), links: file.nlink(), holders: BTreeMap::new() };
                    let used = files.entry(file.ino()).or_insert_with(new);
                    used.holders.insert(process.pid, process.program.clone());
                }
            }
        }
        Ok(files)
    }

    /// Those of them that were deleted: they keep the superblock from becoming read-only.
    pub fn deleted_files(&self) -> Result<Vec<UsedFile>> {
        Ok(self.used_files()?.into_values().filter(|file| file.links == 0).collect())
    }

    fn links_to_files(&self, pid: u32) -> Vec<PathBuf> {
        let process = self.outside(&format!("/proc/{pid}"));
        let entries = |directory: &str| fs::read_dir(process.join(directory)).into_iter().flatten().flatten();
        let single = ["exe", "cwd", "root"].map(|link| process.join(link));
        entries("map_files").chain(entries("fd")).map(|entry| entry.path()).chain(single).collect()
    }
}

/// proc_pid_fd(5): what was deleted is marked so, behind its name.
fn without_mark(name: &Path) -> PathBuf {
    PathBuf::from(name.to_string_lossy().trim_end_matches(" (deleted)"))
}
