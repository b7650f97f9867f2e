//! A small world: a throw-away root with a few files, whose mounts are real.
//!
//! /bin, /lib and /sbin are links into /usr, as on every Debian of today; /usr is a file system of its own. The programs
//! are stand-ins (`holder/`), the kernel is not: what is read-only, busy or gone is asked of it.
//! A scenario is written with the verbs of [`Small`]; whatever fails shows all that rokeep said until then.

mod archives;
mod at_once;
mod belongings;
mod borrowed;
mod by_hand;
mod checked;
mod disks;
mod dpkg;
mod elsewhere;
mod executed;
mod file_system;
mod other_mounts;
mod out_of_sight;
mod pins;
mod places;
mod room;
mod state;
mod terminal;
mod upkeep;
mod watched;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::Pid;
use rokeep::core::columns::can_be_shown;

pub use self::at_once::Begun;
use self::belongings::Belongings;
pub use self::by_hand::{Log, Running};
pub use self::disks::{DISKS, Slowed};
pub use self::dpkg::Dpkg;
pub use self::elsewhere::Where;
pub use self::file_system::{FileSystem, LOWER, THEIRS};
pub use self::pins::Pin;
pub use self::room::Full;
pub use self::state::State;
pub use self::watched::Event;
use super::order::{Answer, Order};
pub use super::sandbox::Access;
use super::sandbox::Sandbox;
use super::status::{MountStatus, Status};

use Access::{ReadOnly, ReadOnlyMount, Writable, WriteProtected};
use FileSystem::Ext4;

