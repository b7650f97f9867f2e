//! Where it is played: a package, whose files are in use, on mounts that are read-only each in its own way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::overlay::Overlay;
use crate::support::calls::{Among, Blow, Call, Strike, TRACE, Trace};
use crate::support::small::{
    Access::{self, ReadOnly, ReadOnlyMount, Writable},
    Change::{self, Upgrade},
    FileSystem::{self, Ext4, Squashfs, Tmpfs, Xfs},
    Holder, Inode, Mount, Run, Small,
    State::Cwd,
};

/// A file of the package, in use, that its next version replaces.
pub const TOOL: &str = "/usr/bin/tool";
/// The same, on the other mount.
pub const PLUGIN: &str = "/opt/lib/plugin";
/// A file of the package that nobody uses.
pub const DATA: &str = "/usr/lib/tool/data";
/// A file of no package, in use, that is made anew with the next version.
pub const CACHE: &str = "/usr/lib/generated.cache";
/// A file of no package, in use, that nobody changes.
pub const QUIET: &str = "/usr/lib/quiet.cache";
/// A file of no package that comes into use when dpkg runs already.
pub const LATE: &str = "/usr/lib/late.cache";

/// Those whose inodes it is about.
const FILES: [&str; 6] = [TOOL, PLUGIN, DATA, CACHE, QUIET, LATE];
/// Those of the package.
const PACKAGE: [&str; 3] = [TOOL, PLUGIN, DATA];

/// The mounts that there are, but for the last one, which is not everywhere.
const MOUNTS: [&str; 3] = ["/usr", "/opt", "/usr/bin"];

/// What apt announces.
pub const UPGRADE: &[Change] = &[Upgrade("tool", "1", "2")];
/// The archive of it.
pub const ARCHIVE: &str = "var/cache/apt/archives/tool_2_amd64.deb";

/// How it is said that a mount is not as it was found.
const NOT_AS_FOUND: [&str; 6] = [
    "by hand",
    "WRITABLE",
    "degraded",
    "not by itself, as it was found",
    "are closed when",
    "putting the mounts back failed",
];

/// How long anything may take that ends by itself.
const MOMENT: Duration = Duration::from_secs(10);

/// What the mounts are made of, and so where the aliases go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Each into the store of its mount.
    Whole,
    /// link(2) does not reach everything: /usr/bin is a mount of its own below /usr and has a store, what is in /usr/lib is of
    /// another project than /usr's store and has its aliases beside it, and what is in /usr/lib/tool has them there.
    Divided,
    /// /opt can never be writable, and what the package has there is only installed with its next version, on an overlay.
    Sealed,
    /// The same, and there is something of somebody's in each directory below.
    Inhabited,
}

impl Ground {
    /// A world in which many points can be played, one after the other.
    pub fn world(self) -> Small {
        let (usr, opt) = match self {
            Ground::Whole => (Ext4, Mount("/opt", Tmpfs, ReadOnlyMount)),
            Ground::Divided => (Xfs, Mount("/opt", Tmpfs, ReadOnlyMount)),
            Ground::Sealed => (Ext4, Mount("/opt", Squashfs, ReadOnly)),
            Ground::Inhabited => (Ext4, Mount("/opt", FileSystem::Inhabited, ReadOnly)),
        };
        let world = Small::with(&[Mount("/usr", usr, ReadOnly), opt]).hands_over(self.is_handed_over());
        match self {
            Ground::Whole | Ground::Sealed => {}
            Ground::Inhabited => world.has_from_the_machine("/bin/cp"),
            Ground::Divided => world.writably(|| {
                world.makes_directory("/usr/lib/tool");
                ["/usr", "/usr/lib/tool"].iter().for_each(|directory| world.project(directory, "7"));
                world.bind("/usr/bin", "/usr/bin");
            }),
        }
        let world = world.installed("tool", "1", &self.those_there(&PACKAGE)).unlisted(&[CACHE, QUIET, LATE]);
        world.archive("tool", "2", &[], &PACKAGE);
        world.write("/tmp/used", self.those_there(&[TOOL, PLUGIN, CACHE, QUIET]).join("\n").as_bytes());
        world.write("/tmp/used-late", LATE.as_bytes());
        world
    }

