//! A machine of its own: a kernel as Debian ships it, started in an emulator, and a small root in memory.
//!
//! For what has to be asked of a kernel other than the one at hand: an older one, or one with an NFS server, CDs and FAT.
//! Each kernel is started once for all the tests in a binary, and each scenario has it to itself, in a mount namespace
//! that goes with it. As in [`small`](super::small), apt and dpkg are stand-ins, and the rest is real; here the hooks
//! run in the machine's first pid namespace, as they do outside of tests.
//!
//! A scenario is written with the verbs of [`Guest`]; whatever fails shows all that was said until then, and the console.

mod kernel;
mod root;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::fs::File;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;

use self::kernel::Kernel;
use super::emulator::{Emulator, name_of};
use super::order::{Answer, Order};
use super::sandbox::Access;
use super::small::{Change, Run, State, stream};

/// The Debian releases whose kernels are run, with how the names of these begin.
pub const KERNELS: [(&str, &str); 2] = [("bookworm", "6.1."), ("trixie", "6.12.")];

/// Plays a scenario on each kernel, on all of them at a time.
pub fn on_each_kernel(scenario: impl Fn(&Guest) + Sync) {
    let scenario = &scenario;
    std::thread::scope(|scope| {
        let playing: Vec<_> =
            (0..KERNELS.len()).map(|number| scope.spawn(move || scenario(&Guest::of(number)))).collect();
        for thread in playing {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// What a mount is made of.
#[derive(Clone, Copy, Debug)]
pub enum FileSystem {
    /// ext4 on a loop device.
    Ext4,
    /// xfs on a loop device.
    Xfs,
    /// FAT as on every EFI system partition, on a loop device.
    Vfat,
    /// A CD, on a loop device: nobody can write it.
    Iso9660,
    /// squashfs, on a loop device: nobody can write it.
    Squashfs,
    /// NFS 4.2, from the machine's own server.
    Nfs(Export),
}

/// What the server lets its clients do.
#[derive(Clone, Copy, Debug)]
pub enum Export {
    /// Write: `rw,no_root_squash`.
    Writable,
    /// Read: `ro`.
    ReadOnly,
    /// Write, but root is nobody: `rw,root_squash`.
    RootIsNobody,
}

/// A machine that runs, for one scenario. There is one package in its database, `tool` 1, of [`Guest::FILES`].
pub struct Guest {
    machine: RefCell<MutexGuard<'static, Machine>>,
    log: RefCell<String>,
    number: usize,
}

struct Machine {
    emulator: Emulator,
    /// What it started from; the emulator reads it when it likes.
    _root: File,
    /// The stand-in for apt, as the machine numbers it.
    frontend: Option<u32>,
}

impl Guest {
    /// A program that every mount at /usr has.
    pub const TOOL: &str = "/usr/bin/tool";

    /// All the files that it has.
    pub const FILES: [&str; 3] = [Guest::TOOL, "/usr/bin/second", "/usr/bin/third"];

    fn of(number: usize) -> Guest {
        static MACHINES: OnceLock<[Result<Mutex<Machine>, String>; KERNELS.len()]> = OnceLock::new();
        // Beside each other, as each takes a while.
        let machines = MACHINES.get_or_init(|| {
            std::thread::scope(|scope| {
                let starting = KERNELS.map(|(suite, _)| scope.spawn(move || Machine::start(suite)));
                starting.map(|thread| {
                    thread.join().expect("it does not panic").map(Mutex::new).map_err(|why| format!("{why:?}"))
                })
            })
        });
        let machine = machines[number].as_ref().unwrap_or_else(|why| panic!("no machine: {why}"));
        // Whoever failed in it has left it as it was, and it starts anew.
        let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
        machine.start_anew();
        let guest = Guest { machine: machine.into(), log: RefCell::default(), number };
        guest.sh(
            "for dir in /run /tmp /etc /var/lib/rokeep /var/lib/dpkg; do mount -t tmpfs -o mode=755 tmpfs $dir; done
             mkdir /var/lib/dpkg/info
             echo 1 > /var/lib/dpkg/info/format
             printf '%s\n' /. /usr/bin/tool /usr/bin/second /usr/bin/third > /var/lib/dpkg/info/tool.list
             printf '%s\n' 'Package: tool' 'Status: install ok installed' 'Version: 1' 'Architecture: amd64' \
                'Maintainer: Nobody <nobody@example.org>' 'Description: a test' '' > /var/lib/dpkg/status",
        );
        guest
    }

    /// How its kernel's version begins.
    pub fn version(&self) -> &'static str {
        KERNELS[self.number].1
    }

    /// There is a file system at this place, with its files, mounted read-only, `nodev` and `noatime`.
    pub fn mounted(&self, point: &str, file_system: FileSystem) -> &Guest {
        let fill = |directory: &str| {
            format!(
                "mkdir -p {directory}/bin {directory}/lib {directory}/sbin\ncp /tool/holder {directory}/bin/tool\n\
                 for name in second third; do echo $name > {directory}/bin/$name; done\n"
            )
        };
        let image = |name| format!("cp /image/{name} /tmp/{name}\nmount -t {name} -o loop /tmp/{name} {point}\n");
        let finished = |name| format!("mount -t {name} -o loop,ro /image/{name} {point}\n");
        let mount = match file_system {
            FileSystem::Ext4 => image("ext4") + &fill(point),
            FileSystem::Xfs => image("xfs") + &fill(point),
            FileSystem::Vfat => image("vfat") + &fill(point),
            FileSystem::Iso9660 => finished("iso9660"),
            FileSystem::Squashfs => finished("squashfs"),
            // What another scenario may have left is on the server still.
            FileSystem::Nfs(export) => format!(
                "rm -rf /export/{export}/bin /export/{export}/.rokeep\n{}/tool/holder mount nfs4 127.0.0.1:/{export} \
                 addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2 {point}\n",
                fill(&format!("/export/{export}"))
            ),
        };
        self.sh(&format!("mkdir -p {point}\n{mount}/tool/holder remount ro {point}"));
        self.assert_mount(point, Access::ReadOnly);
        self
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    /// apt calls the hook before it does anything. It must succeed.
    pub fn begin(&self) -> Run {
        self.hook("pre-invoke", None).assert_code(0)
    }

    /// apt says what it is going to do. The hook must succeed.
    pub fn protect(&self, changes: &[Change]) -> Run {
        self.hook("pre-install-pkgs", Some(stream(changes))).assert_code(0)
    }

    /// apt is done. The hook must succeed.
    pub fn end(&self) -> Run {
        self.hook("post-invoke", None).assert_code(0)
    }

    /// apt calls a hook, with a stream or without one.
    pub fn hook(&self, name: &str, stream: Option<Vec<u8>>) -> Run {
        self.run(&["/tool/rokeep", "hook", name], stream)
    }

    /// A person calls rokeep.
    pub fn rokeep(&self, words: &[&str]) -> Run {
        self.run(&[&["/tool/rokeep"], words].concat(), None)
    }

    /// mount(8) with `-o remount,HOW`.
    pub fn remount(&self, how: &str, point: &str) -> Result<(), Errno> {
        match self.run(&["/tool/holder", "remount", how, point], None).code {
            0 => Ok(()),
            number => Err(Errno::from_raw(number)),
        }
    }

    /// dpkg unpacks another version of a file.
    pub fn dpkg_replaces(&self, path: &str) {
        self.sh(&format!("echo another version | /tool/dpkg dpkg replace {path}"));
    }

    /// A process takes a file into a state, and stays in it until it is [`let_go`](Guest::let_go).
    pub fn hold(&self, state: State<&str>) -> Held {
        let (word, path) = state.words();
        // It stays until its standard input ends.
        let script = "rm -f /run/held; (sleep 1000 | /tool/holder \"$@\") > /run/held 2>&1 &
            until grep -qs ready /run/held; do sleep 0.05; done; cat /run/held";
        let said = self.must(&["sh", "-euc", script, "sh", word, path]);
        Held(said.trim_end().trim_end_matches(" ready").parse().unwrap_or_else(|_| self.fail(&said)))
    }

    /// Such a process ends.
    pub fn let_go(&self, Held(pid): Held) {
        self.sh(&format!("kill -9 {pid}; while [ -e /proc/{pid}/exe ]; do sleep 0.05; done"));
    }

    /// Runs a shell script, which must succeed; what it wrote.
    pub fn sh(&self, script: &str) -> String {
        self.must(&["sh", "-euc", script])
    }

    /// Runs a program, which must succeed; what it wrote.
    fn must(&self, words: &[&str]) -> String {
        let run = self.run(words, None);
        if run.code != 0 {
            self.fail(&format!("{words:?} ended with {}: {}{}", run.code, run.stdout, run.stderr));
        }
        run.stdout
    }

    /// apt runs something.
    fn run(&self, words: &[&str], stream: Option<Vec<u8>>) -> Run {
        let argv = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let answer = self.machine.borrow_mut().carry_out(&Order { argv, stream });
        let [stdout, stderr] = [answer.stdout, answer.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let words = words.join(" ");
        let _ = writeln!(self.log.borrow_mut(), "{stdout}{stderr}({words} ended with {})\n", answer.code);
        if answer.output_kept_open {
            self.fail(&format!("a process that {words} left behind keeps its output: apt would hang"));
        }
        Run { code: answer.code, stdout, stderr }
    }

    // ── what must be so ─────────────────────────────────────────────────────────────────────────────────────────────

    /// All that the kernel says about a mount, in its own words.
    pub fn mount_line(&self, point: &str) -> String {
        // proc_pid_mountinfo(5): the fifth field; a later line covers an earlier one.
        let lines = self.must(&["awk", "-v", &format!("point={point}"), "$5 == point", "/proc/self/mountinfo"]);
        lines.lines().next_back().unwrap_or_else(|| self.fail(&format!("{point} is no mount point"))).to_owned()
    }

    /// The kernel says that the mount permits this.
    #[track_caller]
    pub fn assert_mount(&self, point: &str, expected: Access) {
        let found = Access::of(&self.mount_line(point));
        if found != expected {
            self.fail(&format!("{point} is {found:?}, not {expected:?}"));
        }
    }

    /// The store of a mount has so many aliases; none, and there is no store.
    #[track_caller]
    pub fn assert_aliases(&self, point: &str, expected: usize) {
        let store = self.sh(&format!("find {point}/.rokeep 2>/dev/null || true"));
        let found = store.lines().count().saturating_sub(1);
        if found != expected || store.is_empty() != (expected == 0) {
            self.fail(&format!("{expected} aliases on {point}, but there are {store:?}"));
        }
    }

    /// No session is open.
    #[track_caller]
    pub fn assert_no_session(&self) {
        self.sh("test ! -e /run/rokeep/session.json");
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("{what}");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = self.machine.borrow().emulator.console();
            eprintln!(
                "on the kernel of {}:\n\n{}\nits console:\n\n{console}",
                KERNELS[self.number].0,
                self.log.borrow()
            );
        }
    }
}

/// A process that holds something, as its machine numbers it.
#[must_use]
pub struct Held(u32);

impl Held {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0
    }
}

impl Machine {
    fn start(suite: &str) -> Result<Machine> {
        let kernel = Kernel::of(suite).with_context(|| format!("cannot get the kernel of {suite}"))?;
        let root = root::packed(&kernel)?;
        let parts = ["-m", "512", "-append", "console=ttyS0 panic=-1", "-initrd", &name_of(&root), "-kernel"];
        let parts = parts.map(OsString::from).into_iter().chain([kernel.image().into()]).collect();
        let emulator = Emulator::start(parts)?;
        Ok(Machine { emulator, _root: root, frontend: None })
    }

    /// Ends all that the last scenario left, mounts too.
    fn start_anew(&mut self) {
        const STARTS: Duration = Duration::from_secs(180);
        if let Some(frontend) = self.frontend.take() {
            let argv = [b"kill".to_vec(), b"-9".to_vec(), frontend.to_string().into_bytes()].to_vec();
            self.emulator.tell(&to_line(&Order { argv, stream: None }));
        }
        // `guest/init` starts another one.
        let line = self.emulator.hear(STARTS);
        let pid = line.strip_suffix(" ready").and_then(|pid| pid.parse().ok());
        self.frontend =
            Some(pid.unwrap_or_else(|| panic!("it says {line:?}; its console:\n{}", self.emulator.console())));
    }

    fn carry_out(&mut self, order: &Order) -> Answer {
        const PATIENCE: Duration = Duration::from_secs(60);
        let order = to_line(order);
        self.emulator.tell(&order);
        let answer = self.emulator.hear(PATIENCE);
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no answer to {order}: {answer:?}"))
    }
}

fn to_line(order: &Order) -> String {
    serde_json::to_string(order).expect("bytes are JSON numbers")
}

impl Display for Export {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        // As `guest/init` calls them.
        out.write_str(match self {
            Export::Writable => "writable",
            Export::ReadOnly => "read-only",
            Export::RootIsNobody => "root-is-nobody",
        })
    }
}
