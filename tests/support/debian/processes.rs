//! What /proc says about the processes of a system, and which deleted files they hold.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

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

/// A file of /usr that has no name any more and is there for its holders alone.
#[derive(Debug)]
pub struct DeletedFile {
    /// The name it had.
    pub name: PathBuf,
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
        let program = program.file_name()?.to_str()?.trim_end_matches(" (deleted)").to_owned();
        let stat = fs::read_to_string(directory.join("stat")).ok()?;
        // proc_pid_stat(5): field 2 ends with the last parenthesis, the start time is field 22.
        let started = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
        Some(Process { pid, started, program })
    }

    /// The files of /usr that were deleted and are held: what keeps its superblock from becoming read-only.
    pub fn deleted_files(&self) -> Result<Vec<DeletedFile>> {
        let device = fs::metadata(self.outside("/usr"))?.dev();
        let mut files: BTreeMap<u64, DeletedFile> = BTreeMap::new();
        for process in self.processes()? {
            for link in self.links_to_files(process.pid) {
                let Ok(file) = fs::metadata(&link) else { continue };
                if file.dev() != device || file.nlink() > 0 {
                    continue;
                }
                let name = fs::read_link(&link).context("a link that could be followed")?;
                let name = PathBuf::from(name.to_string_lossy().trim_end_matches(" (deleted)"));
                let deleted = files.entry(file.ino()).or_insert(DeletedFile { name, holders: BTreeMap::new() });
                deleted.holders.insert(process.pid, process.program.clone());
            }
        }
        Ok(files.into_values().collect())
    }

    fn links_to_files(&self, pid: u32) -> Vec<PathBuf> {
        let process = self.outside(&format!("/proc/{pid}"));
        let entries = |directory: &str| fs::read_dir(process.join(directory)).into_iter().flatten().flatten();
        let single = ["exe", "cwd", "root"].map(|link| process.join(link));
        entries("map_files").chain(entries("fd")).map(|entry| entry.path()).chain(single).collect()
    }
}
