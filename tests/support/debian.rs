//! A real Debian system with /usr on its own ext4, and upgrades waiting.
//!
//! It starts as an installer would leave it, with /usr writable and nothing running, and is made ready by verbs:
//! `Debian::bookworm()?.with_rokeep()?.read_only()?`. It has no network and no init. Everything it writes goes into
//! memory or into a file that has no name any more, so nothing stays behind, however this process ends.

pub mod base;
mod daemons;
pub mod hooks;
mod lists;
mod package;
mod package_kit;
mod processes;
mod rokeep;
mod shell_way;
mod systemd;
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::base::{Base, Upgrade};
use self::lists::Lists;
pub use self::package::Package;
pub use self::rokeep::rokeep_package;
pub use self::terminal::Terminal;
use crate::support::sandbox::{Access, Sandbox};

/// A running Debian system of one's own. Dropping it ends every process in it.
pub struct Debian {
    sandbox: Sandbox,
    base: Base,
}

/// Of which packages apt knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// All that a release has.
    All,
    /// Those that are here.
    Here,
}

impl Debian {
    /// Debian 12. Of the release apt knows what is here.
    pub fn bookworm() -> Result<Debian> {
        Debian::come_up("bookworm", Known::Here, Sandbox::start)
    }

    /// Debian 13. Of the release apt knows what is here.
    pub fn trixie() -> Result<Debian> {
        Debian::come_up("trixie", Known::Here, Sandbox::start)
    }

    /// Debian 12, for who measures how long something takes: apt knows all of the release, as it does everywhere.
    pub fn bookworm_with_all_lists() -> Result<Debian> {
        Debian::come_up("bookworm", Known::All, Sandbox::start)
    }

    fn come_up(suite: &str, known: Known, start: impl Fn(&Path, &str) -> Result<Sandbox>) -> Result<Debian> {
        let base = Base::of(suite)?;
        let sandbox = match known {
            Known::All => start(&base.root(), SETUP)?,
            Known::Here => {
                let lists = Lists::of(suite, &base)?;
                let few = FEW_LISTS.replace("LISTS", &format!("'{}'", lists.directory().display()));
                start(&base.root(), &(SETUP.to_owned() + &few))?
            }
        };
        let debian = Debian { sandbox, base };
        debian.must("ip", &["link", "set", "lo", "up"])?;
        Ok(debian)
    }

    /// Configures apt the way that every guide to a read-only /usr has it: remount before, remount after; timed.
    pub fn with_remount_pair(self) -> Result<Debian> {
        self.configure_remount_pair()?;
        Ok(self)
    }

    /// Makes /usr read-only, as it is after every boot.
    pub fn read_only(self) -> Result<Debian> {
        self.must("mount", &["-o", "remount,ro", "/usr"])?;
        Ok(self)
    }

    /// Puts a disk with the same contents in the place of /usr's that refuses writes, as the switch on a card makes it.
    /// /usr must be read-only.
    pub fn write_protected(self) -> Result<Debian> {
        // Not blockdev --setro: that would stay with the loop device, for whoever gets it next.
        let script = r#"
            mount -t devtmpfs devtmpfs /dev
            device=$(losetup --find --show --read-only /proc/1/fd/9)
            mount -o ro "$device" /usr
            losetup --detach "$device"  # once it is unmounted
            umount /dev
        "#;
        self.must("sh", &["-euc", script])?;
        Ok(self)
    }

    /// Runs apt-get without questions.
    pub fn apt(&self, arguments: &[&str]) -> Result<Run> {
        self.run("apt-get", arguments)
    }

