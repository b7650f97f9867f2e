//! Small packages, built inside the system they are for.

use anyhow::Result;

use super::Debian;

/// A package that is being put together.
pub struct Package<'a> {
    debian: &'a Debian,
    tree: String,
}

impl Debian {
    /// A package with nothing in it yet.
    pub fn package(&self, name: &str, version: &str) -> Result<Package<'_>> {
        let tree = format!("/var/tmp/{name}_{version}_all");
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A Test <test@example.org>\n\
             Description: package for a test\n"
        );
        self.write(&format!("{tree}/DEBIAN/control"), &control)?;
        Ok(Package { debian: self, tree })
    }
}

impl Package<'_> {
    /// Puts a program in: `/usr/bin/sleep` by another name.
    pub fn program(self, path: &str) -> Result<Self> {
        self.debian.must("install", &["-D", "/usr/bin/sleep", &format!("{}{path}", self.tree)])?;
        Ok(self)
    }

    /// Puts a maintainer script in, by the name that dpkg has for it; `commands` run in a shell that stops at errors.
    pub fn script(self, name: &str, commands: &str) -> Result<Self> {
        self.debian
            .write_script(&format!("{}/DEBIAN/{name}", self.tree), &format!("#!/bin/sh\nset -e\n{commands}\n"))?;
        Ok(self)
    }

    /// Makes the archive; its path inside.
    pub fn build(self) -> Result<String> {
        let archive = format!("{}.deb", self.tree);
        self.debian.must("dpkg-deb", &["--root-owner-group", "--build", &self.tree, &archive])?;
        Ok(archive)
    }
}
