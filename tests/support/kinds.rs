//! Who can keep a file in use, as a table: the ways that there are, each on every file system where there is such a thing.
//!
//! `tests/namespace/holders.rs` asks the kernel and rokeep about each, `make holders` the tools that people use too.

use nix::errno::Errno;
use serde_json::Value;

use super::small::{
    Change,
    FileSystem::{self, Ext4, Overlay, Subvolume, Tmpfs, Xfs},
    Holder, Run, Small,
    State::{
        Cwd, Executed, Forking, InFlight, IoUring, Library, Loop, Mapped, MappedShared, Mounted, OfAThread, Open,
        OpenPath, Overlaid, PassedOn, Root, Script, Swap, Writing,
    },
    Where::{Chroot, OuterProcesses, OwnMounts, OwnPath, OwnProcesses},
};

use Said::{LoopDevice, Mount, Nobody, Process, Somebody, Unseen};

/// The file systems of the table, /usr being one.
pub const FILE_SYSTEMS: [FileSystem; 5] = [Ext4, Xfs, Subvolume("usr"), Overlay(""), Tmpfs];

/// A program.
pub const TOOL: &str = "/usr/bin/tool";
/// A script that [`TOOL`] runs.
const SCRIPT: &str = "/usr/lib/script";
/// A file that can be swapped to.
pub const SWAP: &str = "/usr/lib/swap";
/// A directory of a package of its own.
pub const DIRECTORY: &str = "/usr/lib/old";

/// One way to keep a file in use.
pub struct Kind {
    /// In a few words.
    pub name: &'static str,
    /// Somebody uses it so from now on.
    pub hold: fn(&Small) -> Holder,
    /// What is kept.
    pub keeps: Keeps,
    /// Whom `status` names.
    pub said: Said,
    /// Where there is no such thing, and why.
    pub missing: &'static [(FileSystem, &'static str)],
}

/// What somebody keeps, which decides what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// [`TOOL`], and one more name is enough.
    File,
    /// [`TOOL`], open for writing: there is no way to be read-only before that ends.
    FileForWriting,
    /// [`DIRECTORY`], which cannot have one more name.
    Directory,
    /// [`SWAP`]: the kernel writes to it, and lets nobody replace it.
    SwapFile,
}

/// Whom `status` names as the one that uses a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The process, which uses it in this way.
    Process(&'static str),
    /// A mount.
    Mount,
    /// A loop device.
    LoopDevice,
    /// Somebody: whoever it is at the moment, or whatever can be told.
    Somebody,
    /// That nobody shows it.
    Unseen,
    /// Nobody: the file was not replaced.
    Nobody,
}

impl Kind {
    /// What there is to say where it does not exist.
    pub fn missing_on(&self, file_system: FileSystem) -> Option<&'static str> {
        self.missing.iter().find(|(missing, _)| *missing == file_system).map(|(_, why)| *why)
    }

    /// Somebody holds it while apt upgrades or removes its package, with rokeep's hooks; and what the last of them says.
    pub fn upgraded_while_held(&self, world: &Small) -> (Holder, Run) {
        let holder = match self.keeps {
            Keeps::File | Keeps::Directory => {
                let holder = (self.hold)(world);
                world.begin();
                holder
            }
            // What is read-only cannot be opened for writing.
            Keeps::FileForWriting | Keeps::SwapFile => {
                world.begin();
                (self.hold)(world)
            }
        };
        let change = match self.keeps {
            Keeps::File | Keeps::FileForWriting => Change::Upgrade("tool", "1", "2"),
            Keeps::Directory => Change::Remove("old", "1"),
            Keeps::SwapFile => Change::Upgrade("swap", "1", "2"),
        };
        world.protect(&[change]);
        self.replace(world);
        (holder, world.end())
    }

    /// dpkg puts another version in its place, or removes it, as far as the kernel lets it.
    pub fn replace(&self, world: &Small) {
        match self.keeps {
            Keeps::File | Keeps::FileForWriting => world.dpkg_replaces(TOOL),
            Keeps::Directory => world.dpkg_removes_package("old"),
            Keeps::SwapFile => {
                world.write("/usr/lib/new", b"another version\n");
                let replaced = std::fs::rename(world.outside("/usr/lib/new"), world.outside(SWAP));
                let refused = replaced.err().and_then(|error| error.raw_os_error());
                assert_eq!(refused, Some(Errno::EPERM as i32), "what is swapped to keeps its name");
            }
        }
    }

    /// What is in use.
    pub fn path(&self) -> &'static str {
        match self.keeps {
            Keeps::File | Keeps::FileForWriting => TOOL,
            Keeps::Directory => DIRECTORY,
            Keeps::SwapFile => SWAP,
        }
    }
}

/// The holders that `rokeep status --json` names for the file or directory that was first called this. The one place that
/// knows how it says so.
pub fn holders(status: &str, path: &str) -> Vec<Value> {
    let status: Value = serde_json::from_str(status).unwrap_or_else(|error| panic!("{error}: {status:?}"));
    let all = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let held = all(&status, "held").into_iter().filter(|held| all(held, "names").contains(&Value::from(path)));
    held.flat_map(|held| all(&held, "holders")).collect()
}

