//! What apt knows of a release, as far as it has been here: the packages of a [`Base`], and those that were downloaded for it.
//!
//! Of tens of thousands apt reads, counts and writes down each, whenever it runs, for a second or more. Nobody who has no
//! network installs any of the others.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::base::Base;
use crate::support::kept::Kept;

/// The lists. As long as this value lives, nobody replaces them.
pub struct Lists(Kept);

impl Lists {
    /// Those of a root of this name.
    pub fn of(suite: &str, base: &Base) -> Result<Lists> {
        let root = base.root();
        // Another root with the same recipe is of another day.
        let made = fs::metadata(&root)?;
        let recipe = format!("{} {} {}\n{SCRIPT}", made.ino(), made.ctime(), root.display());
        Ok(Lists(Kept::of(&format!("{suite}-lists"), &recipe, |partial| make(&root, partial))?))
    }

    /// Where they are, by the names that apt gives them.
    pub fn directory(&self) -> &Path {
        self.0.directory()
    }
}

fn make(root: &Path, partial: &Path) -> Result<()> {
    let mut shell = Command::new("sh");
    let made = shell.args(["-euc", SCRIPT]).env("BASE", root).current_dir(partial).status().context("sh")?;
    ensure!(made.success(), "it ended with {made}");
    Ok(())
}

/// Runs in the directory that they are made in.
const SCRIPT: &str = r#"
{
    sed -n 's/^Package: //p' "$BASE/var/lib/dpkg/status"
    (cd "$BASE/var/cache/apt/archives" && printf '%s\n' *.deb) | cut -d _ -f 1
} > known
for list in "$BASE"/var/lib/apt/lists/*_Packages; do
    awk 'BEGIN { while ((getline name < "known") > 0) known["Package: " name]; RS = ""; ORS = "\n\n"; FS = "\n" }
        $1 in known' "$list" > "${list##*/}"
    touch -r "$list" "${list##*/}"
done
rm known
"#;
