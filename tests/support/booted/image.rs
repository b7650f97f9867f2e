//! The disks of a Debian that can be booted, made once and kept in `target/worlds/`. They are never written to: each
//! machine has its own copies, which only hold what is different.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::Release;
use crate::support::debian::base;
use crate::support::kept::{Kept, last_lines};

/// What it is made of: what boots, and what a server has. Not ca-certificates: to upgrade that, openssl is started for each of
/// them, several times, which takes most of the time of the whole upgrade here.
const PACKAGES: &str = "systemd,systemd-sysv,libpam-systemd,dbus,udev,initramfs-tools,linux-image-cloud-amd64,kmod,\
    e2fsprogs,btrfs-progs,mount,procps,iproute2,locales,openssh-server,cron,nginx,rsyslog,python3,perl";

/// What some scenario installs.
const LATER: &str = "needrestart unattended-upgrades nfs-kernel-server";

/// What some scenario installs anew, apart from the kernel.
const AGAIN: &str = "libc6 systemd libmount1 libcap2";

/// Runs in the directory that the image is to be in.
const SCRIPT: &str = include_str!("make-image");

/// A kernel, and the disks that it starts from.
pub struct Image(Kept);

impl Image {
    /// That of this release. Makes it first if there is none that is of this week.
    pub fn of(release: Release) -> Result<Image> {
        let (sources, settings) = base::sources(release.suite())?;
        let how = format!("{}\n{PACKAGES}\n{LATER}\n{AGAIN}\n", release.file_system());
        let recipe = format!("{how}{sources}{settings}{SCRIPT}");
        let name = format!("booted-{}", release.suite());
        Ok(Image(Kept::of(&name, &recipe, |partial| make(release, partial, &sources, &settings))?))
    }

    /// One of its files: `vmlinuz`, `initrd`, or a disk, `NAME.img`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.directory().join(name)
    }

    /// The versions of Debian, its kernel, apt, dpkg and systemd, without the upgrades that wait.
    pub fn versions(&self) -> Result<Vec<String>> {
        Ok(fs::read_to_string(self.file("about"))?.lines().map(str::to_owned).collect())
    }

    /// The upgrades that wait.
    pub fn upgrades(&self) -> Result<Vec<base::Upgrade>> {
        base::read_upgrades(&self.file("upgrades"))
    }
}

fn make(release: Release, partial: &Path, sources: &str, settings: &str) -> Result<()> {
    eprintln!("making a Debian to boot in {} (some minutes) …", partial.display());
    fs::write(partial.join("sources.list"), sources)?;
    fs::write(partial.join("apt.conf"), settings)?;
    let log = File::create(partial.join("log"))?;
    // A process and mount namespace that dies with this process takes mounts and half-done work along.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-euc", SCRIPT])
        .env("SUITE", release.suite())
        .env("FILE_SYSTEM", release.file_system())
        .env("PACKAGES", PACKAGES)
        .env("LATER", LATER)
        .env("AGAIN", AGAIN)
        .current_dir(partial)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .context("cannot start setpriv and unshare (util-linux)")?;
    if !status.success() {
        bail!("it ended with {status}:\n{}", last_lines(&partial.join("log"), 20));
    }
    ensure!(fs::metadata(partial.join("upgrades"))?.len() > 0, "no upgrades are waiting for it");
    Ok(())
}