impl Said {
    /// Whether one of them is the one: this process, or whatever else it should be.
    pub fn is_among(self, holders: &[Value], pid: u32) -> bool {
        let is = |holder: &Value, kind: &str| holder["kind"] == kind;
        let uses = |holder: &Value, how: &str| {
            let uses = holder["uses"].as_array();
            is(holder, "process") && uses.is_some_and(|uses| uses.contains(&Value::from(how)))
        };
        match self {
            Said::Process(how) => holders.iter().any(|holder| holder["pid"] == pid && uses(holder, how)),
            Said::Mount => holders.iter().any(|holder| is(holder, "mount") || uses(holder, "mounted")),
            Said::LoopDevice => holders.iter().any(|holder| is(holder, "loop-device")),
            Said::Unseen => holders.iter().any(|holder| is(holder, "unseen")),
            Said::Somebody => !holders.is_empty(),
            Said::Nobody => holders.is_empty(),
        }
    }
}

/// A world in which each of them can be.
pub fn world(file_system: FileSystem) -> Small {
    let world = Small::on(file_system)
        .installed_program("tool", "1", TOOL)
        .installed_tree("old", "1", &["/usr/lib/old/file"])
        .recorded("base", "1", &["/usr", "/usr/lib"]);
    world.writably(|| {
        world.write_script(SCRIPT, TOOL);
        world.write_swap_file(SWAP);
    });
    world.jail("/srv/jail");
    world.recorded("swap", "1", &[SWAP])
}

macro_rules! kinds {
    ($($id:ident: $name:literal, $hold:expr, $keeps:ident, $said:expr $(, not on [$($missing:expr),*])?;)*) => {
        $(
            #[doc = $name]
            pub const $id: Kind = Kind {
                name: $name,
                hold: $hold,
                keeps: Keeps::$keeps,
                said: $said,
                missing: &[$($($missing),*)?],
            };
        )*
        /// All of them.
        pub const ALL: &[Kind] = &[$($id),*];
    };
}

kinds! {
    OPEN: "open (`O_RDONLY`)", |world| world.hold(Open(TOOL)), File, Process("open");
    OPEN_PATH: "open by name only (`O_PATH`)", |world| world.hold(OpenPath(TOOL)), File, Process("open");
    WRITING: "open for writing", |world| world.hold(Writing(TOOL)), FileForWriting, Process("open for writing");
    MAPPED: "mapped, descriptor closed", |world| world.hold(Mapped(TOOL)), File, Process("mapped");
    MAPPED_SHARED: "mapped `MAP_SHARED` for writing, descriptor closed",
        |world| world.hold(MappedShared(TOOL)), FileForWriting, Process("open for writing");
    LIBRARY: "library (mapped as by dlopen)", |world| world.hold(Library(TOOL)), File, Process("mapped");
    EXECUTED: "executed", |world| world.hold(Executed(TOOL)), File, Process("executed");
    INTERPRETER: "interpreter of a running script", |world| world.hold(Script(SCRIPT)), File, Process("executed");
    THREAD: "open in a thread with its own descriptors", |world| world.hold(OfAThread(TOOL)), File, Process("open");
    CWD: "current directory", |world| world.hold(Cwd(DIRECTORY)), Directory, Process("current directory");
    ROOT: "root directory", |world| world.hold(Root(DIRECTORY)), Directory, Process("root directory");
    IN_FLIGHT: "in flight in a socket (`SCM_RIGHTS`)", |world| world.hold(InFlight(TOOL)), File, Unseen;
    IO_URING: "registered with an io_uring", |world| world.hold(IoUring(TOOL)), File, Process("io_uring");
    LOOP_DEVICE: "behind a loop device", |world| world.hold(Loop(TOOL)), File, LoopDevice;
    SWAP_FILE: "swap file", |world| world.hold_from(OuterProcesses, Swap(SWAP)), SwapFile, Nobody,
        not on [(Overlay(""), "overlayfs has no swap files"), (Tmpfs, "tmpfs has no swap files")];
    MOUNTED: "source of a bind mount", |world| world.hold(Mounted(TOOL)), File, Mount;
    MOUNTED_ELSEWHERE: "source of a bind mount in another mount namespace",
        |world| world.hold_from(OwnMounts, Mounted(TOOL)), File, Mount;
    OTHER_MOUNTS: "mapped in another mount namespace, by another path",
        |world| world.hold_from(OwnPath, Mapped(TOOL)), File, Process("mapped");
    OTHER_PROCESSES: "mapped in another pid namespace",
        |world| world.hold_from(OwnProcesses, Mapped(TOOL)), File, Process("mapped");
    OUTER_PROCESSES: "open in the pid namespace around ours",
        |world| world.hold_from(OuterProcesses, Open(TOOL)), File, Unseen;
    CHROOT: "mapped in a chroot", |world| world.hold_from(Chroot("/srv/jail"), Mapped(TOOL)), File, Process("mapped");
    PASSED_ON: "open in one short-lived process after the other", |world| world.hold(PassedOn(TOOL)), File, Somebody;
    FORKING: "open in a process whose children come and go",
        |world| world.hold(Forking(TOOL)), File, Process("open");
    OVERLAID: "mapped through an overlay above", |world| world.hold(Overlaid(TOOL)), File, Somebody;
}