    /// What rokeep may make and cover besides its own.
    fn is_handed_over(self) -> &'static [&'static str] {
        match self {
            Ground::Whole | Ground::Divided => &[],
            Ground::Sealed => &["/opt", "/etc/systemd", "/var/opt"],
            Ground::Inhabited => &["/opt", "/etc/systemd", "/var/opt", "/lib64"],
        }
    }

    /// Of these files, those that are there from the beginning.
    fn those_there(self, files: &[&'static str]) -> Vec<&'static str> {
        files.iter().copied().filter(|path| !self.is_sealed() || !path.starts_with("/opt/")).collect()
    }

    /// Whether /opt can never be writable.
    pub fn is_sealed(self) -> bool {
        matches!(self, Ground::Sealed | Ground::Inhabited)
    }

    /// Whether a mount is, whatever happens, to be just what it was.
    fn stays(self, point: &str) -> bool {
        !self.is_sealed() || point != "/opt"
    }
}

/// One point being played.
pub struct Stage<'w> {
    pub world: &'w Small,
    pub ground: Ground,
    pub strike: Option<Strike>,
    /// The words that come before a command which is struck.
    traced: [String; 3],
    /// The mounts, and how they were in the beginning, by the kernel's own words.
    found: Vec<(&'static str, String)>,
    /// Where there is one, or may be.
    pub overlay: Overlay,
    /// The inodes that the files had in the beginning.
    inodes: BTreeMap<&'static str, Inode>,
    used: RefCell<Vec<(&'static str, Holder)>>,
    /// The command said that it could not protect something, so that a mount may not go all the way back.
    pub is_excused: Cell<bool>,
}

impl<'w> Stage<'w> {
    pub fn new(world: &'w Small, ground: Ground, strike: Option<Strike>) -> Stage<'w> {
        let strike_as_text = serde_json::to_string(&strike).expect("numbers");
        let inodes = ground.those_there(&FILES).into_iter();
        let inodes = inodes.map(|path| (path, world.inode(path).expect("it is installed")));
        let used = [
            ("", world.hold(Cwd("/usr/lib/tool"))),
            ("/tmp/used", Holder::start(world.sandbox(), &["mapped-all", "/tmp/used"])),
        ];
        let _ = std::fs::remove_file(world.outside(TRACE));
        let mounts = MOUNTS.into_iter();
        Stage {
            world,
            ground,
            strike,
            traced: ["/tool/holder".to_owned(), "traced".to_owned(), strike_as_text],
            found: mounts.filter_map(|point| Some((point, world.sandbox().mount_line(point)?))).collect(),
            overlay: Overlay::default(),
            inodes: inodes.collect(),
            used: RefCell::new(used.into()),
            is_excused: Cell::new(false),
        }
    }

    /// By way of these a command is struck.
    pub fn traced(&self) -> [&str; 3] {
        self.traced.each_ref().map(String::as_str)
    }

    /// What came of the blow.
    pub fn trace(&self) -> Trace {
        let trace = self.world.outside(TRACE);
        self.world.assert_within(MOMENT, "the tracer has said what it saw", || trace.exists());
        serde_json::from_slice(&std::fs::read(trace).expect("it is there")).expect("what the tracer writes")
    }

    /// The call that was struck.
    fn struck(&self) -> Option<Call> {
        self.strike.and_then(|_| self.trace().struck)
    }

    /// rokeep calls a command of a person's, which is struck.
    pub fn person_calls(&self, words: &[&str]) -> Run {
        let [holder, traced, strike] = self.traced();
        self.world.rokeep_runs_under(holder, &[&[traced, strike, "/tool/rokeep"], words].concat())
    }

    /// A command is killed, at a change that it is about to make; if there are not as many, it is not.
    pub fn is_killed_too(&self, words: &[&str], number: usize) {
        let _ = std::fs::remove_file(self.world.outside(TRACE));
        let strike = Strike { among: Among::Changes, number, blow: Blow::Kill };
        let strike = serde_json::to_string(&Some(strike)).expect("numbers");
        self.world.rokeep_runs_under("/tool/holder", &[&["traced", &strike, "/tool/rokeep"], words].concat());
        self.trace();
        self.wait_for_the_others();
    }

    /// From now on this file is in use, too.
    pub fn comes_into_use_late(&self) {
        let holder = Holder::start(self.world.sandbox(), &["mapped-all", "/tmp/used-late"]);
        self.used.borrow_mut().push(("/tmp/used-late", holder));
    }

    /// Nobody uses anything any more.
    pub fn nobody_uses_anything(&self) {
        self.used.borrow_mut().clear();
    }

    /// dpkg unpacks the next version, and what is made by it is made anew.
    pub fn unpack(&self) {
        for path in PACKAGE {
            match self.world.inode(path) {
                Some(_) => self.world.dpkg_replaces(path),
                None => self.world.write(path, b"another version\n"),
            }
        }
        self.world.rebuilds(CACHE);
        if self.uses(LATE) {
            self.world.rebuilds(LATE);
        }
    }

    fn uses(&self, path: &str) -> bool {
        let list = match path {
            LATE => "/tmp/used-late",
            TOOL | PLUGIN | CACHE | QUIET => "/tmp/used",
            _ => return false,
        };
        self.used.borrow().iter().any(|(name, _)| *name == list)
    }

    /// What became of the files, each with the inode that it had in the beginning.
    pub fn files(&self) -> impl Iterator<Item = File> {
        self.inodes.iter().map(|(path, inode)| File {
            path,
            inode: *inode,
            is_replaced: self.world.inode(path) != Some(*inode),
            is_used: self.uses(path),
            is_of_the_package: PACKAGE.contains(path),
        })
    }

    /// The mounts that are to stay, and how they were in the beginning, by the kernel's own words.
    pub fn found(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let stay = self.found.iter().filter(|(point, _)| self.ground.stays(point));
        stay.map(|(point, line)| (*point, line.as_str()))
    }

    /// How a mount was in the beginning, by the kernel's own words.
    pub fn line_found(&self, point: &str) -> String {
        let found = self.found.iter().find(|(found, _)| *found == point);
        found.map(|(_, line)| line.clone()).expect("it was mounted")
    }

    /// The mounts.
    pub fn mounts(&self) -> impl Iterator<Item = &'static str> {
        self.found.iter().map(|(point, _)| *point)
    }

    /// All of them can be written.
    pub fn assert_open(&self) {
        self.mounts().for_each(|point| self.world.assert_mount(point, Writable));
    }

    /// Waits until everything that ends by itself has ended.
    pub fn wait_for_the_others(&self) {
        self.world.assert_within(MOMENT, "no rokeep runs", || self.world.running_rokeeps().is_empty());
        self.world.assert_within(MOMENT, "no command runs", || !self.runs("dpkg"));
    }

    /// What a command that is killed has started is killed a moment later.
    pub fn nobody_copies(&self) {
        let is_cp = |line: Vec<u8>| line.split(|byte| *byte == 0).next() == Some(b"/bin/cp");
        let copies = || self.command_lines().into_iter().any(is_cp);
        self.world.assert_within(MOMENT, "nobody copies anything", || !copies());
    }

    fn command_lines(&self) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(self.world.outside("/proc")).expect("its /proc").flatten();
        entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).collect()
    }

    /// Whether a helper with this as its first word runs.
    fn runs(&self, word: &str) -> bool {
        self.command_lines().into_iter().any(|line| line.split(|byte| *byte == 0).nth(1) == Some(word.as_bytes()))
    }

    /// It was killed there, and has said nothing.
    pub fn was_killed(&self, run: &Run) -> bool {
        // As those have it that stand in between: nsenter(1) ends as its child did, and a stand-in with no code of its own.
        let is_killed = [128 + 9, -1, 255].contains(&run.code);
        is_killed && self.strike.is_some_and(|strike| strike.blow == Blow::Kill)
    }

    /// What has to be so when a command that was struck has ended: it says what it could not do, and nothing else happens.
    pub fn heard(&self, run: &Run) {
        let struck = self.struck();
        if self.was_killed(run) {
            return;
        }
        let world = self.world;
        // 126 is for a command of a person's that could not be started.
        world.check([0, 1, 3, 126].contains(&run.code), &format!("{} is no exit code of rokeep's", run.code));
        world.check(!run.stderr.contains("panicked"), "rokeep lost its composure");
        world.check(run.code == 0 || run.stderr.contains("rokeep: "), "it failed, and did not say why");
        let many_names = |call: &Call| call.name == "linkat" && self.refusal() == Some(nix::libc::EMLINK);
        let said = ["not protected", "cannot be protected"].iter().any(|words| run.stderr.contains(words));
        // A file with as many names as there can be: they will not all go at once.
        self.is_excused.set(self.is_excused.get() || said || struck.as_ref().is_some_and(many_names));
    }

    fn refusal(&self) -> Option<i32> {
        match self.strike?.blow {
            Blow::Kill => None,
            Blow::Refuse(errno) | Blow::RefuseAll(errno) => Some(errno),
        }
    }

    /// The mounts are as they were found, or it is said that one is not.
    pub fn closed_or_said(&self, run: &Run) {
        let said = NOT_AS_FOUND.iter().any(|words| run.stderr.contains(words));
        let now = |(point, found)| Some((self.world.mount_line(point), found)).filter(|(now, found)| now != found);
        let different: Vec<(String, &str)> = self.found().filter_map(now).collect();
        let lines = self.mounts().filter_map(|point| self.world.sandbox().mount_line(point));
        let is_open = lines.into_iter().any(|line| Access::of(&line) == Writable);
        let is_well = (different.is_empty() && !is_open) || said;
        self.world.check(is_well, &format!("a mount is not as it was found, and nobody says so: {different:?}"));
    }

    /// Whether a person holds a mount.
    pub fn is_held_by_hand(&self) -> bool {
        let session = std::fs::read_to_string(self.world.outside("/run/rokeep/session.json")).unwrap_or_default();
        session.contains("\"by_hand\"")
    }

    /// The world is as it was in the beginning, for the next point.
    pub fn strike_the_set(&self) {
        let world = self.world;
        self.nobody_uses_anything();
        let old: Vec<File> = self.files().filter(|file| !file.is_replaced && file.is_of_the_package).collect();
        if !old.is_empty() {
            world.writably(|| old.iter().for_each(|file| self.replace_at_last(file.path)));
        }
        world.rokeep(["cleanup"]).assert_code(0);
        self.wait_for_the_others();
    }
}

impl Stage<'_> {
    /// Also where a command was interrupted in it.
    fn replace_at_last(&self, path: &str) {
        for rest in [".dpkg-new", ".dpkg-tmp"] {
            let _ = std::fs::remove_file(self.world.outside(format!("{path}{rest}")));
        }
        self.world.dpkg_replaces(path);
    }
}

/// A file that the play is about.
#[derive(Debug)]
pub struct File {
    pub path: &'static str,
    pub inode: Inode,
    pub is_replaced: bool,
    pub is_used: bool,
    pub is_of_the_package: bool,
}
