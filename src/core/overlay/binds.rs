//! Which directories of what is above can be mounted one by one over what is below, in place of an overlay.
//!
//! One can be if nothing that is below is seen in it, or that is copied first, and there is a directory of its name below to
//! mount it over. What is above and in none of these would be seen no more.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::is_plain;
use super::layers::{Above, Below, Change, Layered};
use crate::core::message;

/// What is in the way: something that is above, and in no directory that can be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// From the mount point.
    pub path: PathBuf,
    /// Of which kind.
    pub kind: Kind,
}

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory that there is not below, so that there is nothing to mount it over.
    NotBelow,
    /// A directory that systemd cannot be told of.
    Odd,
    /// A change in a directory of which something below is seen, too.
    Single(Change),
}

/// The directories that are mounted, from the mount point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directories {
    /// All of them.
    pub bound: Vec<PathBuf>,
    /// Those of them that do not live wholly above before what is seen in them is copied.
    pub copied: Vec<PathBuf>,
}

/// Each the topmost that can be. Whether anything is seen in one that is below is asked. Of the `copied`, which are directories
/// below, what is seen can be copied; none is in another.
///
/// # Errors
/// What is in the way, each once: all of it.
pub fn directories(
    layered: &[Layered],
    copied: &[PathBuf],
    shows_below: impl Fn(&Layered) -> bool,
) -> Result<Directories, Vec<Obstacle>> {
    let (mut found, mut obstacles) = (Directories::default(), Vec::new());
    let mut rest = layered;
    while let Some((first, after)) = rest.split_first() {
        let inside = after.iter().take_while(|other| other.path.starts_with(&first.path)).count();
        let (within, next) = after.split_at_checked(inside).unwrap_or((after, &[]));
        let is_whole = whole(first, within, &shows_below);
        rest = match is_whole || can_be_copied(first, copied) {
            false => {
                let kind = first.change().map(Kind::Single);
                obstacles.extend(kind.map(|kind| Obstacle { path: first.path.clone(), kind }));
                after
            }
            true if !can_be_mounted(&first.path) => {
                obstacles.push(Obstacle { path: first.path.clone(), kind: Kind::Odd });
                next
            }
            true if matches!(first.below, Below::Directory(_)) => {
                found.bound.push(first.path.clone());
                found.copied.extend((!is_whole).then(|| first.path.clone()));
                next
            }
            true => {
                obstacles.push(Obstacle { path: first.path.clone(), kind: Kind::NotBelow });
                next
            }
        };
    }
    // Nothing is above of these yet.
    let is_in_one = |path: &&PathBuf| found.bound.iter().any(|directory| path.starts_with(directory));
    let new: Vec<PathBuf> = copied.iter().filter(|path| !is_in_one(path)).cloned().collect();
    found.bound = in_order(found.bound.into_iter().chain(new.iter().cloned()));
    found.copied.extend(new);
    if obstacles.is_empty() { Ok(found) } else { Err(obstacles) }
}

/// In which they are mounted: what programs need before these.
pub fn in_order(directories: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = directories.collect();
    directories.sort_by_cached_key(|path| (!has_libraries(path), path.clone()));
    directories
}

/// Those that ld.so(8) looks into, or something in one.
pub fn has_libraries(path: &Path) -> bool {
    path.iter().next().is_some_and(|top| ["lib", "lib32", "lib64", "libx32"].iter().any(|name| top == *name))
}

/// A copy is told from what it takes the place of by saying that nothing below is seen in it.
fn can_be_copied(directory: &Layered, copied: &[PathBuf]) -> bool {
    copied.contains(&directory.path) && matches!(directory.above, Above::Directory { is_opaque: false, .. })
}

/// Whether systemd can be told of it.
pub fn can_be_mounted(path: &Path) -> bool {
    is_plain(path, b"")
}

/// Whether what is seen in a directory, and in those in it, is above alone.
fn whole(directory: &Layered, within: &[Layered], shows_below: &impl Fn(&Layered) -> bool) -> bool {
    let is_whole = |layered: &Layered| match layered.above {
        Above::Directory { was: Some(_), .. } => false,
        Above::Directory { is_opaque, was: None, .. } => is_opaque || !shows_below(layered),
        Above::File { .. } | Above::Whiteout => true,
    };
    matches!(directory.above, Above::Directory { .. }) && is_whole(directory) && within.iter().all(is_whole)
}

