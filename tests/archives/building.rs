//! Trees, archives, and what the real tools say about them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rokeep::core::deb::Deb;

/// Paths, sorted, as a person can read them: different bytes are different text.
pub type Paths = BTreeSet<String>;

/// The compressions that dpkg-deb offers.
pub const COMPRESSIONS: [&str; 4] = ["none", "gzip", "xz", "zstd"];

/// What a package must at least say of itself.
pub const CONTROL: &str = "Package: tool\nVersion: 1:2-3\nArchitecture: amd64\nMulti-Arch: same\nInstalled-Size: 77\n\
                           Maintainer: somebody <s@example.org>\nDescription: a tool\n";

/// A directory of our own, gone with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("a{}.{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("cargo's directory for tests can be written");
        Scratch(dir)
    }

    /// A file in it.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        // What is written over is flushed to the disk at once by ext4; what is new is not.
        let _ = fs::remove_file(&path);
        fs::write(&path, content).expect("it can be written");
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is to become a package: a directory as dpkg-deb wants it.
pub struct Tree {
    scratch: Scratch,
}

impl Tree {
    /// With nothing but its control file.
    pub fn new() -> Tree {
        let tree = Tree { scratch: Scratch::new() };
        tree.control_file("control", CONTROL.as_bytes())
    }

    pub fn control_file(self, name: &str, content: &[u8]) -> Tree {
        let path = self.root().join("DEBIAN").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, content).expect("a file");
        let executable = name.ends_with("inst") || name.ends_with("rm");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(if executable { 0o755 } else { 0o644 });
        fs::set_permissions(&path, mode).expect("its mode");
        self
    }

    pub fn file(self, path: impl AsRef<[u8]>) -> Tree {
        let content = [path.as_ref(), b" in version 2\n"].concat();
        fs::write(self.place(path.as_ref()), content).expect("a file");
        self
    }

    pub fn hard_link(self, original: &str, path: &str) -> Tree {
        fs::hard_link(self.root().join(&original[1..]), self.place(path.as_bytes())).expect("a link");
        self
    }

    pub fn symlink(self, target: &str, path: &str) -> Tree {
        std::os::unix::fs::symlink(target, self.place(path.as_bytes())).expect("a symlink");
        self
    }

    /// `md5sums` as the program of that name writes it, of all files but conffiles.
    pub fn checksums(self) -> Tree {
        self.checksums_through("cat")
    }

    /// The same as debhelper leaves them (dh_md5sums).
    pub fn checksums_as_debhelper_writes_them(self) -> Tree {
        self.checksums_through(r"sed -e '/^\\/{s/^.//;s/\\\\/\\/g}'")
    }

    fn checksums_through(self, filter: &str) -> Tree {
        let script =
            format!("find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -print0 | xargs -0 md5sum | {filter}");
        let sums = output(Command::new("sh").current_dir(self.root()).args(["-c", &script]));
        self.control_file("md5sums", &sums)
    }

    /// The archive, built by dpkg-deb.
    pub fn build(&self, compression: &str) -> PathBuf {
        self.build_with(&[&format!("-Z{compression}")])
    }

    /// The same with options of dpkg-deb.
    pub fn build_with(&self, options: &[&str]) -> PathBuf {
        let archive = self.scratch.path(&format!("{}.deb", options.concat()));
        let mut build = Command::new("dpkg-deb");
        build.arg("--root-owner-group").args(options).arg("--build").arg(self.root()).arg(&archive);
        output(&mut build);
        archive
    }

    /// All that tar finds in the archive's data that is no directory.
    pub fn brought(&self, archive: &Path) -> Paths {
        let script = "dpkg-deb --fsys-tarfile \"$1\" | tar --list --quoting-style=literal --no-wildcards";
        let listing = output(Command::new("sh").args(["-c", script, "sh"]).arg(archive));
        let names = listing.split(|b| *b == b'\n').filter(|name| !name.is_empty() && !name.ends_with(b"/"));
        names.map(|name| shown(name.strip_prefix(b".").expect("dpkg-deb starts each name with ./"))).collect()
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn root(&self) -> PathBuf {
        self.scratch.path("t")
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        let path = self.root().join(OsStr::from_bytes(path.strip_prefix(b"/").expect("an absolute path")));
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        path
    }
}

/// What rokeep found, in the form of what tar says.
pub fn paths(deb: &Deb) -> Paths {
    let paths = Paths::from_iter(deb.paths.iter().map(|path| shown(path.full().as_os_str().as_bytes())));
    assert_eq!(paths.len(), deb.paths.len(), "each once");
    paths
}

/// See [`Paths`].
pub fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

/// What a program writes; it must succeed.
pub fn output(command: &mut Command) -> Vec<u8> {
    let ran = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

/// What a program makes of its input.
pub fn filtered(program: &[&str], input: &[u8], scratch: &Scratch) -> Vec<u8> {
    let input = scratch.file("input", input);
    let command = format!("{} < \"$1\"", program.join(" "));
    output(Command::new("sh").args(["-c", &command, "sh"]).arg(input))
}
