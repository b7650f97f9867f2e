//! A package run that frees files in use, played twice: with the pair of remounts that every guide gives, which has to
//! end busy, and with rokeep, which has to end read-only. So no scene can pass in which nothing is freed.
//!
//! Unless a scene says otherwise its files come into use when dpkg starts, after rokeep has looked at who uses what: only
//! the plan can have protected them.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::support::debian::{Debian, Run};
use crate::support::sandbox::Access::{self, ReadOnly, ReadOnlyMount, Writable};
use crate::support::status::Held;

/// Plays a scene without rokeep and with it.
pub fn scene(play: impl Fn(&Scene) -> Result<()>) -> Result<()> {
    play(&Scene::start(Keeper::Remounts)?).context("with the pair of remounts")?;
    play(&Scene::start(Keeper::Rokeep)?).context("with rokeep")
}

/// A Debian system with /usr read-only.
pub struct Scene {
    debian: Debian,
    keeper: Keeper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    Remounts,
    Rokeep,
}

impl Deref for Scene {
    type Target = Debian;

    fn deref(&self) -> &Debian {
        &self.debian
    }
}

impl Scene {
    fn start(keeper: Keeper) -> Result<Scene> {
        let debian = Debian::bookworm()?;
        let debian = match keeper {
            Keeper::Remounts => debian.with_remount_pair()?,
            Keeper::Rokeep => debian.with_rokeep()?,
        };
        debian.write_script(START_LATE_USERS, LATE_USERS)?;
        // dpkg reads this directory in byte order, and has rokeep's hook by then.
        debian.write("/etc/dpkg/dpkg.cfg.d/zzz-late-users", &format!("pre-invoke={START_LATE_USERS}\n"))?;
        debian.must("mkfifo", &[FOREVER])?;
        Ok(Scene { debian: debian.with_witnesses()?.read_only()?, keeper })
    }

    /// Installs packages while /usr is writable and nothing is in use.
    pub fn installed(&self, archives: &[&str]) -> Result<()> {
        self.prepared(&format!("dpkg --install {}", archives.join(" ")))
    }

    /// Runs shell commands while /usr is writable and nothing is in use.
    pub fn prepared(&self, commands: &str) -> Result<()> {
        self.must("mount", &["-o", "remount,rw", "/usr"])?;
        self.must("sh", &["-euc", commands])?;
        self.must("mount", &["-o", "remount,ro", "/usr"])?;
        Ok(())
    }