// ── mounts ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A mount of a small world: where, of what, and how it is found. Every one is `nodev,noatime`, so that it shows when
/// somebody changes more of it than read-only.
#[derive(Clone, Copy, Debug)]
pub struct Mount(pub &'static str, pub FileSystem, pub Access);

impl Mount {
    fn mount(&self, number: usize) -> String {
        let directory = self.directory();
        if self.0 == "/" {
            return "mkdir -p usr/bin usr/sbin usr/lib\n".to_owned();
        }
        let mount = self.1.make_and_mount(number, &directory);
        format!("mkdir -p {directory}\n{mount}(cd {directory}; mkdir -p bin sbin lib)\n")
    }

    /// After all of them are there: one may be in another.
    fn seal(&self, number: usize) -> String {
        let (directory, image) = (self.directory(), FileSystem::image(number));
        match self.2 {
            Writable => format!("mount -i -o remount,nodev,noatime {directory}\n"),
            ReadOnly => format!("mount -i -o remount,ro,nodev,noatime {directory}\n"),
            ReadOnlyMount => format!("mount -i -o remount,bind,ro,nodev,noatime {directory}\n"),
            // Not blockdev --setro: that would stay with the loop device, for whoever gets it next.
            WriteProtected => format!("umount {directory}\nmount -o loop,ro,nodev,noatime {image} {directory}\n"),
        }
    }

    fn directory(&self) -> String {
        format!("'.{}'", self.0)
    }
}

// ── the world ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// A running small world. Dropping it ends all that runs in it and takes its mounts away.
pub struct Small {
    frontend: RefCell<Option<Frontend>>,
    sandbox: Sandbox,
    mounts: Vec<Mount>,
    first_inode: BTreeMap<PathBuf, Inode>,
    /// Paths that rokeep may make, cover and remove as it likes.
    handed_over: Vec<&'static str>,
    log: RefCell<String>,
}

/// A file, whatever it is called: device and inode number as stat(2) gives them.
pub type Inode = (u64, u64);

impl Small {
    /// /usr is ext4, mounted read-only.
    pub fn ext4() -> Small {
        Small::on(Ext4)
    }

    /// /usr is of this kind, mounted read-only.
    pub fn on(file_system: FileSystem) -> Small {
        Small::with(&[Mount("/usr", file_system, ReadOnly)])
    }

    /// The mounts are these; the first should be /usr. One at / is memory: whatever dpkg and rokeep write while it is
    /// read-only, and the images, are on mounts of their own then.
    pub fn with(mounts: &[Mount]) -> Small {
        let mut setup = String::from("mount -t tmpfs -o mode=755 root \"$ROOT\"\ncd \"$ROOT\"\n");
        if mounts.iter().any(|mount| mount.0 == "/") {
            setup.push_str("for name in image run tmp var; do mkdir $name; mount -t tmpfs $name $name; done\n");
        }
        setup.push_str(
            "mkdir -p image etc proc sys dev tool run tmp var/tmp var/lib/dpkg/info var/lib/rokeep usr\n\
             mount -t sysfs sysfs sys\n\
             for name in bin sbin lib; do ln -s usr/$name $name; done\n\
             echo 1 > var/lib/dpkg/info/format; : > var/lib/dpkg/status\n",
        );
        setup.extend(mounts.iter().enumerate().map(|(number, mount)| mount.mount(number)));
        setup.extend(mounts.iter().enumerate().map(|(number, mount)| mount.seal(number)));
        Small::set_up(&setup, mounts)
    }

    /// The script makes the root directory and the mounts; the others there may be are nobody's business.
    fn set_up(setup: &str, mounts: &[Mount]) -> Small {
        // Any directory will do: the tmpfs that covers it is seen by the sandbox only.
        let sandbox = Sandbox::start(Path::new("/mnt"), setup).expect("a small world");
        // So that the helper is called what it stands for.
        for name in ["apt-get", "dpkg"] {
            std::os::unix::fs::symlink("holder", sandbox.outside("/tool").join(name)).expect("a name");
        }
        let frontend = RefCell::new(Some(Frontend::start(&sandbox, &["frontend"])));
        let (first_inode, handed_over, log) = (BTreeMap::new(), Vec::new(), RefCell::default());
        Small { frontend, sandbox, mounts: mounts.to_vec(), first_inode, handed_over, log }
    }

    /// These paths, and what is below them, are rokeep's from now on: those of an overlay.
    pub fn hands_over(mut self, paths: &[&'static str]) -> Small {
        self.handed_over.extend(paths);
        self
    }

    /// A package is installed: its files exist, its list names them just so, dpkg's status knows it.
    pub fn installed(self, name: &str, version: &str, paths: &[impl AsRef<Path>]) -> Small {
        let text = |path: &Path| format!("{name} {version}: {path:?}\n");
        self.writably(|| self.write_each(paths.iter().map(|path| (path.as_ref(), text(path.as_ref())))));
        self.recorded(name, version, paths)
    }

    /// A package of one program is installed.
    pub fn installed_program(self, name: &str, version: &str, path: &str) -> Small {
        self.writably(|| self.write_program(path));
        self.recorded(name, version, &[path])
    }

    /// The database says that a package with these paths is installed; whether they exist is another matter.
    pub fn recorded(mut self, name: &str, version: &str, paths: &[impl AsRef<Path>]) -> Small {
        let mut list = b"/.\n".to_vec();
        for path in paths {
            list.extend([path.as_ref().as_os_str().as_bytes(), b"\n"].concat());
            if let Some(inode) = self.inode(path) {
                self.first_inode.insert(path.as_ref().to_path_buf(), inode);
            }
        }
        self.write(format!("/var/lib/dpkg/info/{name}.list"), &list);
        let status = std::fs::read_to_string(self.outside("/var/lib/dpkg/status")).unwrap_or_default();
        let entry = format!(
            "Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n\
             Maintainer: Nobody <nobody@example.org>\nDescription: a test\n\n"
        );
        self.write("/var/lib/dpkg/status", (status + &entry).as_bytes());
        self
    }

    /// A file has these contents now.
    pub fn write(&self, path: impl AsRef<Path>, contents: &[u8]) {
        self.run_helper(&["write"], path.as_ref(), contents);
    }

    /// Many files have these contents now, none of which has a NUL in it.
    pub fn write_each<'p>(&self, files: impl Iterator<Item = (&'p Path, String)>) {
        let told = files.flat_map(|(path, text)| [path.as_os_str().as_bytes(), b"\0", text.as_bytes(), b"\0"].concat());
        let answer = self.output(self.sandbox.command("/tool/holder").arg("write-each"), &told.collect::<Vec<u8>>());
        let said = String::from_utf8_lossy(&answer.stderr);
        self.check(answer.code == 0, &format!("not all of the files were written: {said}"));
    }

    /// A file is a program now, one that can really run.
    pub fn write_program(&self, path: impl AsRef<Path>) {
        self.run_helper(&["program"], path.as_ref(), b"");
    }

    /// A file is a script now that this program runs, one that can ([`Small::write_program`]).
    pub fn write_script(&self, path: impl AsRef<Path>, interpreter: &str) {
        self.write(path.as_ref(), format!("#!{interpreter} interpret\n").as_bytes());
        self.set_mode(path, 0o755);
    }

    /// mkswap(8): a file can be swapped to now, where that can be.
    pub fn write_swap_file(&self, path: impl AsRef<Path>) {
        self.run_helper(&["swap-file"], path.as_ref(), b"");
    }

    /// chmod(1).
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) {
        let done = std::fs::set_permissions(self.outside(path), std::fs::Permissions::from_mode(mode));
        done.unwrap_or_else(|error| self.fail(&format!("chmod: {error}")));
    }

    /// No byte more fits on this mount.
    pub fn fill(&self, point: &str) {
        let path = Path::new(point).join("ballast");
        let answer = self.output(self.sandbox.command("/tool/holder").arg("write").arg(path), &vec![0; 80 << 20]);
        self.check(answer.code != 0, "more fits on it than was thought");
    }

    /// The kernel finds an error in an ext4, and closes it.
    pub fn ext4_fails(&self, point: &str) {
        let device = self.device(point).unwrap_or_else(|| self.fail(&format!("{point} is not on a device")));
        let trigger = device.replace("/dev/", "/sys/fs/ext4/") + "/trigger_fs_error";
        std::fs::write(trigger, "a test").unwrap_or_else(|error| self.fail(&format!("no error: {error}")));
    }

    /// chattr(1): `+i` makes a file that can be neither changed, nor removed, nor linked.
    pub fn immutable(&self, path: &str, how: &str) {
        self.outside_tool("chattr", &[how], path);
    }

    /// Does something as if it had been done before the mounts became what they are. Those that never can be writable stay
    /// as they are.
    pub fn writably<T>(&self, act: impl FnOnce() -> T) -> T {
        let all = |access: &str| {
            for Mount(point, _, found) in self.mounts.iter().filter(|mount| !mount.1.is_finished()) {
                let how = match found {
                    ReadOnly | WriteProtected => access.to_owned(),
                    ReadOnlyMount => format!("bind,{access}"),
                    Writable => continue,
                };
                let done = self.remount(&how, point);
                done.unwrap_or_else(|errno| self.fail(&format!("{point} is {found:?} and stays so: {errno}")));
            }
        };
        all("rw");
        let value = act();
        all("ro");
        value
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    /// A process takes a file into a state, and stays in it until the returned value is dropped.
    pub fn hold<P: AsRef<Path>>(&self, state: State<P>) -> Holder {
        let (word, path) = state.words();
        Holder(Resident::start(self.sandbox.command("/tool/holder").arg(word).arg(path.as_ref())))
    }

    /// A process that is there already, and will take a file into a state when it is told to.
    pub fn will_hold<P: AsRef<Path>>(&self, state: State<P>) -> Holder {
        let (word, path) = state.words();
        Holder(Resident::start(self.sandbox.command("/tool/holder").args(["when-told", word]).arg(path.as_ref())))
    }

    /// dpkg has its database locked, and works on, until the returned value is dropped.
    pub fn dpkg_works(&self) -> Holder {
        Holder(Resident::start(self.sandbox.command("/tool/dpkg").args(["locked", "/var/lib/dpkg/lock"])))
    }

    /// dpkg unpacks another version of a file.
    pub fn dpkg_replaces(&self, path: impl AsRef<Path>) {
        self.replaces_with(path, b"another version\n");
    }

    /// dpkg unpacks a version of a file with these contents.
    pub fn replaces_with(&self, path: impl AsRef<Path>, contents: &[u8]) {
        self.run_helper(&["dpkg", "replace"], path.as_ref(), contents);
    }

    /// dpkg removes a file.
    pub fn dpkg_removes(&self, path: impl AsRef<Path>) {
        self.run_helper(&["dpkg", "remove"], path.as_ref(), b"");
    }

    /// Of which kind the topmost mount there is; nothing where there is none.
    pub fn fs_type(&self, point: &str) -> String {
        let line = self.sandbox().mount_line(point).unwrap_or_default();
        line.split_once(" - ").and_then(|(_, after)| after.split(' ').next()).unwrap_or_default().to_owned()
    }

    /// mount(8) with `-o remount,HOW`.
    pub fn remount(&self, how: &str, point: &str) -> Result<(), Errno> {
        match self.output(self.sandbox.command("/tool/holder").args(["remount", how, point]), b"").code {
            0 => Ok(()),
            number => Err(Errno::from_raw(number)),
        }
    }

    /// Somebody mounts a directory at another place as well.
    pub fn bind(&self, from: &str, to: &str) {
        std::fs::create_dir_all(self.outside(to)).expect("a mount point");
        self.run_helper(&["bind", from], Path::new(to), b"");
    }

    /// Somebody takes the topmost mount away.
    pub fn unmount(&self, point: &str) {
        self.run_helper(&["unmount"], Path::new(point), b"");
    }

    /// From now on apt has a mount namespace of its own, as in a unit with PrivateTmp=.
    pub fn apt_has_its_own_mounts(self) -> Small {
        self.frontend.replace(Some(Frontend::start(&self.sandbox, &["frontend", "apart"])));
        self
    }

    /// From now on apt is called with this option.
    pub fn apt_has_option(self, option: &str) -> Small {
        self.frontend.replace(Some(Frontend::start(&self.sandbox, &["frontend", "-o", option])));
        self
    }

    /// From now on this program is apt: a copy of the stand-in, as [`Small::installed_program`] makes it.
    pub fn apt_runs_from(self, path: &str) -> Small {
        let mut command = self.sandbox.command(path);
        command.arg("frontend").env("DPKG_FRONTEND_LOCKED", "true");
        self.frontend.replace(Some(Frontend(Resident::start(&mut command))));
        self
    }

    /// apt dies, without a word to anybody. The next hook is run by another apt.
    pub fn apt_dies(&self) {
        drop(self.frontend.take());
    }

    /// What another apt does meanwhile. It lives no longer than that.
    pub fn meanwhile_another_apt<T>(&self, act: impl FnOnce() -> T) -> T {
        let first = self.frontend.take();
        let value = act();
        self.frontend.replace(first);
        value
    }

    /// SIGKILL for every rokeep that still runs, and for whom they have forked meanwhile: a watcher leaves its terminal so.
    pub fn kill_rokeep(&self) {
        let kill_all = || {
            let running = self.running_rokeeps();
            // One may have ended by itself meanwhile.
            running.iter().for_each(|pid| drop(self.runs("/tool/holder", &["kill", &pid.to_string()])));
            running.is_empty()
        };
        self.assert_within(Duration::from_secs(10), "they are dead", kill_all);
    }

    /// The processes that run rokeep, whatever they call themselves; also one that is ending, as long as it has its locks.
    pub fn running_rokeeps(&self) -> Vec<u32> {
        // By identity: what the link is called depends on where the tests themselves have their root.
        let identity = |path: &str| std::fs::metadata(self.outside(path)).map(|file| (file.dev(), file.ino())).ok();
        let rokeep = identity("/tool/rokeep");
        // The kernel takes away its memory, and its program with it, before its files.
        let is_ending = |pid: &u32| {
            let stat = std::fs::read_to_string(self.outside(format!("/proc/{pid}/stat"))).unwrap_or_default();
            stat.contains("(rokeep) ") && !stat.contains("(rokeep) Z") && !stat.contains("(rokeep) X")
        };
        let runs_rokeep = |pid: &u32| match identity(&format!("/proc/{pid}/exe")) {
            Some(program) => rokeep == Some(program),
            None => is_ending(pid),
        };
        let entries = std::fs::read_dir(self.outside("/proc")).expect("its /proc").flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(runs_rokeep).collect()
    }

    /// Waits until the watcher has read whom it is to wait for, and does.
    pub fn watcher_waits(&self) {
        let waits_for_a_process = |pid: u32| {
            let files = std::fs::read_dir(self.outside(format!("/proc/{pid}/fd"))).into_iter().flatten().flatten();
            files
                .filter_map(|file| std::fs::read_link(file.path()).ok())
                .any(|file| file.to_string_lossy().contains("pidfd"))
        };
        let waits = || self.running_rokeeps().into_iter().any(waits_for_a_process);
        self.assert_within(Duration::from_secs(10), "the watcher waits", waits);
    }

    // ── rokeep ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// apt calls the hook before it does anything. It must succeed, and there must be something to do.
    pub fn begin(&self) -> Run {
        let run = self.hook("pre-invoke", None).assert_code(0);
        self.check(self.has_session(), "a session must be open now");
        run
    }

    /// apt says what it is going to do. The hook must succeed.
    pub fn protect(&self, changes: &[Change]) -> Run {
        self.hook("pre-install-pkgs", Some(stream(changes))).assert_code(0)
    }

    /// apt is done. The hook must succeed: a good upgrade must not fail.
    pub fn end(&self) -> Run {
        self.hook("post-invoke", None).assert_code(0)
    }

    /// apt calls a hook, with a stream or without one.
    pub fn hook(&self, name: &str, stream: Option<Vec<u8>>) -> Run {
        self.order_hook(&[], name, stream)
    }

    /// A hook is called by way of another program.
    pub fn hook_under(&self, program: &[&str], name: &str) -> Run {
        self.order_hook(program, name, None)
    }

    /// apt says what it is going to do, by way of another program.
    pub fn protect_under(&self, program: &[&str], changes: &[Change]) -> Run {
        self.order_hook(program, "pre-install-pkgs", Some(stream(changes)))
    }

    fn order_hook(&self, program: &[&str], name: &str, stream: Option<Vec<u8>>) -> Run {
        self.order(&[program, &["/tool/rokeep", "hook", name]].concat(), stream)
    }

    /// apt runs something.
    fn order(&self, words: &[&str], stream: Option<Vec<u8>>) -> Run {
        self.leaving_alone_what_is_not_its_own(|| self.among_others(words, stream))
    }

    /// apt runs something while others work on the same files: not everything that happens is rokeep's doing.
    pub fn among_others(&self, words: &[&str], stream: Option<Vec<u8>>) -> Run {
        let argv = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut frontend = self.frontend.borrow_mut();
        let frontend = frontend.get_or_insert_with(|| Frontend::start(&self.sandbox, &["frontend"]));
        let answer = frontend.carry_out(&Order { argv, stream });
        self.check(!answer.output_kept_open, "a process that the hook left behind keeps its output: apt would hang");
        self.logged(&words.join(" "), answer)
    }

    /// A person calls rokeep.
    pub fn rokeep<const N: usize>(&self, words: [&str; N]) -> Run {
        self.rokeep_given(&words, b"")
    }

    /// A person calls rokeep, with something to read.
    pub fn rokeep_given(&self, words: &[&str], input: &[u8]) -> Run {
        let mut command = self.sandbox.command("/tool/rokeep");
        self.leaving_alone_what_is_not_its_own(|| {
            self.logged(&words.join(" "), self.output(command.args(words), input))
        })
    }

    /// What `rokeep status --json` says. It says it in the documented form, changes nothing, and ends with 1 where
    /// something needs attention.
    pub fn status(&self) -> Status {
        let before = self.mount_table();
        self.check(!before.is_empty(), "the kernel says nothing about mounts");
        let run = self.rokeep(["status", "--json"]);
        self.check(before == self.mount_table(), "status changed a mount");
        let status = Status::read(&run.stdout)
            .unwrap_or_else(|error| self.fail(&format!("this is not what status --json promises: {error}")));
        self.check(status.format == 2, "status is of another format");
        let wrong = |mount: &MountStatus| match mount.state.as_str() {
            "read-only" => false,
            "degraded" => true,
            "writable" => status.session.is_none(),
            other => self.fail(&format!("{other:?} is no state of a mount")),
        };
        let attention = status.mounts.iter().any(wrong) || !status.problems.is_empty();
        self.check(run.code == i32::from(attention), "status's exit code is not what it says");
        status
    }

    /// Where it is.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Somebody runs a program of the world's, to its end.
    pub fn runs(&self, program: &str, words: &[&str]) -> Run {
        let Answer { code, stdout, stderr, .. } = self.output(self.sandbox.command(program).args(words), b"");
        let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Run { code, stdout, stderr }
    }

    /// All that rokeep said until now.
    pub fn said(&self) -> String {
        self.log.borrow().clone()
    }

    /// What was said until now is not worth knowing any more.
    pub fn forget_what_was_said(&self) {
        self.log.borrow_mut().clear();
    }

    fn logged(&self, what: &str, Answer { code, stdout, stderr, .. }: Answer) -> Run {
        let [stdout, stderr] = [stdout, stderr].map(|bytes| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = write!(self.log.borrow_mut(), "{text}");
            text
        });
        let _ = writeln!(self.log.borrow_mut(), "(rokeep {what} ended with {code})\n");
        // Neither what moves a cursor nor what is not seen, or makes text look like another one.
        let harmless = |text: &str| text.lines().all(|line| can_be_shown(line) && !line.contains('\u{fffd}'));
        self.check(harmless(&stdout) && harmless(&stderr), "rokeep wrote what is not text to a terminal");
        Run { code, stdout, stderr }
    }

    fn leaving_alone_what_is_not_its_own(&self, act: impl FnOnce() -> Run) -> Run {
        let before = Belongings::of(self);
        let run = act();
        let changed = before.touched(&Belongings::of(self));
        self.check(changed.is_empty(), &format!("rokeep touched what is not its own: {changed:?}"));
        run
    }

    // ── what must be so ─────────────────────────────────────────────────────────────────────────────────────────────

    /// The kernel says that the mount permits this.
    #[track_caller]
    pub fn assert_mount(&self, point: &str, expected: Access) {
        let found = self.access(point);
        self.check(found == expected, &format!("{point} is {found:?}, not {expected:?}"));
    }

    /// What the kernel says that a mount permits.
    #[track_caller]
    pub fn access(&self, point: &str) -> Access {
        Access::of(&self.mount_line(point))
    }

    /// All that the kernel says about a mount, in its own words.
    #[track_caller]
    pub fn mount_line(&self, point: &str) -> String {
        self.sandbox.mount_line(point).unwrap_or_else(|| self.fail(&format!("{point} is no mount point")))
    }

    /// The block device that a mount is on.
    fn device(&self, point: &str) -> Option<String> {
        let line = self.sandbox.mount_line(point)?;
        line.split(' ').find(|word| word.starts_with("/dev/")).map(str::to_owned)
    }

    fn mount_table(&self) -> String {
        self.sandbox.mount_table()
    }

    /// The file that was first installed at this path has, or has not, an alias.
    #[track_caller]
    pub fn assert_alias(&self, path: impl AsRef<Path>, expected: Alias) {
        let path = path.as_ref();
        let inode = self.first_inode.get(path).unwrap_or_else(|| self.fail(&format!("{path:?} was never installed")));
        let aliases = self.all_aliases();
        let found = aliases.values().filter(|alias| *alias == inode).count();
        let right = match expected {
            Alias::Kept => found == 1,
            Alias::None => found == 0,
        };
        self.check(
            right,
            &format!("{path:?} {inode:?}: {expected:?}, but of its aliases there are {found}: {aliases:?}"),
        );
    }

    /// The aliases in a mount's store, which must be root's alone. One that goes meanwhile is none.
    #[track_caller]
    pub fn aliases(&self, point: &str) -> Vec<Inode> {
        let store = self.outside(format!("{point}/.rokeep"));
        let Ok(metadata) = store.symlink_metadata() else {
            return Vec::new();
        };
        self.check(metadata.mode() == 0o040_700, &format!("the store's mode is {:o}", metadata.mode()));
        self.check((metadata.uid(), metadata.gid()) == (0, 0), "the store is not root's");
        let is_gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        let entries = match std::fs::read_dir(store) {
            Err(error) if is_gone(&error) => return Vec::new(),
            entries => entries.expect("the store can be read"),
        };
        let found = entries.map(|entry| entry.and_then(|entry| entry.path().symlink_metadata()));
        let there = found.filter(|found| !found.as_ref().is_err_and(is_gone));
        there.map(|found| found.map(|found| (found.dev(), found.ino())).expect("an alias")).collect()
    }

    /// Nothing of ours is left on the mount.
    #[track_caller]
    pub fn assert_no_store(&self, point: &str) {
        let store = self.outside(format!("{point}/.rokeep"));
        self.check(store.symlink_metadata().is_err(), &format!("{point} still has a store"));
    }

    /// No session is open.
    #[track_caller]
    pub fn assert_no_session(&self) {
        self.check(!self.has_session(), "a session is still open");
    }

    /// Within moments /usr is read-only, the session is over, no rokeep is left, and nothing is wrong.
    #[track_caller]
    pub fn assert_is_ended(&self) {
        const MOMENT: Duration = Duration::from_secs(2);
        self.assert_within(MOMENT, "/usr is read-only", || self.access("/usr") == ReadOnly);
        self.assert_within(MOMENT, "the session is over", || !self.has_session());
        self.assert_within(MOMENT, "no rokeep is left running", || self.running_rokeeps().is_empty());
        assert!(self.status().problems.is_empty());
    }

    /// Whether a session is open.
    pub fn has_session(&self) -> bool {
        self.outside("/run/rokeep/session.json").symlink_metadata().is_ok()
    }

    /// The journal, byte for byte; empty where there is none.
    pub fn journal(&self) -> Vec<u8> {
        std::fs::read(self.outside("/var/lib/rokeep/journal.jsonl")).unwrap_or_default()
    }

    /// How many aliases the journal knows.
    pub fn records(&self) -> usize {
        self.journal().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).skip(1).count()
    }

    /// Something that takes a moment becomes so in less than that moment.
    #[track_caller]
    pub fn assert_within(&self, moment: Duration, what: &str, so: impl Fn() -> bool) {
        const RARELY: Duration = Duration::from_millis(20);
        let (start, mut pause) = (Instant::now(), Duration::from_millis(1));
        while !so() {
            self.check(start.elapsed() < moment, &format!("after {moment:?} not yet: {what}"));
            std::thread::sleep(pause);
            pause = RARELY.min(pause * 2);
        }
    }

    /// Something of which only one value is right.
    #[track_caller]
    pub fn check(&self, right: bool, otherwise: &str) {
        if !right {
            self.fail(otherwise);
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("{what}");
    }

    // ── from outside ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Where a path of the world is seen from here. Not for opening a file for writing: a child that another test
    /// forks at that moment would share the descriptor, and make the file system busy for a moment longer.
    pub fn outside(&self, path: impl AsRef<Path>) -> PathBuf {
        let mut outside = self.sandbox.outside("").into_os_string();
        outside.push(path.as_ref());
        outside.into()
    }

    /// The file at a path, if there is one.
    pub fn inode(&self, path: impl AsRef<Path>) -> Option<Inode> {
        // From one directory to the next: seen from here a path may be longer than the kernel takes.
        let path = path.as_ref().strip_prefix("/").unwrap_or(path.as_ref());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = nix::fcntl::open(&self.outside("/"), flags, Mode::empty()).expect("the root directory");
        for name in path.parent().into_iter().flatten() {
            dir = openat(&dir, name, flags, Mode::empty()).ok()?;
        }
        let found = fstatat(&dir, path.file_name()?, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some((found.st_dev, found.st_ino))
    }

    fn run_helper(&self, words: &[&str], path: &Path, input: &[u8]) {
        let answer = self.output(self.sandbox.command("/tool/holder").args(words).arg(path), input);
        let said = String::from_utf8_lossy(&answer.stderr);
        self.check(answer.code == 0, &format!("{words:?} {path:?} did not work: {said}"));
    }

    fn output(&self, command: &mut Command, input: &[u8]) -> Answer {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter");
        // Who does not read it has a reason, and will say it.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input));
        let output = child.wait_with_output().expect("an end");
        let code = output.status.code().unwrap_or(-1);
        Answer { code, stdout: output.stdout, stderr: output.stderr, output_kept_open: false }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what rokeep said until then:\n\n{}", self.log.borrow());
        }
    }
}

