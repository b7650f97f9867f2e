//! Package archives that apt is about to hand to dpkg.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Small;

/// Where what is in an archive is before.
const TREE: &str = "/tmp/tree";

impl Small {
    /// apt has fetched this version of a package, with these maintainer scripts and files. It is where [`super::stream`]
    /// says that it is.
    pub fn archive(&self, name: &str, version: &str, scripts: &[(&str, &str)], files: &[&str]) {
        self.archive_saying(name, version, "", scripts, files);
    }

    /// The same, with symbolic links, and directories, whose names end with a slash.
    pub fn archive_with_links(
        &self,
        name: &str,
        version: &str,
        scripts: &[(&str, &str)],
        files: &[&str],
        others: &[&str],
    ) {
        for other in others {
            match other.strip_suffix('/') {
                Some(directory) => self.makes_directory(format!("{TREE}{directory}")),
                None => {
                    let link = Path::new(TREE).join(other.trim_start_matches('/'));
                    self.makes_directory(link.with_file_name(""));
                    self.points(link, "nowhere");
                }
            }
        }
        self.archive_saying(name, version, "", scripts, files);
    }

    /// The same, without files, for a package that says of itself that it takes this much.
    pub fn archive_of_size(&self, name: &str, version: &str, kibibytes: u32) {
        self.archive_saying(name, version, &format!("Installed-Size: {kibibytes}\n"), &[], &[]);
    }

    fn archive_saying(&self, name: &str, version: &str, says: &str, scripts: &[(&str, &str)], files: &[&str]) {
        let (tree, archive) = (TREE, format!("/var/cache/apt/archives/{name}_{version}_amd64.deb"));
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Nobody <nobody@example.org>\n\
             {says}Description: a test\n"
        );
        self.write(format!("{tree}/DEBIAN/control"), control.as_bytes());
        for (script, text) in scripts {
            self.write(format!("{tree}/DEBIAN/{script}"), text.as_bytes());
        }
        for file in files {
            self.write(format!("{tree}{file}"), format!("{name} {version}\n").as_bytes());
        }
        fs::create_dir_all(self.outside(Path::new(&archive).with_file_name(""))).expect("a directory for it");
        let mut dpkg_deb = Command::new("dpkg-deb");
        dpkg_deb.args(["--root-owner-group", "--build"]).arg(self.outside(tree)).arg(self.outside(archive));
        let built = dpkg_deb.output().expect("dpkg-deb");
        self.check(built.status.success(), &String::from_utf8_lossy(&built.stderr));
        fs::remove_dir_all(self.outside(tree)).expect("its tree is needed no more");
    }
}
