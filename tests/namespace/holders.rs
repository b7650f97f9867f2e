//! Every kind of holder ([`kinds`]) on every file system: what the kernel does without rokeep, and that with it the file
//! system is read-only while somebody holds a replaced file, that it is said who, and that nothing is left afterwards.

use std::time::Duration;

use nix::errno::Errno;

use crate::support::kinds::{self, DIRECTORY, FILE_SYSTEMS, Keeps, Kind, SWAP, TOOL};
use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Alias,
    Change::Upgrade,
    FileSystem, Holder, Run, Small,
    State::{Executed, Forking, Mapped, Memory, Open, OpenPathAmongOthers},
    Where,
};

macro_rules! one_test_each {
    ($($test:ident: $kind:ident;)*) => {
        $(
            #[test]
            fn $test() {
                on_every_file_system(&kinds::$kind);
            }
        )*

        #[test]
        fn no_kind_is_without_its_test() {
            let tested = [$(kinds::$kind.name),*];
            assert!(kinds::ALL.iter().all(|kind| tested.contains(&kind.name)), "{tested:#?}");
        }
    };
}

one_test_each! {
    open: OPEN;
    open_by_name_only: OPEN_PATH;
    open_for_writing: WRITING;
    mapped: MAPPED;
    mapped_for_writing: MAPPED_SHARED;
    library: LIBRARY;
    executed: EXECUTED;
    interpreter_of_a_script: INTERPRETER;
    open_in_a_thread_of_its_own: THREAD;
    current_directory: CWD;
    root_directory: ROOT;
    in_flight_in_a_socket: IN_FLIGHT;
    registered_with_an_io_uring: IO_URING;
    behind_a_loop_device: LOOP_DEVICE;
    swap_file: SWAP_FILE;
    source_of_a_bind_mount: MOUNTED;
    source_of_a_bind_mount_elsewhere: MOUNTED_ELSEWHERE;
    in_another_mount_namespace: OTHER_MOUNTS;
    in_another_pid_namespace: OTHER_PROCESSES;
    in_the_pid_namespace_around: OUTER_PROCESSES;
    in_a_chroot: CHROOT;
    in_processes_that_pass_it_on: PASSED_ON;
    in_a_process_whose_children_end: FORKING;
    through_an_overlay_above: OVERLAID;
}

fn on_every_file_system(kind: &Kind) {
    let row = |file_system| Row { kind, file_system, world: kinds::world(file_system) };
    let (exists, missing): (Vec<_>, Vec<_>) =
        FILE_SYSTEMS.into_iter().partition(|file_system| kind.missing_on(*file_system).is_none());
    missing.into_iter().for_each(|file_system| row(file_system).does_not_exist());
    exists.iter().for_each(|file_system| row(*file_system).without_rokeep());
    exists.iter().for_each(|file_system| row(*file_system).with_rokeep());
}

