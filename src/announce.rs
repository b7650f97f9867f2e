//! What nobody announces: the description of a package run that apt would have given, from archives and names of packages.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::{DirEntry, WalkDir};

use crate::core::apt_stream::{Action, Name, Step, Stream, Version};
use crate::core::dpkg_command::{Command, Packages, SameVersion};
use crate::core::message;
use crate::plan::lists;
use crate::sys::deb;
use crate::sys::files::Root;

/// The announcement of these archives, and of removing these packages, or replacing them by others.
///
/// # Errors
/// Where an archive cannot be read, or a package is not installed.
pub fn announce(root: &Root, things: &[PathBuf]) -> Result<Stream> {
    let mut stream = Stream::default();
    for thing in things {
        let bytes = thing.as_os_str().as_encoded_bytes();
        match bytes.contains(&b'/') || bytes.ends_with(b".deb") {
            true => stream.steps.extend(of_archive(root, thing)?),
            false => stream.steps.extend(of_package(root, bytes)?),
        }
    }
    Ok(stream)
}

/// What a dpkg is about to do that was called by itself.
#[derive(Debug, Default)]
pub struct Announced {
    /// In the order of its command line.
    pub stream: Stream,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// The announcement of what dpkg was asked to do in this directory.
///
/// Which packages it will remove to make room for others, only dpkg knows. What it cannot do, it says itself: an archive
/// that cannot be read is a note, a package that is not there is none.
///
/// # Errors
/// Where dpkg's status cannot be read.
pub fn of_dpkg(root: &Root, command: &Command, directory: &Path) -> Result<Announced> {
    let mut announced = Announced::default();
    let steps = &mut announced.stream.steps;
    match command {
        Command::Unpack { archives, same_version } => {
            let mut unreadable = Vec::new();
            for archive in archives.iter().flat_map(|given| archives_at(&directory.join(given))) {
                match archive.and_then(|archive| of_archive(root, &archive)) {
                    Ok(of_it) => steps.extend(of_it.into_iter().filter(|step| is_done(step, *same_version))),
                    Err(error) => unreadable.push(format!("{error:#}")),
                }
            }
            if !unreadable.is_empty() {
                let which = message::few(&unreadable, 3);
                announced.notes.push(format!("what they replace is protected only if it is in use: {which}"));
            }
        }
        Command::Remove(Packages::Named(names)) => {
            for name in names {
                steps.extend(removed_by_name(root, name)?);
            }
        }
        Command::Remove(Packages::Selected) => {
            steps.extend(lists::selected_for_removal(root)?.into_iter().map(|(package, old)| removal(&package, old)))
        }
        Command::Pretend | Command::Other => {}
    }
    Ok(announced)
}

/// The file, or every archive below the directory, through symbolic links too: as `dpkg --recursive` finds them. Without
/// that option it takes no directory.
fn archives_at(given: &Path) -> Vec<Result<PathBuf>> {
    if !given.is_dir() {
        return vec![Ok(given.to_owned())];
    }
    let is_archive =
        |entry: &DirEntry| entry.file_type().is_file() && entry.path().extension() == Some(OsStr::new("deb"));
    let found = WalkDir::new(given).follow_links(true).sort_by_file_name().into_iter();
    let wanted = |entry: &walkdir::Result<DirEntry>| entry.as_ref().map_or(true, is_archive);
    found.filter(wanted).map(|entry| Ok(entry?.into_path())).collect()
}

fn is_done(step: &Step, same_version: SameVersion) -> bool {
    let number = |version: &Option<Version>| version.as_ref().map(|version| version.number.clone());
    match same_version {
        SameVersion::Unpacked => true,
        SameVersion::Skipped => number(&step.installed) != number(&step.coming),
    }
}

/// Nothing of one that is not installed, or is so for several architectures and named without one: dpkg refuses those.
fn removed_by_name(root: &Root, name: &[u8]) -> Result<Option<Step>> {
    let Some((package, installed)) = installed_by_name(root, name)? else { return Ok(None) };
    let mut installed = installed.into_iter();
    Ok(match (installed.next(), installed.next()) {
        (Some(only), None) => Some(removal(&package, only)),
        _ => None,
    })
}

fn of_archive(root: &Root, archive: &Path) -> Result<Vec<Step>> {
    let archive = std::path::absolute(archive).with_context(|| format!("cannot find {}", message::path(archive)))?;
    let deb = deb::read(&archive)?;
    let coming = Version { number: deb.version, arch: deb.arch, co_installable: deb.co_installable };
    // Other architectures of it stay beside it if both are made for that, and are replaced by it otherwise.
    let replaced = |old: &Version| old.arch == coming.arch || !(old.co_installable && coming.co_installable);
    let installed = lists::installed(root, &deb.package)?.into_iter().filter(replaced);
    let step = |installed| Step {
        package: deb.package.clone(),
        installed,
        coming: Some(coming.clone()),
        action: Action::Unpack(archive.clone()),
    };
    let mut steps: Vec<Step> = installed.map(Some).map(step).collect();
    if steps.is_empty() {
        steps.push(step(None));
    }
    Ok(steps)
}

fn of_package(root: &Root, name: &[u8]) -> Result<Vec<Step>> {
    let Some((package, installed)) = installed_by_name(root, name)? else {
        bail!("{} is neither a package nor an archive", message::text(&String::from_utf8_lossy(name)));
    };
    if installed.is_empty() {
        bail!("{} is not installed; give its archive instead", String::from_utf8_lossy(name));
    }
    Ok(installed.into_iter().map(|installed| removal(&package, installed)).collect())
}

/// The installed versions that `NAME` or `NAME:ARCH` may mean; `None` where it is neither.
fn installed_by_name(root: &Root, name: &[u8]) -> Result<Option<(Name, Vec<Version>)>> {
    let mut parts = name.split(|b| *b == b':');
    let package = parts.next().and_then(Name::parse);
    let arch = parts.next().map(Name::parse);
    let (Some(package), None, true) = (package, parts.next(), arch != Some(None)) else { return Ok(None) };
    let wanted = |version: &Version| arch.as_ref().is_none_or(|arch| arch.as_ref() == Some(&version.arch));
    let installed = lists::installed(root, &package)?.into_iter().filter(wanted).collect();
    Ok(Some((package, installed)))
}

fn removal(package: &Name, installed: Version) -> Step {
    Step { package: package.clone(), installed: Some(installed), coming: None, action: Action::Remove }
}
