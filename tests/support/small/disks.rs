//! Disks that are there before a small world and after it: /usr is one, mounted read-only, and /var the other. /run is
//! memory.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Access::ReadOnly, FileSystem, Mount, Run, Small};

/// What they are called, and where they are mounted.
pub const DISKS: [&str; 2] = ["usr", "var"];

/// System calls that change something.
const CHANGES: &str = "?link,linkat,?unlink,unlinkat,?rename,renameat,?renameat2,?mkdir,mkdirat,?rmdir,ftruncate,write,\
                       fsync,fdatasync,fchmod,?fsconfig,?mount_setattr";

impl Small {
    /// New disks, which write down what they are told ([`Small::told_to_disks`]).
    pub fn on_recorded_disks(file_system: FileSystem) -> Small {
        let (size, mkfs) = file_system.on_a_device();
        let make = |disk| format!("truncate -s {size} image/{disk}\n{mkfs} image/{disk} >/dev/null\n");
        let mount = |disk| format!("mount -o loop,nodev,noatime image/{disk} {disk}\n");
        let setup = [ROOT, &DISKS.map(make).concat(), RECORDED, &DISKS.map(mount).concat(), NEW];
        Small::set_up(&setup.concat(), &[Mount("/usr", file_system, ReadOnly)])
    }

    /// Copies of disks that somebody has left, `usr` and `var` in this directory, as a boot finds them: nothing runs, and
    /// /run is empty. They are in memory.
    pub fn booted(file_system: FileSystem, disks: &Path) -> Small {
        let setup = [ROOT, &found(file_system, disks), BOOT];
        Small::set_up(&setup.concat(), &[Mount("/usr", file_system, ReadOnly)])
    }

    /// The same, and they write down what they are told.
    pub fn booted_on_recorded_disks(file_system: FileSystem, disks: &Path) -> Small {
        let setup = [ROOT, &found(file_system, disks), RECORDED, BOOT];
        Small::set_up(&setup.concat(), &[Mount("/usr", file_system, ReadOnly)])
    }

    /// A disk as it is now, for who looks whether it is clean.
    pub fn disk(&self, disk: &str) -> PathBuf {
        self.outside(format!("/image/{disk}"))
    }

    /// What a recorded disk was before it was told anything.
    pub fn disk_before(&self, disk: &str) -> PathBuf {
        self.outside(format!("/image/{disk}.before"))
    }

    /// All that recorded disks were told so far, as [`super::super::disk_log`] has it.
    pub fn told_to_disks(&self) -> PathBuf {
        self.outside("/image/log")
    }

    /// From now on whatever apt starts takes its time over everything that changes something.
    pub fn apt_is_slow(&self, microseconds: u32) -> Slowed {
        let apt = self.frontend.borrow().as_ref().and_then(super::Frontend::outer_pid).expect("an apt");
        let inject = format!("inject={CHANGES}:delay_exit={microseconds}");
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--output=/dev/null", "-e", &inject, "--attach", &apt.to_string()]);
        let mut strace = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("strace");
        let mut said = BufReader::new(strace.stderr.take().expect("its messages"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a message");
        assert!(line.contains("attached"), "strace: {line}");
        // It goes on speaking.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Slowed(strace)
    }

    /// apt runs a program, which is as slow as itself.
    pub fn apt_runs(&self, words: &[&str]) -> Run {
        self.order(words, None)
    }

    /// What is on a mount, by name: files with what is in them, everything else without.
    pub fn everything_on(&self, point: &str) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let top = self.outside(point);
        let entries = walkdir::WalkDir::new(&top).min_depth(1).into_iter().map(|entry| entry.expect("it can be read"));
        let name =
            |entry: &walkdir::DirEntry| Path::new(point).join(entry.path().strip_prefix(&top).expect("below it"));
        let contents = |entry: &walkdir::DirEntry| {
            entry.file_type().is_file().then(|| std::fs::read(entry.path()).expect("it can be read"))
        };
        entries.map(|entry| (name(&entry), contents(&entry))).collect()
    }
}

/// Processes that take their time. Dropping it lets them go on as usual.
pub struct Slowed(Child);

impl Drop for Slowed {
    fn drop(&mut self) {
        // It lets go of them first.
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT);
        let _ = self.0.wait();
    }
}

/// systemd-fsck@.service: what can be repaired without asking is, and anything more stops the boot. xfs and btrfs need none.
fn found(file_system: FileSystem, disks: &Path) -> String {
    let check = match file_system {
        FileSystem::Ext4 => "e2fsck -p image/$disk >/dev/null || [ $? = 1 ]",
        _ => ":",
    };
    let disks = disks.display();
    format!("for disk in usr var; do cp --sparse=always '{disks}'/$disk image/$disk; {check}; done\n")
}

/// `mount -o loop,ro` would make the device read-only too.
const BOOT: &str = "boot() {\n\
                    device=$(losetup --find --show image/$1)\n\
                    mount -o $2,nodev,noatime $device $1 || { losetup --detach $device; exit 1; }\n\
                    losetup --detach $device\n\
                    }\n\
                    boot usr ro; boot var rw\n";

/// Mount points.
const ROOT: &str = "mount -t tmpfs -o mode=755 root \"$ROOT\"\ncd \"$ROOT\"\n\
                    mkdir image etc proc sys dev tool run tmp usr var\nmount -t sysfs sysfs sys\n\
                    for name in bin sbin lib; do ln -s usr/$name $name; done\n";

/// Whatever the disks are told from now on is written down.
const RECORDED: &str = "for disk in usr var; do cp --sparse=always image/$disk image/$disk.before; done\n\
                        \"$HOLDER\" recorded image/log image/usr image/var\n";

/// What is on the disks from the beginning. Nothing of rokeep.
const NEW: &str = "mkdir -p usr/bin usr/sbin usr/lib usr/share var/tmp var/lib/dpkg/info\n\
                   echo 1 > var/lib/dpkg/info/format; : > var/lib/dpkg/status\n\
                   mount -i -o remount,ro,nodev,noatime usr\n";
