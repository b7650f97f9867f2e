//! dpkg, as far as its hooks, and single files and directories are concerned.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{getpid, getppid};

use super::frontend::carry_out;
use super::{say, states};

/// Set for whom the words are those of a real dpkg; not for its children.
pub const STAYS: &str = "DPKG_STAYS";

/// Set for whom the words are those of a real one, too: the files that it replaces, with colons between them.
pub const UPGRADES: &str = "DPKG_UPGRADES";

/// All of one run: the first hook, the files one after the other with the database locked, the last hook. With `DPKG_KILLS`
/// it kills somebody when it has replaced the first file: `yes` its caller, `itself` itself; `before-it-locks` its caller,
/// before it has its database locked, and takes a while then. What it could not replace is in
/// /tmp/dpkg-failed.
pub fn upgrade() -> Result<()> {
    let files = std::env::var(UPGRADES)?;
    let kills = std::env::var("DPKG_KILLS").unwrap_or_default();
    let hook = |name: &str| -> Result<()> {
        let mut rokeep = Command::new("/tool/rokeep");
        let ended = rokeep.args(["hook", name]).env_remove(UPGRADES).status()?;
        ensure!(ended.success(), "{name} failed");
        Ok(())
    };
    hook("dpkg-pre-invoke")?;
    if kills == "before-it-locks" {
        kill(getppid(), Signal::SIGKILL)?;
        std::thread::sleep(Duration::from_secs(2));
    }
    let lock = states::enter("locked", Path::new("/var/lib/dpkg/lock"))?;
    for (number, file) in files.split(':').enumerate() {
        if let Err(error) = replace_with(Path::new(file), &mut &b"another version\n"[..]) {
            let mut failed = OpenOptions::new().create(true).append(true).open("/tmp/dpkg-failed")?;
            writeln!(failed, "{file}: {error:#}")?;
        }
        match kills.as_str() {
            "yes" if number == 0 => drop(kill(getppid(), Signal::SIGKILL)),
            "itself" if number == 0 => kill(getpid(), Signal::SIGKILL)?,
            _ => {}
        }
    }
    drop(lock);
    hook("dpkg-post-invoke")
}

/// Runs its hooks as [`super::frontend`] does. It locks its database after the first, and until it ends; whoever else has
/// that locked, it does not wait.
pub fn stay() -> Result<()> {
    let mut lock = None;
    say(&format!("{} ready", std::process::id()))?;
    for line in io::stdin().lines() {
        let answer = carry_out(&serde_json::from_str(&line?)?)?;
        if lock.is_none() {
            lock = states::enter("locked", Path::new("/var/lib/dpkg/lock")).ok();
        }
        say(&serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

/// The new version beside the old one, a second name for the old one in case the unpacking fails, the new one in its
/// place, and at last the second name away: with it goes the old inode.
pub fn replace(path: &Path) -> Result<()> {
    replace_with(path, &mut io::stdin())
}

fn replace_with(path: &Path, contents: &mut impl Read) -> Result<()> {
    let (new, backup) = (with_suffix(path, ".dpkg-new"), with_suffix(path, ".dpkg-tmp"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o000).open(&new)?;
    io::copy(contents, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    fs::hard_link(path, &backup)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    remove(&backup)
}

/// A privileged program is made harmless first, under whatever other names it may have.
pub fn remove(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o7000 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    if metadata.is_dir() {
        fs::remove_dir(path)?
    } else {
        fs::remove_file(path)?
    }
    Ok(())
}

/// What is not empty stays, with a warning.
pub fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => Ok(done?),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OsStr::new(suffix));
    name.into()
}