/// Whoever ends while rokeep looks is seen or not, and neither keeps anything afterwards.
#[test]
fn who_ends_during_the_scan() {
    let world = kinds::world(FileSystem::Ext4);
    let holders: Vec<Holder> = (0..20).map(|_| world.hold(Mapped(TOOL))).collect();
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    let ending = std::thread::spawn(move || drop(holders));
    while !ending.is_finished() {
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    }
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

/// That one of its descriptors is closed while it is looked at says nothing of the others.
#[test]
fn who_opens_and_closes_others_all_the_time() {
    let world = kinds::world(FileSystem::Ext4);
    let holder = world.hold(OpenPathAmongOthers(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    for _ in 0..100 {
        assert_eq!(world.status().uses(TOOL, holder.pid()), ["open"]);
    }
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_alias(TOOL, Alias::Kept);
}

/// Memory that /proc shows like deleted files, deleted files of other file systems, a container's own root with the very
/// same names in it: all of that is somebody's, and none of it is a file of /usr.
#[test]
fn what_is_no_file_of_the_mount_is_nobodys_business() {
    const BOX: &str = "/srv/box";
    for file_system in FILE_SYSTEMS {
        let world = kinds::world(file_system);
        std::fs::create_dir_all(world.outside(BOX)).expect("a directory");
        world.cover(BOX);
        let boxed = |path: &str| format!("{BOX}{path}");
        world.write_program(boxed(TOOL));
        world.write("/srv/file", b"not of /usr\n");
        let _memory = world.hold(Memory(TOOL));
        let _other = [world.hold(Mapped("/srv/file")), world.hold(Open("/srv/file"))];
        let _container =
            [world.hold_from(Where::Chroot(BOX), Executed(TOOL)), world.hold_from(Where::Chroot(BOX), Mapped(TOOL))];
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        for file in [TOOL, &boxed(TOOL), "/srv/file"] {
            world.dpkg_replaces(file);
        }
        assert_eq!(world.end().stderr, "", "{file_system:?}: there is nothing to say");
        world.assert_mount("/usr", ReadOnly);
        world.assert_nothing_of_ours();
        assert!(world.status().held.is_empty(), "{file_system:?}");
    }
}

/// Of whom comes and goes meanwhile, and has nothing to do with it, nothing is believed.
#[test]
fn who_has_another_file_and_ends_during_the_scan() {
    let world = kinds::world(FileSystem::Ext4);
    let _busy = [SWAP, SWAP].map(|file| world.hold(Forking(file)));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    assert_eq!(world.end().stderr, "", "where all is well there is nothing to say");
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

/// The one gap: overlayfs counts no mappings when it is asked for a lease, and /proc does not show the process. What it
/// costs is that the mount alone is read-only until it ends.
#[test]
fn a_mapping_through_overlayfs_by_a_process_that_is_out_of_sight_is_seen_by_nobody() {
    let world = kinds::world(FileSystem::Overlay(""));
    let holder = world.hold_from(Where::OuterProcesses, Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end().assert_says(&["/usr", "degraded"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

/// One kind on one file system.
struct Row<'a> {
    kind: &'a Kind,
    file_system: FileSystem,
    world: Small,
}

impl Row<'_> {
    /// It is no gap in the table: the kernel refuses.
    fn does_not_exist(&self) {
        self.world.remount("rw", "/usr").expect("/usr can be written");
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(self.hold())));
        assert!(held.is_err(), "{self}: it exists");
    }

    /// The control: one word of the kernel's, and no more.
    fn without_rokeep(&self) {
        self.world.remount("rw", "/usr").expect("/usr can be written");
        let holder = self.hold();
        self.kind.replace(&self.world);
        assert_eq!(self.world.remount("ro", "/usr"), Err(Errno::EBUSY), "{self}");
        drop(holder);
        self.assert_goes_back();
    }

    fn with_rokeep(&self) {
        let (holder, end) = self.kind.upgraded_while_held(&self.world);
        match self.kind.keeps {
            Keeps::File => self.kept_and_read_only(holder, end),
            Keeps::FileForWriting => self.writable_until_it_ends(holder, end),
            Keeps::Directory => self.directory_stays(holder),
            Keeps::SwapFile => self.swapped_to(holder, end),
        }
    }

    fn kept_and_read_only(&self, holder: Holder, end: Run) {
        self.assert_is_kept(&holder);
        end.assert_says(&["1 replaced file", "rokeep status"]);
        self.world.rokeep(["cleanup"]).assert_code(0);
        self.assert_is_kept(&holder);
        drop(holder);
        self.assert_nothing_is_left();
    }

    /// Nothing that a second name could do about it; but the file is kept, and as soon as nobody writes all is well.
    fn writable_until_it_ends(&self, holder: Holder, end: Run) {
        end.assert_says(&["/usr", "WRITABLE", &format!("({})", holder.pid()), TOOL]);
        self.world.assert_mount("/usr", Writable);
        self.world.assert_alias(TOOL, Alias::Kept);
        self.assert_said(&holder);
        self.world.rokeep(["cleanup"]).assert_code(1);
        self.world.assert_alias(TOOL, Alias::Kept);
        drop(holder);
        self.assert_nothing_is_left();
    }

    fn directory_stays(&self, holder: Holder) {
        let is_there = || self.world.inode(DIRECTORY).is_some();
        for _ in 0..2 {
            self.world.assert_mount("/usr", ReadOnly);
            assert!(is_there(), "{self}: somebody is in it");
            self.assert_said(&holder);
            self.world.rokeep(["cleanup"]).assert_code(0);
        }
        drop(holder);
        self.world.remount("ro", "/usr").expect("which makes overlayfs forget");
        self.assert_nothing_is_left();
        assert!(!is_there(), "{self}: nobody is in it");
    }

    /// It has its name for as long as it is swapped to, so it can neither be replaced nor be in anybody's way but its own.
    fn swapped_to(&self, swap: Holder, end: Run) {
        end.assert_says(&["/usr", "WRITABLE", SWAP]);
        self.world.assert_mount("/usr", Writable);
        drop(swap);
        self.world.rokeep(["cleanup"]).assert_code(0);
        self.world.assert_mount("/usr", ReadOnly);

        self.world.begin();
        self.world.protect(&[Upgrade("swap", "1", "2")]);
        self.world.dpkg_replaces(SWAP);
        self.world.end();
        self.assert_nothing_is_left();
    }

    fn hold(&self) -> Holder {
        (self.kind.hold)(&self.world)
    }

    // ── what must be so ─────────────────────────────────────────────────────────────────────────────────────────────

    #[track_caller]
    fn assert_is_kept(&self, holder: &Holder) {
        self.world.assert_mount("/usr", ReadOnly);
        self.world.assert_alias(TOOL, Alias::Kept);
        self.world.assert_no_session();
        let status = self.world.status();
        let aliases = &status.mount("/usr").aliases;
        assert_eq!((aliases.held, aliases.unknown, aliases.droppable), (1, 0, 0), "{self}: {aliases:?}");
        self.assert_said(holder);
    }

    /// Also when the kernel takes a moment to let go.
    #[track_caller]
    fn assert_nothing_is_left(&self) {
        let is_gone = || self.world.rokeep(["cleanup"]).code == 0 && self.world.inode("/usr/.rokeep").is_none();
        self.world.assert_within(Duration::from_secs(2), &format!("{self}: nothing is kept"), is_gone);
        self.world.assert_mount("/usr", ReadOnly);
        self.world.assert_nothing_of_ours();
    }

    #[track_caller]
    fn assert_goes_back(&self) {
        let is_ro = || self.world.remount("ro", "/usr").is_ok();
        self.world.assert_within(Duration::from_secs(2), &format!("{self}: it is read-only"), is_ro);
    }

    /// `status --json` names whom it should.
    #[track_caller]
    fn assert_said(&self, holder: &Holder) {
        let run = self.world.rokeep(["status", "--json"]);
        let (holders, said) = (kinds::holders(&run.stdout, self.kind.path()), self.kind.said);
        assert!(said.is_among(&holders, holder.pid()), "{self}: {said:?}, {}: {holders:#?}", holder.pid());
    }
}

impl std::fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {:?}", self.kind.name, self.file_system)
    }
}
