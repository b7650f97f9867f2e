//! systemd as the process 1 of a sandbox, which ends when nobody needs it any more.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Result;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use super::{make_here_the_root, say};

/// Makes the working directory the root, says `ready` and becomes systemd, as in a container.
pub fn become_systemd() -> Result<()> {
    make_here_the_root()?;
    // The settings of the kernel are the machine's.
    let sysctl = "/proc/sys";
    mount(Some(sysctl), sysctl, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, sysctl, None::<&str>, read_only, None::<&str>)?;
    Command::new("/tool/holder").arg("off-switch").stdout(Stdio::null()).spawn()?;
    say("ready")?;
    let mut systemd = Command::new("/lib/systemd/systemd");
    systemd.args(["--unit=basic.target", "--log-target=journal", "--show-status=no"]).env_clear();
    systemd.env("container", "rokeep-test").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    Err(systemd.stdin(Stdio::null()).stdout(Stdio::null()).exec().into())
}

/// When standard input ends, ends every process of this pid namespace: it has no other way to end process 1.
pub fn switch_off_in_the_end() -> Result<Infallible> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(reboot(RebootMode::RB_POWER_OFF)?)
}
