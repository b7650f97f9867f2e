//! Small packages, built inside the system they are for.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use super::Debian;

/// A package that is being put together. It is `Architecture: all`, compressed with xz, and has md5sums, unless told
/// otherwise.
pub struct Package<'a> {
    debian: &'a Debian,
    name: String,
    version: String,
    architecture: String,
    fields: String,
    conffiles: String,
    triggers: String,
    compression: &'static str,
    sums: Sums,
    tree: String,
}

enum Sums {
    Md5,
    None,
}

impl Debian {
    /// A package with nothing in it yet.
    pub fn package(&self, name: &str, version: &str) -> Result<Package<'_>> {
        let tree = self.must("mktemp", &["--directory", "/var/tmp/package.XXXXXX"])?.trim().to_owned();
        self.must("mkdir", &["--mode=755", &format!("{tree}/root"), &format!("{tree}/root/DEBIAN")])?;
        Ok(Package {
            debian: self,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "all".to_owned(),
            fields: String::new(),
            conffiles: String::new(),
            triggers: String::new(),
            compression: "xz",
            sums: Sums::Md5,
            tree,
        })
    }
}

impl Package<'_> {
    /// For this architecture only.
    pub fn architecture(mut self, name: &str) -> Self {
        self.architecture = name.to_owned();
        self
    }

    /// A field of its control file, like `Replaces`.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.fields, "{name}: {value}");
        self
    }

    /// The compression of its members, by dpkg-deb's name for it: `xz`, `zstd`, `gzip` or `none`.
    pub fn compressed(mut self, with: &'static str) -> Self {
        self.compression = with;
        self
    }

    /// Without the list of its files that debhelper gives every package, and dpkg-deb none.
    pub fn without_md5sums(mut self) -> Self {
        self.sums = Sums::None;
        self
    }

    /// Puts a program in: `/usr/bin/sleep` by another name.
    pub fn program(self, path: &str) -> Result<Self> {
        self.debian.must("install", &["-D", "/usr/bin/sleep", &self.at(path)])?;
        Ok(self)
    }

    /// Puts a file in that says which version of which package it is of.
    pub fn file(self, path: &str) -> Result<Self> {
        let text = format!("{path} of {} {}\n", self.name, self.version);
        self.text(path, &text)
    }

    /// Puts a file in that is the same in every package.
    pub fn text(self, path: &str, text: &str) -> Result<Self> {
        self.debian.write(&self.at(path), text)?;
        Ok(self)
    }

    /// Puts a file in whose name need not be text.
    pub fn file_by_bytes(self, path: &[u8]) -> Result<Self> {
        let text = format!("{} of {} {}\n", path.escape_ascii(), self.name, self.version);
        let path = [self.at("").as_bytes(), path].concat();
        let outside = self.debian.outside("").join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(&path)));
        fs::create_dir_all(outside.parent().context("a file has a directory")?)?;
        fs::write(&outside, text).with_context(|| format!("cannot write {}", outside.display()))?;
        Ok(self)
    }

    /// Changes the mode of what is in it already.
    pub fn mode(self, path: &str, mode: u32) -> Result<Self> {
        let outside = self.debian.outside(&self.at(path));
        fs::set_permissions(&outside, fs::Permissions::from_mode(mode))?;
        Ok(self)
    }

    /// Puts a file in that dpkg replaces only if the administrator has not changed it.
    pub fn conffile(mut self, path: &str) -> Result<Self> {
        let _ = writeln!(self.conffiles, "{path}");
        self.file(path)
    }

    /// Puts a symbolic link in.
    pub fn symlink(self, path: &str, target: &str) -> Result<Self> {
        self.in_place(path, &["ln", "-s", target])
    }

    /// Puts another name in for a file that is in it already.
    pub fn hard_link(self, path: &str, of: &str) -> Result<Self> {
        let of = self.at(of);
        self.in_place(path, &["ln", &of])
    }

    /// Puts an empty directory in.
    pub fn directory(self, path: &str) -> Result<Self> {
        self.debian.must("mkdir", &["--parents", &self.at(path)])?;
        Ok(self)
    }

    /// Has its postinst called, as `postinst triggered`, when any package changes something below this path.
    pub fn interested_in(mut self, path: &str) -> Self {
        let _ = writeln!(self.triggers, "interest-noawait {path}");
        self
    }

    /// Puts a maintainer script in, by the name that dpkg has for it; `commands` run in a shell that stops at errors.
    pub fn script(self, name: &str, commands: &str) -> Result<Self> {
        self.debian.write_script(&self.at(&format!("/DEBIAN/{name}")), &format!("#!/bin/sh\nset -e\n{commands}\n"))?;
        Ok(self)
    }

    /// Makes the archive; its path inside.
    pub fn build(self) -> Result<String> {
        let Package { debian, name, version, architecture, fields, compression, tree, .. } = &self;
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n{fields}\
             Maintainer: A Test <test@example.org>\nDescription: package for a test\n"
        );
        debian.write(&self.at("/DEBIAN/control"), &control)?;
        for (file, text) in [("conffiles", &self.conffiles), ("triggers", &self.triggers)] {
            if !text.is_empty() {
                debian.write(&self.at(&format!("/DEBIAN/{file}")), text)?;
            }
        }
        if let Sums::Md5 = self.sums {
            self.write_md5sums()?;
        }
        let (root, archive) = (self.at(""), format!("{tree}/{name}_{version}_{architecture}.deb"));
        let compression = format!("-Z{compression}");
        debian.must("dpkg-deb", &["--root-owner-group", &compression, "--build", &root, &archive])?;
        Ok(archive)
    }

    /// As dh_md5sums does: of every regular file but conffiles, without the leading slash.
    fn write_md5sums(&self) -> Result<()> {
        let script = r#"
            cd "$1"
            if [ -e DEBIAN/conffiles ]; then sed s,^/,, DEBIAN/conffiles; fi > ../conffiles
            find . -path ./DEBIAN -prune -o -type f -printf "%P\n" | sort |
                grep --invert-match --line-regexp --fixed-strings --file=../conffiles |
                xargs --delimiter="\n" --no-run-if-empty md5sum > DEBIAN/md5sums
        "#;
        self.debian.must("sh", &["-euc", script, "sh", &self.at("")])?;
        Ok(())
    }

    /// Runs a command with a path in the tree as its last argument.
    fn in_place(self, path: &str, command: &[&str]) -> Result<Self> {
        self.debian.must("sh", &[&["-euc", MAKE_ROOM, "sh", &self.at(path)], command].concat())?;
        Ok(self)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/root{path}", self.tree)
    }
}

const MAKE_ROOM: &str = r#"path=$1; shift; mkdir -p "$(dirname "$path")"; "$@" "$path""#;
