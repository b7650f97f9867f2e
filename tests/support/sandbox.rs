//! Namespaces of their own around a throw-away root.
//!
//! A sandbox is a mount, pid and IPC namespace whose process 1 is the `holder` helper. Everything in it – processes,
//! mounts, loop devices attached with autoclear – is gone the moment process 1 is, and that waits on a pipe for us to
//! end, however we end. Nothing in a sandbox reaches the machine's own mounts.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Where the helper programs are inside every sandbox, on a mount of their own that no test manages.
pub const TOOLS: &str = "/tool";

/// A running sandbox. Dropping it ends every process in it and unmounts everything it mounted.
pub struct Sandbox {
    unshare: Child,
    init: u32,
}

impl Sandbox {
    /// Makes the namespaces, runs `setup` in them, and makes `root` their root directory.
    ///
    /// `setup` is a POSIX shell script run with `set -eu`. It sees the machine's own tree, can mount whatever it likes
    /// (nothing propagates back), and finds the future root in `$ROOT`; `$ROOT` is already a mount point there.
    /// /proc, /dev and [`TOOLS`] are mounted after it.
    pub fn start(root: &Path, setup: &str) -> Result<Sandbox> {
        let script = format!(
            r#"set -eu
exec 3<&0 </dev/null 4>&1 >&2
mount --bind "$ROOT" "$ROOT"
cd "$ROOT"
{setup}
cd "$ROOT"
mkdir -p proc dev tool
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom tty; do : > dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts
mkdir -m 1777 dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tools tool
cp "$HOLDER" tool/holder
cp "$ROKEEP" tool/rokeep
exec ./tool/holder init <&3 3<&- >&4 4>&-
"#
        );
        for program in [helper(), rokeep()] {
            ensure!(program.exists(), "{} is missing: cargo build --bins --examples", program.display());
        }
        let mut unshare = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--pid", "--ipc", "--net", "--fork", "--kill-child"])
            .args(["/bin/sh", "-c", &script])
            .env("ROOT", root)
            .env("HOLDER", helper())
            .env("ROKEEP", rokeep())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start unshare (util-linux)")?;
        let mut line = String::new();
        let stdout = unshare.stdout.take().context("unshare has no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line != "ready\n" {
            bail!("the sandbox did not come up: its setup script ended with {} (see stderr)", unshare.wait()?);
        }
        let init = only_child_of(unshare.id())?;
        Ok(Sandbox { unshare, init })
    }

    /// A command that will run inside, as root, with `/` as its directory and a clean environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--mount", "--pid", "--ipc", "--net", "--root", "--wd", "--"])
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// Whether the file system mounted at `mount` can be written at all: the flag of its superblock.
    pub fn superblock(&self, mount: &str) -> Result<Access> {
        Ok(self.mounted(mount)?.1)
    }

    /// Whether it can be written through this mount: the flag of the mount alone.
    pub fn mount_flag(&self, mount: &str) -> Result<Access> {
        Ok(self.mounted(mount)?.0)
    }

    fn mounted(&self, mount: &str) -> Result<(Access, Access)> {
        let mountinfo = std::fs::read_to_string(format!("/proc/{}/mountinfo", self.init))?;
        // proc_pid_mountinfo(5): fields 5 and 6 are the mount point and its options, the last is the superblock's.
        // Of two mounts at one place the later line is on top.
        mountinfo
            .lines()
            .rev()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields[4] == mount)
            .map(|fields| (Access::of(fields[5]), Access::of(fields[fields.len() - 1])))
            .with_context(|| format!("{mount} is not a mount point in the sandbox"))
    }

    /// A path inside the sandbox as this process can reach it from outside.
    pub fn outside(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }
}

/// What the kernel lets anyone do with a mount or a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Every write is refused with EROFS.
    ReadOnly,
    /// Writes go through.
    Writable,
}

impl Access {
    /// What mount options say, those of a mount or of a superblock.
    pub fn of(options: &str) -> Access {
        if options.split(',').any(|option| option == "ro") { Access::ReadOnly } else { Access::Writable }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Waiting closes the pipe first: process 1 ends, the kernel ends everything else in its namespace, and unshare
        // returns when that is over.
        let _ = self.unshare.wait();
    }
}

/// The static helper program; `cargo build --examples` makes it.
pub fn helper() -> PathBuf {
    let binary = rokeep();
    binary.with_file_name("examples").join("holder")
}

/// The rokeep under test.
pub fn rokeep() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_rokeep") {
        Some(path) => PathBuf::from(path),
        // An example is not told where the binary is, but stands beside it.
        None => {
            let here = std::env::current_exe().unwrap_or_default();
            here.parent().and_then(Path::parent).unwrap_or(Path::new("/")).join("rokeep")
        }
    }
}

fn only_child_of(pid: u32) -> Result<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.split_whitespace().next().context("unshare has no child")?.parse().context("not a process id")
}
