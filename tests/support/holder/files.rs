//! Who makes files and changes mounts.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};

pub fn write(path: &Path) -> Result<()> {
    io::copy(&mut io::stdin(), &mut create(path)?)?;
    Ok(())
}

/// Each is told as its path and its contents, with a NUL behind either.
pub fn write_each() -> Result<()> {
    let mut told = Vec::new();
    io::stdin().read_to_end(&mut told)?;
    let mut words = told.split(|byte| *byte == 0);
    while let (Some(path), Some(contents)) = (words.next(), words.next()) {
        create(OsStr::from_bytes(path).as_ref())?.write_all(contents)?;
    }
    Ok(())
}

pub fn program(path: &Path) -> Result<()> {
    io::copy(&mut File::open("/proc/self/exe")?, &mut create(path)?)?;
    Ok(())
}

/// Byte for byte at the end, and on the disk: what is only promised may be taken back.
pub fn fill_bytes(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = File::create(dir.join("bytes"))?;
    for size in [1 << 20, 1 << 12, 1] {
        let zeroes = vec![0; size];
        while until_full(file.write(&zeroes))?.is_some() {}
        let _ = until_full(file.sync_all())?;
    }
    Ok(())
}

/// Two thousand bytes each is what btrfs and xfs can keep where they keep names; others do without if they must.
pub fn fill_files(dir: &Path) -> Result<()> {
    let made = |name: String| until_full(File::create(dir.join(name)));
    if until_full(fs::create_dir_all(dir))?.is_none() {
        return Ok(());
    }
    for number in 0..1_000_000 {
        let Some(mut file) = made(format!("{number:0100}"))? else { return Ok(()) };
        let _ = until_full(file.write(&[0; 2000]))?;
    }
    bail!("a million files fit")
}

fn until_full<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Ok(None),
        done => done.map(Some),
    }
}

fn create(path: &Path) -> Result<File> {
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    Ok(OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(path)?)
}

pub fn remount(how: &str, path: &Path) -> Result<ExitCode> {
    // What is not said again is lost: every mount of a small world has these two.
    let usual = ["ro", "rw", "bind,ro", "bind,rw"].contains(&how);
    let usual = if usual { MsFlags::MS_NODEV | MsFlags::MS_NOATIME } else { MsFlags::empty() };
    let mut flags = MsFlags::MS_REMOUNT | usual;
    for word in how.split(',') {
        flags |= match word {
            "rw" => MsFlags::empty(),
            "ro" => MsFlags::MS_RDONLY,
            "bind" => MsFlags::MS_BIND,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "nosuid" => MsFlags::MS_NOSUID,
            "noatime" => MsFlags::MS_NOATIME,
            "relatime" => MsFlags::MS_RELATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "strictatime" => MsFlags::MS_STRICTATIME,
            "nosymfollow" => MsFlags::from_bits_retain(256),
            "sync" => MsFlags::MS_SYNCHRONOUS,
            "lazytime" => MsFlags::MS_LAZYTIME,
            _ => bail!("remount {how}?"),
        };
    }
    let done = mount(None::<&str>, path, None::<&str>, flags, None::<&str>);
    let errno = done.err().unwrap_or(Errno::from_raw(0));
    Ok(ExitCode::from(u8::try_from(errno as i32)?))
}