/// What to do about what is in the way, each in a line.
pub fn text(mount: &Path, obstacles: &[Obstacle]) -> String {
    let shown = message::path(mount);
    let line = |Obstacle { path, kind }: &Obstacle| {
        let path = message::path(&mount.join(path));
        let why = match kind {
            Kind::NotBelow => "is not below; make an empty directory of that name there, or remove this one".to_owned(),
            Kind::Odd => "has a character in its name that means something else to systemd".to_owned(),
            Kind::Single(Change::Hidden) => "is below, and would be seen again".to_owned(),
            Kind::Single(Change::Moved) => "is below by another name".to_owned(),
            Kind::Single(Change::Attributes) => "has another owner or other permissions than below".to_owned(),
            Kind::Single(change) => format!("{}, in a directory that has more from below", change.word()),
        };
        format!("{path}  {why}\n")
    };
    let lines: String = obstacles.iter().map(line).collect();
    let copied: Vec<String> = resolved_by_copies(obstacles).iter().map(|path| message::path(path)).collect();
    let copying = match copied.is_empty() {
        true => String::new(),
        false => format!(
            "\"rokeep overlay bind {shown} --copy {}\" copies above what else is seen there\n",
            copied.join(" ")
        ),
    };
    format!(
        "{shown} cannot do without its overlay, as this would be lost:\n{lines}{copying}\
         \"rokeep overlay reset {shown} NAME… --discard\" has a name be again as it is below; nothing was changed\n"
    )
}

/// The topmost directories in which something is in the way that a copy of what is seen there resolves.
fn resolved_by_copies(obstacles: &[Obstacle]) -> BTreeSet<&Path> {
    let is_inside = |obstacle: &Obstacle, top: &Path| obstacle.path != top && matches!(obstacle.kind, Kind::Single(_));
    let is_in_it = |obstacle: &Obstacle, top: &Path| is_inside(obstacle, top) || obstacle.kind == ATTRIBUTES;
    let stays = |top: &&Path| !obstacles.iter().any(|other| other.path == *top && other.kind != ATTRIBUTES);
    let tops = obstacles.iter().filter_map(|obstacle| {
        let top = obstacle.path.iter().next().map(Path::new);
        top.filter(|top| is_in_it(obstacle, top))
    });
    tops.filter(stays).filter(|top| can_be_mounted(top)).collect()
}

/// Of a directory.
const ATTRIBUTES: Kind = Kind::Single(Change::Attributes);

#[cfg(test)]
mod tests {
    use super::super::layers::Attributes;
    use super::*;

    const ROOTS: Attributes = Attributes { mode: 0o755, user: 0, group: 0 };

    fn directory(path: &str, is_opaque: bool, shows_below: bool, below: Below) -> Layered {
        let above = Above::Directory { attributes: ROOTS, is_opaque, was: None };
        Layered { path: path.into(), above, below, shown: shows_below.then(|| path.into()) }
    }

    fn file(path: &str) -> Layered {
        Layered { path: path.into(), above: Above::File { bytes: 1 }, below: Below::Nothing, shown: None }
    }

    fn whiteout(path: &str) -> Layered {
        Layered { above: Above::Whiteout, below: Below::File, ..file(path) }
    }

    fn below() -> Below {
        Below::Directory(ROOTS)
    }

    /// All that is below a directory is seen in it.
    fn found_with(layered: &[Layered], copied: &[&str]) -> Result<Directories, Vec<Obstacle>> {
        let copied: Vec<PathBuf> = copied.iter().map(PathBuf::from).collect();
        directories(layered, &copied, |layered| layered.shown.is_some())
    }

    fn found(layered: &[Layered]) -> Result<Vec<PathBuf>, Vec<Obstacle>> {
        found_with(layered, &[]).map(|found| found.bound)
    }

