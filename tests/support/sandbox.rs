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

/// What every sandbox has of its own.
const NAMESPACES: [&str; 8] =
    ["--mount", "--propagation", "private", "--pid", "--ipc", "--net", "--fork", "--kill-child"];

/// Runs its arguments in a control group that is removed, with those below it, when they have ended.
const IN_A_CONTROL_GROUP: &str = r#"
set -eu
mount -t cgroup2 cgroup2 /mnt
group=$(mktemp --directory /mnt/rokeep-test.XXXXXX)
trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
sh -c 'echo $$ > "$0/cgroup.procs"; exec unshare "$@"' "$group" "$@"
"#;

/// A running sandbox. Dropping it ends every process in it and unmounts everything it mounted.
pub struct Sandbox {
    unshare: Child,
    init: u32,
}

impl Sandbox {
    /// Makes the namespaces, runs `setup` in them, and makes `root` their root directory. Process 1 is a stand-in for
    /// an init, which does nothing.
    ///
    /// `setup` is a POSIX shell script run with `set -eu`. It sees the machine's own tree, can mount whatever it likes
    /// (nothing propagates back), and finds the future root in `$ROOT`; `$ROOT` is already a mount point there.
    /// /proc, /dev and [`TOOLS`] are mounted after it.
    pub fn start(root: &Path, setup: &str) -> Result<Sandbox> {
        let mut command = Command::new("unshare");
        command.args(NAMESPACES).args(["/bin/sh", "-c", &script(setup, "init")]);
        let unshare = Sandbox::come_up(command, root)?;
        let init = only_child_of(unshare.id())?;
        Ok(Sandbox { unshare, init })
    }

    /// The same with systemd as process 1, as in a container: it has been started, and no more. It has a control group of
    /// its own, which is removed when the sandbox has ended.
    pub fn start_with_systemd(root: &Path, setup: &str) -> Result<Sandbox> {
        let setup = format!("{setup}\nmount -t cgroup2 cgroup2 sys/fs/cgroup\n");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", IN_A_CONTROL_GROUP, "sh"]);
        command.args(NAMESPACES).args(["--uts", "--cgroup", "/bin/sh", "-c", &script(&setup, "systemd")]);
        let outer = Sandbox::come_up(command, root)?;
        let init = only_child_of(only_child_of(outer.id())?)?;
        Ok(Sandbox { unshare: outer, init })
    }

    fn come_up(mut command: Command, root: &Path) -> Result<Child> {
        for program in [helper(), rokeep()] {
            ensure!(program.exists(), "{} is missing: cargo build --bins --examples", program.display());
        }
        command.env("ROOT", root).env("HOLDER", helper()).env("ROKEEP", rokeep());
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut unshare = started.context("cannot start unshare (util-linux)")?;
        let mut line = String::new();
        let stdout = unshare.stdout.take().context("unshare has no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line != "ready\n" {
            bail!("the sandbox did not come up: its setup script ended with {} (see stderr)", unshare.wait()?);
        }
        Ok(unshare)
    }

    /// A command that will run inside, as root, with `/` as its directory and a clean environment.
    pub fn command(&self, program: &str) -> Command {
        self.command_in(&["--pid"], program)
    }

    /// The same, but nobody inside sees its process, and it outlives the sandbox, of which it then keeps the mounts.
    pub fn command_of_an_outer_process(&self, program: &str) -> Command {
        self.command_in(&[], program)
    }

    fn command_in(&self, pids: &[&str], program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--mount", "--ipc", "--net", "--cgroup", "--root", "--wd"])
            .args(pids)
            .args(["--", program])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// What the kernel says about a mount: its line of the mount table, and of two at one place that of the upper one.
    pub fn mount_line(&self, point: &str) -> Option<String> {
        // The kernel writes these four by their octal numbers; a later line covers an earlier one.
        let escapes = [("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012")];
        let escaped = escapes.iter().fold(point.to_owned(), |text, (raw, octal)| text.replace(raw, octal));
        self.mount_table().lines().rfind(|line| line.split(' ').nth(4) == Some(&escaped)).map(str::to_owned)
    }

    /// Everything that is mounted, as proc_pid_mountinfo(5) has it.
    pub fn mount_table(&self) -> String {
        std::fs::read_to_string(self.outside("/proc/1/mountinfo")).unwrap_or_default()
    }

    /// A path inside the sandbox as this process can reach it from outside.
    pub fn outside(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }
}

/// What process 1 does before it is the helper, which then does the rest.
fn script(setup: &str, init: &str) -> String {
    format!(
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
exec ./tool/holder {init} <&3 3<&- >&4 4>&-
"#
    )
}

/// What a mount permits, and where that is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The superblock is read-only, and the mount with it.
    ReadOnly,
    /// Only the mount is read-only; the superblock could be written through another one. `ro=vfs`, a read-only bind
    /// mount, and what rokeep calls degraded.
    ReadOnlyMount,
    /// Neither is.
    Writable,
    /// The superblock is read-only, and its device refuses to become anything else. Nobody knows until it is asked.
    WriteProtected,
}

impl Access {
    /// What a line of the mount table says: never [`Access::WriteProtected`].
    pub fn of(line: &str) -> Access {
        let read_only = |options: Option<&str>| options.is_some_and(|all| all.split(',').any(|one| one == "ro"));
        // proc_pid_mountinfo(5): the sixth field is the mount's own options, the last one the superblock's.
        match (read_only(line.split(' ').nth(5)), read_only(line.split(' ').next_back())) {
            (_, true) => Access::ReadOnly,
            (true, false) => Access::ReadOnlyMount,
            (false, false) => Access::Writable,
        }
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
