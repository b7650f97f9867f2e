//! Whether what is below an overlay is what it was: by what can be noticed of it without reading all of it.
//!
//! The kernel leaves undefined what is seen if it changes while the overlay is mounted. What is above goes on hiding what it
//! replaced, be that newer by now, whenever it changed.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layers::{Above, Below, Layered};

/// The version of the form.
pub const FORMAT: u32 = 1;

/// What was seen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// [`FORMAT`].
    pub format: u32,
    /// Of which start of the machine (random(4), `boot_id`); where that is not known it may be this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Of what no server shares: how large the file system is, in blocks and inodes (statvfs(3)).
    pub size: Option<[u64; 2]>,
    /// Its topmost directory, each directory in which what is above is seen too, and each file that is hidden by what is
    /// above; from the mount point.
    pub looks: Vec<Looked>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looked {
    /// From the mount point.
    #[serde(with = "crate::core::text::path_as_text")]
    pub path: PathBuf,
    /// How it looked.
    pub look: Look,
}

/// How one of them looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// When what is in it was changed: seconds and nanoseconds since 1970 (`st_mtime`).
    pub modified: [i64; 2],
    /// When anything of it was changed (`st_ctime`).
    pub changed: [i64; 2],
    /// Its length.
    pub length: u64,
}

/// What is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// From the mount point; the empty path is the topmost directory.
    pub paths: Vec<PathBuf>,
    /// Since when.
    pub when: When,
}

/// When that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the overlay was laid that is there now: it lies over what is there.
    BeforeItWasLaid,
    /// Perhaps after that.
    PerhapsSince,
}

/// A start of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// random(4), `boot_id`.
    pub boot: String,
    /// When that was: seconds and nanoseconds since 1970.
    pub at: [i64; 2],
}

impl Seen {
    /// When it changed, by how all of it looks now. An overlay that the machine has laid since this was seen lies over
    /// what was there at its start; and what was changed later says so, as far as the clocks agree.
    pub fn when_changed(&self, start: &Start, now: &[Looked]) -> When {
        let is_of_another_start = self.boot.as_ref().is_some_and(|boot| *boot != start.boot);
        let is_older = |looked: &Looked| looked.look.modified.max(looked.look.changed) < start.at;
        match is_of_another_start && now.iter().all(is_older) {
            true => When::BeforeItWasLaid,
            false => When::PerhapsSince,
        }
    }

    /// What is not as it was, by those that were seen then. The empty path is the topmost directory; or, where the file
    /// system has another size, all of it.
    pub fn differences(&self, size: Option<[u64; 2]>, mut now: impl FnMut(&Path) -> Option<Look>) -> Vec<PathBuf> {
        if self.size.zip(size).is_some_and(|(then, now)| then != now) {
            return vec![PathBuf::new()];
        }
        let differs = |looked: &&Looked| now(&looked.path) != Some(looked.look);
        self.looks.iter().filter(differs).map(|looked| looked.path.clone()).collect()
    }
}

/// Whether it is worth a look what there is below of something that is above.
pub fn is_worth_a_look(layered: &Layered) -> bool {
    match (&layered.above, &layered.below) {
        (_, Below::Nothing | Below::Unknown(_)) => false,
        (Above::Whiteout | Above::File { .. } | Above::Directory { .. }, Below::File | Below::Directory(_)) => true,
    }
}

/// Reads what was written down; `None` for what another version wrote, or nobody did.
pub fn parse(text: &[u8]) -> Option<Seen> {
    serde_json::from_slice(text).ok().filter(|seen: &Seen| seen.format == FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { modified: [1, 2], changed: [3, 4], length: 5 };

    fn seen() -> Seen {
        let looks = ["", "app", "app/x"].map(|path| Looked { path: path.into(), look: LOOK });
        Seen { format: FORMAT, boot: Some("then".to_owned()), size: Some([10, 20]), looks: looks.into() }
    }

    #[test]
    fn what_is_as_it_was_is_no_difference() {
        let text = serde_json::to_vec(&seen()).unwrap();
        let read = parse(&text).unwrap();
        assert_eq!(read, seen());
        assert!(read.differences(Some([10, 20]), |_| Some(LOOK)).is_empty());
        assert_eq!(parse(b"{\"format\":2}"), None);
        let before = parse(b"{\"format\":1,\"size\":null,\"looks\":[]}").unwrap();
        assert_eq!(before.boot, None, "as it was written at first");
    }

    #[test]
    fn what_changed_while_it_was_mounted_is_told_from_what_is_below_since_the_start() {
        let start = |boot: &str| Start { boot: boot.to_owned(), at: [100, 5] };
        let looked = |modified, changed| Looked { path: "x".into(), look: Look { modified, changed, length: 1 } };
        let (old, older) = (looked([100, 4], [100, 4]), looked([1, 0], [2, 0]));
        let now = [old.clone(), older.clone()];
        assert_eq!(seen().when_changed(&start("now"), &now), When::BeforeItWasLaid);
        assert_eq!(seen().when_changed(&start("then"), &now), When::PerhapsSince, "it may be the same overlay");
        let unknown = Seen { boot: None, ..seen() };
        assert_eq!(unknown.when_changed(&start("now"), &now), When::PerhapsSince);
        for newer in [looked([100, 5], [1, 0]), looked([1, 0], [100, 5])] {
            let now = [old.clone(), newer, older.clone()];
            assert_eq!(seen().when_changed(&start("now"), &now), When::PerhapsSince);
        }
    }

    #[test]
    fn what_is_not_is_named() {
        let newer = |path: &Path| match path.to_str() {
            Some("app") => Some(Look { changed: [9, 0], ..LOOK }),
            Some("app/x") => None,
            _ => Some(LOOK),
        };
        assert_eq!(seen().differences(Some([10, 20]), newer), [PathBuf::from("app"), "app/x".into()]);
        assert_eq!(seen().differences(Some([11, 20]), |_| Some(LOOK)), [PathBuf::new()]);
        assert!(seen().differences(None, |_| Some(LOOK)).is_empty(), "that cannot be told now");
    }
}