    /// A run of apt-get that needs no answers. Nothing happens before it is said what it frees.
    pub fn when_apt<'a>(&'a self, arguments: &[&'a str]) -> Change<'a> {
        self.when(Program::Apt, arguments)
    }

    /// A run of dpkg that no apt asked for. Without rokeep it has the pair of remounts as hooks of its own.
    pub fn when_dpkg<'a>(&'a self, arguments: &[&'a str]) -> Change<'a> {
        self.when(Program::Dpkg, arguments)
    }

    fn when<'a>(&'a self, program: Program, arguments: &[&'a str]) -> Change<'a> {
        Change {
            scene: self,
            program,
            arguments: arguments.to_vec(),
            since: Since::DpkgStarts,
            left: Vec::new(),
            renamed: Vec::new(),
            gone: Vec::new(),
            end: ReadOnly,
        }
    }
}

/// A run of apt-get or dpkg, and what is in use meanwhile.
#[must_use = "nothing runs before it is said what it frees"]
pub struct Change<'a> {
    scene: &'a Scene,
    program: Program,
    arguments: Vec<&'a str>,
    since: Since,
    left: Vec<&'a str>,
    renamed: Vec<&'a str>,
    gone: Vec<&'a str>,
    end: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Apt,
    Dpkg,
}

/// Since when something is in use, or because of whom.
enum Since {
    AlreadyIn(&'static str),
    DpkgStarts,
    ScriptsRun,
}

impl<'a> Change<'a> {
    /// The files are mapped before apt starts.
    pub fn mapped_before(self) -> Self {
        self.used_before("mapped")
    }

    /// The files, or directories, are in one of the holder's states before apt starts.
    pub fn used_before(self, state: &'static str) -> Self {
        Change { since: Since::AlreadyIn(state), ..self }
    }

    /// Maintainer scripts start who uses the files, with [`use_in_script`].
    pub fn used_by_scripts(self) -> Self {
        Change { since: Since::ScriptsRun, ..self }
    }

    /// These are in use too, and still have a name of their own afterwards.
    pub fn leaves(mut self, files: &[&'a str]) -> Self {
        self.left.extend(files);
        self
    }

    /// These are in use too, and get another name instead of the one they have. rokeep knows that one only, cannot tell
    /// whether the other will last, and keeps an alias until they are let go.
    pub fn renames(mut self, files: &[&'a str]) -> Self {
        self.renamed.extend(files);
        self
    }

    /// These directories are gone at last, when nobody uses anything any more.
    pub fn removes(mut self, directories: &[&'a str]) -> Self {
        self.gone.extend(directories);
        self
    }

    /// /usr stays busy with rokeep too, and only the mount becomes read-only.
    pub fn degraded(self) -> Self {
        Change { end: ReadOnlyMount, ..self }
    }

    /// The same inodes stay, so there is nothing to keep.
    pub fn frees_nothing(self) -> Result<()> {
        self.frees(&[])
    }

    /// Runs it. Exactly these lose their last name while they are in use. Without rokeep /usr cannot go back; with it each
    /// is kept and its user named, nothing else is, and nothing at all is left once they are let go.
    pub fn frees(self, files: &[&'a str]) -> Result<()> {
        let Change { scene, arguments, .. } = &self;
        let early = self.early_users(files)?;

        let run = self.run()?;
        // Shown if what follows fails.
        println!("{:?}, {:?} {}: {run:#?}", scene.keeper, self.program, arguments.join(" "));

        let users = [early, scene.late_users()?].concat();
        assert_eq!(users.len(), self.used(files).len(), "not everything came into use: {users:#?}");
        let users_of = |files: &[&str]| users.iter().filter(|user| files.contains(&user.file.as_str())).collect();
        let freed: Vec<&User> = users_of(files);
        match scene.keeper {
            Keeper::Remounts => scene.ended_busy(&run, &freed)?,
            Keeper::Rokeep => {
                assert_eq!(run.code, 0);
                assert_eq!(scene.settled()?.usr()?, self.end, "{:#?}", scene.status()?);
                scene.kept(&users_of(&[files, &self.renamed].concat()), self.end)?;
            }
        }
        users.iter().try_for_each(|user| scene.kill(user.pid))?;
        match scene.keeper {
            // That it can be said now proves that nothing else was in the way.
            Keeper::Remounts => drop(scene.must("mount", &["-o", "remount,ro", "/usr"])?),
            Keeper::Rokeep => scene.nothing_is_left()?,
        }
        for directory in &self.gone {
            assert!(!scene.outside(directory).exists(), "{directory} is there");
        }
        Ok(())
    }

    fn run(&self) -> Result<Run> {
        let Change { scene, arguments, .. } = self;
        match (self.program, scene.keeper) {
            (Program::Apt, _) => scene.apt(&[&["-y", "--allow-downgrades"][..], arguments].concat()),
            (Program::Dpkg, Keeper::Rokeep) => scene.run("dpkg", arguments),
            (Program::Dpkg, Keeper::Remounts) => {
                let hooks = ["rw", "ro"].map(|access| format!("mount -o remount,{access} /usr"));
                let pair = format!("pre-invoke={}\npost-invoke={}\n", hooks[0], hooks[1]);
                scene.write("/etc/dpkg/dpkg.cfg.d/remounts", &pair)?;
                let run = scene.run("dpkg", arguments)?;
                scene.must("rm", &["/etc/dpkg/dpkg.cfg.d/remounts"])?;
                Ok(run)
            }
        }
    }

    fn used<'b>(&'b self, files: &[&'b str]) -> Vec<&'b str> {
        [files, &self.left, &self.renamed].concat()
    }

    fn early_users(&self, files: &[&str]) -> Result<Vec<User>> {
        let used = self.used(files);
        match self.since {
            Since::AlreadyIn(state) => used.iter().map(|file| self.scene.hold(state, file)).collect(),
            Since::DpkgStarts => {
                self.scene.write(LATE, &used.iter().map(|file| format!("{file}\n")).collect::<String>())?;
                Ok(Vec::new())
            }
            Since::ScriptsRun => Ok(Vec::new()),
        }
    }
}

/// Shell commands for a maintainer script: from here on a process uses this file.
pub fn use_in_script(file: &str) -> String {
    // Opened here: a child in the background may come too late for it.
    format!("exec 3<{file}\nsetsid sleep 1000000 <&3 3<&- >/dev/null 2>&1 &\nexec 3<&-\necho \"$! {file}\" >>{USERS}")
}

/// A process that uses something, by the name by which it came to it.
#[derive(Debug, Clone)]
struct User {
    pid: u32,
    file: String,
    inode: u64,
    is_directory: bool,
}

impl User {
    fn new(pid: u32, file: &str, metadata: &Metadata) -> User {
        let is_directory = metadata.is_dir();
        User { pid, file: file.to_owned(), inode: metadata.ino(), is_directory }
    }
}

impl Scene {
    /// A process takes a file into one of the holder's states.
    fn hold(&self, state: &str, file: &str) -> Result<User> {
        // The system itself follows its links: those of another root would lead into ours.
        let real = self.must("realpath", &[file])?;
        let metadata = self.outside(real.trim_end()).metadata()?;
        let hold = format!("exec /tool/holder \"$@\" <>{FOREVER} >/run/holder.$$");
        let pid = self.spawn("sh", &["-c", &hold, "sh", state, file])?;
        let end = Instant::now() + Duration::from_secs(10);
        let said = format!("/run/holder.{pid}");
        while !self.read(&said).is_ok_and(|text| text.ends_with(" ready\n")) {
            ensure!(Instant::now() < end, "{file} did not come into use ({state}): {:?}", self.read(&said));
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(User::new(pid, file, &metadata))
    }

    /// Who came to use something while apt ran.
    fn late_users(&self) -> Result<Vec<User>> {
        let Ok(said) = self.read(USERS) else { return Ok(Vec::new()) };
        self.must("rm", &[USERS])?;
        let user = |line: &str| {
            let (pid, file) = line.split_once(' ').context("not a user")?;
            let metadata = self.outside(&format!("/proc/{pid}/fd/0")).metadata()?;
            Ok(User::new(pid.parse()?, file, &metadata))
        };
        said.lines().map(user).collect()
    }

    fn ended_busy(&self, run: &Run, freed: &[&User]) -> Result<()> {
        let used = self.used_files()?;
        let deleted: BTreeSet<u64> = used.iter().filter(|(_, file)| file.links == 0).map(|(inode, _)| *inode).collect();
        let expected: BTreeSet<u64> = freed.iter().map(|user| user.inode).collect();
        assert_eq!(deleted, expected, "{freed:#?}, {used:#?}");
        if freed.is_empty() {
            assert_eq!((run.code, self.usr()?), (0, ReadOnly));
        } else {
            assert!(run.code != 0 && run.stderr.contains("busy"));
            assert_eq!(self.usr()?, Writable);
        }
        Ok(())
    }

    /// Each file by one alias, which `status` names with its user; each directory, if it can be, by a marker in it.
    fn kept(&self, freed: &[&User], end: Access) -> Result<()> {
        let status = self.status()?;
        let (directories, files): (Vec<&User>, Vec<&User>) = freed.iter().partition(|user| user.is_directory);
        let aliases: BTreeSet<u64> = self.aliases()?.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        let expected: BTreeSet<u64> = files.iter().map(|user| user.inode).collect();
        assert_eq!(aliases, expected, "{files:#?}, {status:#?}");
        let markers = status.held.iter().filter(|held| self.is_marked(held));
        let held: BTreeSet<u64> = status.held.iter().map(|held| held.inode).collect();
        let marked: BTreeSet<u64> = markers.map(|held| held.inode).collect();
        assert_eq!(&held - &marked, expected, "{status:#?}");
        assert_eq!(status.mount("/usr").aliases.directories, marked.len(), "{status:#?}");
        for user in files {
            let held = status.held.iter().find(|held| held.inode == user.inode).context("compared above")?;
            let base = Path::new(&user.file).file_name().context("a path to a file")?;
            assert!(held.names.iter().any(|name| Path::new(name).file_name() == Some(base)), "{user:?}: {held:?}");
            assert!(held.holders.iter().any(|holder| holder.pid == Some(user.pid)), "{user:?}: {held:?}");
        }
        for user in directories {
            assert_eq!(marked.contains(&user.inode), end == ReadOnly, "{user:?}: {status:#?}");
        }
        Ok(())
    }

    fn is_marked(&self, held: &Held) -> bool {
        held.names.iter().any(|name| self.outside(&format!("{name}/.rokeep.{}", held.inode)).exists())
    }

    fn nothing_is_left(&self) -> Result<()> {
        let cleanup = self.run("rokeep", &["cleanup"])?;
        assert_eq!(cleanup.code, 0, "{cleanup:?}");
        assert_eq!(self.aliases()?, Vec::<String>::new(), "{:#?}", self.status()?);
        assert!(!self.has_store());
        assert_eq!(self.usr()?, ReadOnly);
        assert_eq!(self.status()?.problems, Vec::<String>::new());
        Ok(())
    }
}

/// What shall come into use when dpkg starts, and who starts the processes that do that.
const LATE: &str = "/run/late";
const START_LATE_USERS: &str = "/etc/start-late-users";
const LATE_USERS: &str = r#"#!/bin/sh
# In the first dpkg of a run.
[ -e /run/late ] || exit 0
mv /run/late /run/late.taken
while read -r file; do
    # Opened here: a child in the background may come too late for it.
    exec 3<"$file"
    setsid sleep 1000000 <&3 3<&- >/dev/null 2>&1 &
    exec 3<&-
    echo "$! $file" >>/run/late-users
done </run/late.taken
"#;

/// Who uses what since then: process id and name.
const USERS: &str = "/run/late-users";

/// A pipe that never ends.
const FOREVER: &str = "/run/forever";
