//! What takes the network and most of a minute to make, made once and kept in `target/worlds/`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fs2::FileExt;

/// After this long there is something newer.
const FRESH: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A finished directory, which nobody writes to any more. As long as this value lives, nobody replaces it.
pub struct Kept {
    directory: PathBuf,
    _in_use: File,
}

impl Kept {
    /// The directory of this name. Has it made first if there is none, if it would be made another way today – `recipe` says
    /// how – or if it is older than a week; waits if someone else is making it. `make` is given an empty directory.
    pub fn of(name: &str, recipe: &str, make: impl Fn(&Path) -> Result<()>) -> Result<Kept> {
        let worlds = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/worlds");
        fs::create_dir_all(&worlds)?;
        let directory = worlds.join(name);
        let lock = File::create(worlds.join(format!("{name}.lock")))?;
        loop {
            FileExt::lock_shared(&lock)?;
            if is_made(&directory, recipe) {
                return Ok(Kept { directory, _in_use: lock });
            }
            FileExt::unlock(&lock)?;
            FileExt::lock_exclusive(&lock)?;
            if !is_made(&directory, recipe) {
                make_whole(&directory, recipe, &make)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
            }
            FileExt::unlock(&lock)?;
        }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Whether it was made this way, not long ago.
fn is_made(directory: &Path, recipe: &str) -> bool {
    let written = directory.join("recipe");
    let age = fs::metadata(&written).and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age < FRESH) && fs::read_to_string(&written).is_ok_and(|found| found == recipe)
}

fn make_whole(directory: &Path, recipe: &str, make: &impl Fn(&Path) -> Result<()>) -> Result<()> {
    let partial = directory.with_extension("partial");
    remove(&partial)?;
    fs::create_dir(&partial)?;
    if let Err(why) = make(&partial) {
        remove(&partial)?;
        return Err(why);
    }
    // Last: what has a recipe is whole.
    fs::write(partial.join("recipe"), recipe)?;
    remove(directory)?;
    fs::rename(&partial, directory)?;
    Ok(())
}

/// Removes a directory, if there is one.
pub fn remove(directory: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// The end of a text file, for a person.
pub fn last_lines(file: &Path, count: usize) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
