//! Where else a file may be reached from, and used: in other namespaces, by other mounts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::time::{ClockId, clock_gettime};

use super::states::{Kept, kept};
use super::{mapped, say};

pub fn own_mounts() -> Result<()> {
    Ok(nix::sched::unshare(CloneFlags::CLONE_NEWNS)?)
}

pub fn another_path_to(path: &Path) -> Result<PathBuf> {
    let (dir, name) = (path.parent().context("no directory")?, path.file_name().context("no name")?);
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let elsewhere = Path::new("/tmp/elsewhere/further");
    fs::create_dir_all(elsewhere)?;
    mount(Some(dir), elsewhere, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(elsewhere.join(name))
}

/// The first process of a new pid namespace is a child; it calls itself 1, and is not called that here.
pub fn own_processes(state: &str, path: &Path) -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    let myself = std::env::args_os().next().context("no name")?;
    let mut child = Command::new(myself).arg(state).arg(path).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "1 ready\n", "it says {line:?}");
    say(&format!("{} ready", child.id()))?;
    ensure!(child.wait()?.success(), "it failed");
    Ok(())
}

/// Undone when it is dropped.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::empty()).map(|()| fs::remove_file(&self.0));
    }
}

/// This process itself has nothing to do with the file.
pub fn mounted(path: &Path) -> Result<Kept> {
    let place = PathBuf::from("/tmp/mounted");
    File::create(&place)?;
    mount(Some(path), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    kept(Ok::<_, anyhow::Error>(Mount(place)))
}

/// As a container's engine does it; only this process sees the overlay.
pub fn overlaid(path: &Path) -> Result<Kept> {
    let mut names = path.components();
    let below: PathBuf = names.by_ref().take(2).collect();
    let place = Path::new("/tmp/overlay");
    own_mounts()?;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    [place, Path::new("/tmp/empty")].into_iter().try_for_each(fs::create_dir)?;
    let options = format!("lowerdir={}:/tmp/empty", below.display());
    mount(Some("overlay"), place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    mapped::mapped(&place.join(names.as_path()))
}

/// capabilities(7): what is out of the bounding set is gone with the next exec.
#[allow(unsafe_code, reason = "nix has no prctl(2) for this")]
pub fn give_up_ptrace() -> Result<()> {
    const CAP_SYS_PTRACE: libc::c_ulong = 19;
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) })?;
    Ok(())
}

/// The machine has run for longer.
pub fn later(seconds: u32, command: &[&str]) -> Result<ExitCode> {
    in_another_time(&format!("boottime {seconds} 0\nmonotonic {seconds} 0\n"), command)
}

/// The machine has run for no time yet.
pub fn just_started(command: &[&str]) -> Result<ExitCode> {
    const SECOND: i64 = 1_000_000_000;
    let run = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    // Only the seconds can be less than nothing.
    let (seconds, nanoseconds) = (-run.tv_sec() - 1, SECOND - run.tv_nsec());
    in_another_time(&format!("boottime {seconds} {}\n", nanoseconds.min(SECOND - 1)), command)
}

/// In a time namespace, which is that of the children of whoever makes it.
fn in_another_time(offsets: &str, command: &[&str]) -> Result<ExitCode> {
    let (program, words) = command.split_first().context("no command")?;
    nix::sched::unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME))?;
    std::fs::write("/proc/self/timens_offsets", offsets)?;
    // With an id to take on, a child has memory of its own from the beginning, without which it cannot be in another one.
    let ended = Command::new(program).args(words).uid(0).status()?;
    Ok(ExitCode::from(u8::try_from(ended.code().unwrap_or(255))?))
}