    /// Runs a program to its end, whatever that is.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Run> {
        let start = Instant::now();
        let output = self.sandbox.command(program).args(arguments).output()?;
        Ok(Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: start.elapsed(),
        })
    }

    /// Runs a program that has to succeed; what it wrote.
    pub fn must(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let run = self.run(program, arguments)?;
        ensure!(run.code == 0, "{program} {arguments:?} ended with {}:\n{}{}", run.code, run.stdout, run.stderr);
        Ok(run.stdout)
    }

    /// A program that will run inside.
    pub fn command(&self, program: &str) -> Command {
        self.sandbox.command(program)
    }

    /// Starts a program and leaves it running; its process id inside.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Result<u32> {
        let script = r#"setsid "$@" </dev/null >/dev/null 2>&1 & echo $!"#;
        let pid = self.must("sh", &[&["-c", script, "sh", program][..], arguments].concat())?;
        pid.trim().parse().with_context(|| format!("not a process id: {pid}"))
    }

    /// Kills a process, and waits until it is gone.
    pub fn kill(&self, pid: u32) -> Result<()> {
        self.must("kill", &["-KILL", &pid.to_string()])?;
        let end = Instant::now() + Duration::from_secs(10);
        while self.outside(&format!("/proc/{pid}")).exists() {
            ensure!(Instant::now() < end, "process {pid} survives SIGKILL");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The upgrades that waited when this system started.
    pub fn upgrades(&self) -> Result<Vec<Upgrade>> {
        self.base.upgrades()
    }

    /// The version of a package that is installed, all of it and in order; `None` for every other state.
    pub fn installed_version(&self, package: &str) -> Result<Option<String>> {
        let run = self.run("dpkg-query", &["--show", "--showformat", "${db:Status-Abbrev} ${Version}", package])?;
        Ok(run.stdout.strip_prefix("ii  ").map(str::to_owned))
    }

    /// What /usr permits now.
    pub fn usr(&self) -> Result<Access> {
        Ok(Access::of(&self.sandbox.mount_line("/usr").context("/usr is not mounted")?))
    }

    /// How often the file system of /usr became writable, from the counter in its superblock.
    pub fn times_made_writable(&self) -> Result<u32> {
        let device = self.device_of_usr()?;
        let output = Command::new("dumpe2fs").args(["-h", &device]).stderr(Stdio::null()).output()?;
        let text = String::from_utf8(output.stdout)?;
        let count = text.lines().find_map(|line| line.strip_prefix("Mount count:")).context("no mount count")?;
        Ok(count.trim().parse()?)
    }

    /// The machine's name for the device that /usr is on.
    pub fn device_of_usr(&self) -> Result<String> {
        let device = self.must("findmnt", &["--noheadings", "--output", "SOURCE", "--mountpoint", "/usr"])?;
        Ok(device.trim().to_owned())
    }

    /// A path of this system as the test can reach it.
    pub fn outside(&self, inside: &str) -> PathBuf {
        self.sandbox.outside(inside)
    }

    /// Reads a text file.
    pub fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.outside(inside)).with_context(|| format!("cannot read {inside}"))
    }

    /// Writes a text file, with its directories.
    pub fn write(&self, inside: &str, text: &str) -> Result<()> {
        let path = self.outside(inside);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        fs::write(&path, text).with_context(|| format!("cannot write {inside}"))
    }

    /// Writes a script that can be run.
    pub fn write_script(&self, inside: &str, text: &str) -> Result<()> {
        self.write(inside, text)?;
        fs::set_permissions(self.outside(inside), fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// How a program ended, what it wrote, how long it took.
#[derive(Debug)]
pub struct Run {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// From start to end, on the clock.
    pub took: Duration,
}

/// Runs in the directory that is to become the root, of which there is only one: see [`Base::root`].
const SETUP: &str = r#"
umask 022
mount -t tmpfs -o mode=755 tmpfs ../scratch
mkdir ../scratch/upper ../scratch/work
mount -t overlay -o lowerdir=.,upperdir=../scratch/upper,workdir=../scratch/work overlay "$ROOT"
# In memory, if it has room: from a disk's file system the first sync in it would have all of the copy written.
case $(awk '$1 == "MemAvailable:" { print ($2 > 4194304) }' /proc/meminfo) in
1) copy=$(mktemp ../scratch/usr.XXXXXX) ;;
*) copy=$(mktemp ../usr.XXXXXX) ;;
esac
trap 'rm -f "$copy"' EXIT
cp --sparse=always --reflink=auto ../usr.img "$copy"
cd "$ROOT"
# Attached for writing, or the device itself would refuse to be made writable later.
mount -o loop "$copy" usr
# Process 1 keeps it open, for who wants to attach it in another way.
exec 9<"$copy"
rm "$copy"
echo "$(findmnt --noheadings --output SOURCE --mountpoint "$ROOT/usr") /usr ext4 ro 0 2" > etc/fstab
mount -t tmpfs -o mode=755 tmpfs run
mkdir -m 1777 run/lock
mount -t sysfs -o ro sysfs sys
"#;

/// Runs after that. What apt made of all of them goes, too.
const FEW_LISTS: &str = r#"
rm -f var/lib/apt/lists/*_Packages var/lib/apt/lists/*_Translation-* var/cache/apt/*.bin
cp -a LISTS/*_Packages var/lib/apt/lists/
"#;