    #[test]
    fn one_of_which_all_that_is_seen_is_copied() {
        let layered = [
            directory("lib", false, true, below()),
            directory("lib/x", false, true, below()),
            file("lib/x/new"),
            whiteout("old"),
        ];
        let obstacles = found_with(&layered[..3], &[]).unwrap_err();
        let said = text(Path::new("/usr"), &obstacles);
        assert!(
            said.contains("\n\"rokeep overlay bind /usr --copy lib\" copies above what else is seen there"),
            "{said}"
        );
        let lib = Directories { bound: vec!["lib".into()], copied: vec!["lib".into()] };
        assert_eq!(found_with(&layered[..3], &["lib"]), Ok(lib));
        let deeper = Directories { bound: vec!["lib/x".into()], copied: vec!["lib/x".into()] };
        assert_eq!(found_with(&layered[..3], &["lib/x"]), Ok(deeper));
        // Nothing is above of it yet.
        let both = Directories { bound: vec!["lib".into(), "bin".into()], copied: vec!["lib".into(), "bin".into()] };
        assert_eq!(found_with(&layered[..3], &["bin", "lib"]), Ok(both), "libraries come first");
        let obstacles = found_with(&layered, &["lib"]).unwrap_err();
        assert_eq!(obstacles, [Obstacle { path: "old".into(), kind: Kind::Single(Change::Hidden) }]);
        assert!(!text(Path::new("/usr"), &obstacles).contains("--copy"));
    }

    #[test]
    fn what_lives_wholly_above_is_not_copied() {
        let layered = [directory("app", true, false, below()), directory("app/x", true, false, Below::Nothing)];
        for copied in ["app", "app/x"] {
            let app = Directories { bound: vec!["app".into()], copied: Vec::new() };
            assert_eq!(found_with(&layered, &[copied]), Ok(app), "{copied}");
        }
    }

    #[test]
    fn what_a_copy_helps_is_said() {
        let attributes = Attributes { mode: 0o700, ..ROOTS };
        let alone = directory("closed", false, true, Below::Directory(attributes));
        let covered = [directory("a", true, false, below()), directory("a/b", false, true, below()), file("a/b/c")];
        for (layered, says) in [(&[alone][..], Some("--copy closed\"")), (&covered, None), (&[file("x")], None)] {
            let said = text(Path::new("/opt"), &found_with(layered, &["a"]).unwrap_err());
            assert_eq!(said.contains("--copy"), says.is_some(), "{said}");
            assert!(says.is_none_or(|says| said.contains(says)), "{said}");
        }
    }

    #[test]
    fn one_of_which_nothing_below_is_seen() {
        let in_it = |is_opaque, shows| [directory("app", is_opaque, shows, below()), file("app/x"), whiteout("app/y")];
        assert_eq!(found(&in_it(true, false)), Ok(vec!["app".into()]));
        assert_eq!(found(&in_it(false, false)), Ok(vec!["app".into()]));
        let obstacles = found(&in_it(false, true)).unwrap_err();
        let paths: Vec<_> = obstacles.iter().map(|obstacle| obstacle.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["app/x", "app/y"]);
    }

    #[test]
    fn the_topmost_that_can_be() {
        let shared = directory("share", false, true, below());
        let all =
            [shared, directory("share/a", true, false, below()), directory("share/a/b", false, false, Below::Nothing)];
        assert_eq!(found(&all), Ok(vec!["share/a".into()]));
        let deep = [directory("a", true, false, below()), directory("a/b", false, true, below()), file("a/b/c")];
        assert_eq!(found(&deep).unwrap_err().len(), 2, "the directory itself, and the file");
    }

    #[test]
    fn what_is_not_below_can_be_mounted_over_nothing() {
        let all = [directory("new", true, false, Below::Nothing), file("new/x"), file("newer")];
        let obstacles = found(&all).unwrap_err();
        let expected = [("new", Kind::NotBelow), ("newer", Kind::Single(Change::Added))];
        assert_eq!(obstacles, expected.map(|(path, kind)| Obstacle { path: path.into(), kind }));
        let text = text(Path::new("/opt"), &obstacles);
        assert!(text.contains("/opt/new  is not below; make an empty directory"), "{text}");
        assert!(text.ends_with("nothing was changed\n"), "{text}");
    }

    #[test]
    fn what_systemd_would_read_otherwise_is_in_the_way() {
        let obstacles = found(&[directory("my app", true, false, below())]).unwrap_err();
        assert_eq!(obstacles, [Obstacle { path: "my app".into(), kind: Kind::Odd }]);
    }

    #[test]
    fn a_directory_that_was_moved_shows_what_is_below() {
        let above = Above::Directory { attributes: ROOTS, is_opaque: false, was: Some("old".into()) };
        let moved = Layered { path: "new".into(), above, below: Below::Nothing, shown: Some("old".into()) };
        assert_eq!(found(&[moved]).unwrap_err()[0].kind, Kind::Single(Change::Moved));
    }
}