/// How an alias should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// There, once.
    Kept,
    /// Not there.
    None,
}

// ── processes that stay ─────────────────────────────────────────────────────────────────────────────────────────────

/// A process that holds something. Dropping it ends the process, and returns when that has let go.
pub struct Holder(Resident);

impl Holder {
    /// What `holder WORDS` does in a sandbox.
    pub fn start(sandbox: &Sandbox, words: &[&str]) -> Holder {
        Holder(Resident::start(sandbox.command("/tool/holder").args(words)))
    }

    /// Its process id inside the world.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Tells one that [`Small::will_hold`].
    pub fn holds_now(&mut self) {
        let Resident { stdin, stdout, .. } = &mut self.0;
        let mut answer = String::new();
        stdin.as_mut().expect("open until dropped").write_all(b"now\n").expect("it listens");
        stdout.read_line(&mut answer).expect("its answer");
        assert_eq!(answer, "holds\n", "(see stderr)");
    }
}

/// A child that stays until its standard input ends.
struct Resident {
    nsenter: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pid: u32,
}

impl Resident {
    fn start(command: &mut Command) -> Resident {
        let mut nsenter = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter");
        let stdin = nsenter.stdin.take();
        let mut stdout = BufReader::new(nsenter.stdout.take().expect("its output"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("its first line");
        let pid = line.strip_suffix(" ready\n").and_then(|pid| pid.parse().ok());
        let pid = pid.unwrap_or_else(|| panic!("{command:?} did not get ready: {line:?} (see stderr)"));
        Resident { nsenter, stdin, stdout, pid }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.nsenter.wait();
    }
}

/// The stand-in for apt. Dropping it kills it.
pub struct Frontend(Resident);

impl Frontend {
    /// Starts it; [`Small`] says what there has to be in a sandbox.
    pub fn start(sandbox: &Sandbox, words: &[&str]) -> Frontend {
        Frontend(Resident::start(sandbox.command("/tool/apt-get").args(words).env("DPKG_FRONTEND_LOCKED", "true")))
    }

    /// Has it run something as its child.
    pub fn carry_out(&mut self, order: &Order) -> Answer {
        let answer = self.try_carry_out(order);
        answer.unwrap_or_else(|| panic!("the frontend could not run {:?} (see stderr)", order.argv))
    }

    /// The same; `None` where it is killed before it can answer.
    pub fn try_carry_out(&mut self, order: &Order) -> Option<Answer> {
        let order = serde_json::to_string(order).expect("bytes are JSON numbers");
        let stdin = self.0.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{order}").and_then(|()| stdin.flush()).ok()?;
        let mut line = String::new();
        self.0.stdout.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Its process id out here.
    pub fn outer_pid(&self) -> Option<i32> {
        // nsenter's child is the one; its own id out here is known only to nsenter.
        let nsenter = self.0.nsenter.id();
        let children = std::fs::read_to_string(format!("/proc/{nsenter}/task/{nsenter}/children")).unwrap_or_default();
        children.trim().parse().ok()
    }
}

impl Drop for Frontend {
    fn drop(&mut self) {
        if let Some(pid) = self.outer_pid() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

// ── what apt says ───────────────────────────────────────────────────────────────────────────────────────────────────

/// Something that apt is about to do to a package: its name, the version there is, the version there will be.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// To a newer version.
    Upgrade(&'a str, &'a str, &'a str),
    /// To an older version.
    Downgrade(&'a str, &'a str, &'a str),
    /// The same version again.
    Reinstall(&'a str, &'a str),
    /// Not there before.
    Install(&'a str, &'a str),
    /// Removed or purged; apt does not say which.
    Remove(&'a str, &'a str),
}

impl Change<'_> {
    /// The lines of protocol version 3: apt names each package it unpacks a second time, for its configuration.
    fn lines(self) -> String {
        let install = |name: &str, from: &str, direction: &str, to: &str| {
            let line = format!("{name} {from} {direction} {to} amd64 none");
            format!("{line} /var/cache/apt/archives/{name}_{to}_amd64.deb\n{line} **CONFIGURE**\n")
        };
        match self {
            Change::Upgrade(name, old, new) => install(name, &format!("{old} amd64 none"), "<", new),
            Change::Downgrade(name, old, new) => install(name, &format!("{old} amd64 none"), ">", new),
            Change::Reinstall(name, version) => install(name, &format!("{version} amd64 none"), "=", version),
            Change::Install(name, version) => install(name, "- - none", "<", version),
            Change::Remove(name, version) => {
                format!("{name} {version} amd64 none > - - none **REMOVE**\n")
            }
        }
    }
}

/// What apt writes to a hook that asked for protocol version 3.
pub fn stream(changes: &[Change]) -> Vec<u8> {
    let changes: String = changes.iter().map(|change| change.lines()).collect();
    format!("{STREAM_HEAD}{changes}").into_bytes()
}

/// What stands before the packages: the version of the protocol, apt's settings, an empty line.
pub const STREAM_HEAD: &str = "\
VERSION 3
APT::Architecture=amd64
APT::Architectures::=amd64
Dir::Etc::sourcelist=sources.list
DPkg::Pre-Install-Pkgs::=/etc/rokeep/hooks/pre-install-pkgs
DPkg::Post-Invoke::=test%20-x%20/usr/bin/true%20||%20true
Quiet::NoUpdate=true

";

// ── what rokeep says ────────────────────────────────────────────────────────────────────────────────────────────────

/// One run of rokeep, ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Run {
    /// It ended so.
    #[track_caller]
    pub fn assert_code(self, code: i32) -> Run {
        assert!(self.code == code, "rokeep must end with {code}, and ended with {}", self.code);
        self
    }

    /// A person who reads what it wrote to its standard error finds all of this there.
    #[track_caller]
    pub fn assert_says(self, words: &[&str]) -> Run {
        for word in words {
            assert!(self.stderr.contains(word), "rokeep must say {word:?}, and says {:?}", self.stderr);
        }
        self
    }
}
