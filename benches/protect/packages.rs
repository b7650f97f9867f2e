//! What is protected: packages with 250 files each.
//!
//! The shape is that of a Debian's own lists: 250 files a package, 10 a directory, paths of 65 bytes; a few directories
//! that every package has files in, and many small ones of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Result, anyhow, ensure};

/// How many files each of them has.
pub const FILES_EACH: usize = 250;

/// So many archives are built at a time.
const BUILDERS: usize = 4;

/// Of so many languages each package has a catalogue of messages.
const LANGUAGES: [&str; 30] = [
    "ar", "bg", "ca", "cs", "da", "de", "el", "es", "et", "eu", "fi", "fr", "gl", "hu", "id", "it", "ja", "ko", "lt",
    "nb", "nl", "pl", "pt_BR", "ro", "ru", "sk", "sv", "tr", "uk", "zh_CN",
];

/// Directories of a package's own, and how many files are in each: 201 files.
const OWN: [(&str, usize); 19] = [
    ("lib/python3/dist-packages/{}", 13),
    ("lib/python3/dist-packages/{}-2.31.0.dist-info", 6),
    ("lib/python3/dist-packages/{}/_vendor/resolution", 9),
    ("lib/python3/dist-packages/{}/commands", 21),
    ("lib/python3/dist-packages/{}/commands/internal", 8),
    ("lib/python3/dist-packages/{}/models", 30),
    ("lib/python3/dist-packages/{}/tests/fixtures", 17),
    ("lib/x86_64-linux-gnu/{}", 4),
    ("lib/x86_64-linux-gnu/{}/plugins", 6),
    ("share/{}", 3),
    ("share/{}/icons/hicolor/48x48/apps", 5),
    ("share/{}/icons/hicolor/scalable/actions", 28),
    ("share/{}/schemas", 2),
    ("share/{}/templates/default/partials", 14),
    ("share/bash-completion/completions/{}", 1),
    ("share/doc/{}", 4),
    ("share/doc/{}/examples", 7),
    ("share/doc/{}/html/_static", 22),
    ("share/lintian/overrides/{}", 1),
];

/// Directories that every package has files in, and how many: 19 files.
const SHARED: [(&str, &str, usize); 5] = [
    ("bin", "", 2),
    ("share/man/man1", ".1.gz", 3),
    ("share/man/man3", ".3pm.gz", 10),
    ("lib/x86_64-linux-gnu", ".so.0.4.1", 2),
    ("share/pixmaps", ".png", 2),
];

/// An installed package.
pub struct Package {
    /// What dpkg calls it.
    pub name: String,
    /// Its regular files, all below /usr.
    pub files: Vec<PathBuf>,
}

impl Package {
    /// What dpkg's list says: every file, and every directory above one.
    fn list(&self) -> String {
        let above = |file: &PathBuf| file.ancestors().map(Path::to_owned).collect::<Vec<_>>();
        let paths: BTreeSet<PathBuf> = self.files.iter().flat_map(above).collect();
        let mut list = String::new();
        for path in paths {
            let shown = if path == Path::new("/") { Path::new("/.") } else { &path };
            let _ = writeln!(list, "{}", shown.display());
        }
        list
    }

    fn next_md5sums(&self) -> String {
        let new = (0..3).map(|number| PathBuf::from(format!("/usr/share/{}/new-{number}", self.name)));
        let mut sums = String::new();
        for file in self.files.iter().cloned().chain(new) {
            // Digits that no compression finds a pattern in, as in a real one.
            let mut hasher = DefaultHasher::new();
            file.hash(&mut hasher);
            let half = hasher.finish();
            let other_half = half.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let path = file.display().to_string();
            let _ = writeln!(sums, "{half:016x}{other_half:016x}  {}", path.trim_start_matches('/'));
        }
        sums
    }
}

/// So many packages.
pub fn packages(count: usize) -> Vec<Package> {
    (0..count).map(package).collect()
}

fn package(number: usize) -> Package {
    let kinds = ["libsample", "python3-sample", "sample-tools", "sample"];
    let name = format!("{}{number:03}", kinds[number % kinds.len()]);
    let mut files = Vec::new();
    for (dir, count) in OWN {
        let dir = dir.replace("{}", &name);
        files.extend((0..count).map(|file| format!("/usr/{dir}/part-{file:02}-of-the-whole.py")));
    }
    for (dir, suffix, count) in SHARED {
        files.extend((0..count).map(|file| format!("/usr/{dir}/{name}-{file}{suffix}")));
    }
    files.extend(LANGUAGES.map(|language| format!("/usr/share/locale/{language}/LC_MESSAGES/{name}.mo")));
    Package { name, files: files.into_iter().map(PathBuf::from).collect() }
}

/// Writes them into a tree: the files, the lists, dpkg's status.
pub fn install(packages: &[Package], root: &Path) -> Result<()> {
    let mut made = BTreeSet::new();
    let mut status = String::new();
    for package in packages {
        for file in &package.files {
            let inside = root.join(file.strip_prefix("/")?);
            if let Some(dir) = inside.parent().filter(|dir| made.insert(dir.to_path_buf())) {
                fs::create_dir_all(dir)?;
            }
            fs::write(inside, b"the version that is installed\n")?;
        }
        fs::write(root.join(format!("var/lib/dpkg/info/{}.list", package.name)), package.list())?;
        let _ = write!(
            status,
            "Package: {}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\
             Maintainer: Nobody <nobody@example.org>\nDescription: a benchmark\n\n",
            package.name
        );
    }
    Ok(fs::write(root.join("var/lib/dpkg/status"), status)?)
}

/// What apt has fetched: an archive of the next version of each package, as complete as rokeep can see. Nothing is in it,
/// but its md5sums tell of every file there was and of a few new ones.
pub fn fetch(packages: &[Package], archives: &Path, scratch: &Path) -> Result<()> {
    // dpkg-deb waits more than it works.
    let some = packages.chunks(packages.len().div_ceil(BUILDERS).max(1)).enumerate();
    thread::scope(|scope| {
        let builders: Vec<_> = some
            .map(|(number, some)| {
                let scratch = scratch.join(number.to_string());
                scope.spawn(move || some.iter().try_for_each(|package| build(package, archives, &scratch)))
            })
            .collect();
        builders.into_iter().try_for_each(|builder| builder.join().map_err(|_| anyhow!("a builder panicked"))?)
    })?;
    Ok(fs::remove_dir_all(scratch)?)
}

fn build(package: &Package, archives: &Path, scratch: &Path) -> Result<()> {
    let control = scratch.join("DEBIAN");
    fs::create_dir_all(&control)?;
    fs::write(
        control.join("control"),
        format!(
            "Package: {}\nVersion: 2\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\n\
             Installed-Size: 1000\nDescription: a benchmark\n",
            package.name
        ),
    )?;
    fs::write(control.join("md5sums"), package.next_md5sums())?;
    let archive = archives.join(format!("{}_2_amd64.deb", package.name));
    let built = Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zxz", "--build"])
        .args([scratch, &archive])
        .stdout(Stdio::null())
        .status()?;
    ensure!(built.success(), "dpkg-deb {}: {built}", archive.display());
    Ok(())
}
