//! What `overlay diff` says, and its form for programs.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::layers::Change;
use crate::core::message;

/// The version of the form.
pub const FORMAT: u32 = 1;

/// What is above, as a change of what is below.
#[derive(Debug, Serialize)]
pub struct Diff {
    /// [`FORMAT`].
    pub format: u32,
    /// The mount point.
    #[serde(serialize_with = "crate::core::text::path_as_text::serialize")]
    pub mount: PathBuf,
    /// Each path that has changed, in the order in which they were found: what is in a directory follows it.
    pub changes: Vec<Changed>,
}

/// One path.
#[derive(Debug, Serialize)]
pub struct Changed {
    /// Absolute.
    #[serde(serialize_with = "crate::core::text::path_as_text::serialize")]
    pub path: PathBuf,
    /// What has become of it.
    pub change: Change,
    /// Of a directory that was moved: what it is called below; of what could not be looked at: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The packages that have it in their lists, as `name` or `name:architecture`.
    pub packages: Vec<String>,
    /// Bytes on disk that it takes above.
    pub bytes: u64,
}

impl Diff {
    /// For a person: by package.
    pub fn text(&self) -> String {
        let mount = message::path(&self.mount);
        if self.changes.is_empty() {
            return format!("{mount} is as what is below it\n");
        }
        let mut counts: BTreeMap<Change, usize> = BTreeMap::new();
        let mut by_package: BTreeMap<(bool, &str), Vec<&Changed>> = BTreeMap::new();
        for changed in &self.changes {
            *counts.entry(changed.change).or_default() += 1;
            let package = changed.packages.first().map_or("", String::as_str);
            by_package.entry((package.is_empty(), package)).or_default().push(changed);
        }
        let counts: Vec<String> = counts.iter().map(|(change, count)| format!("{count} {}", change.word())).collect();
        let bytes = |changes: &mut dyn Iterator<Item = &Changed>| message::bytes(changes.map(|one| one.bytes).sum());
        let mut text = format!("{mount}: {}; {}\n", counts.join(", "), bytes(&mut self.changes.iter()));
        for ((_, package), changes) in by_package {
            let package = if package.is_empty() { "in no package".to_owned() } else { message::text(package) };
            let _ = writeln!(text, "{package} ({})", bytes(&mut changes.iter().copied()));
            for changed in changes {
                let _ = write!(text, "  {:<10} {}", changed.change.word(), message::path(&changed.path));
                let also: Vec<String> = changed.packages.iter().skip(1).map(|other| message::text(other)).collect();
                let also = (!also.is_empty()).then(|| format!("also in {}", also.join(", ")));
                let notes: Vec<String> = changed.note.as_deref().map(message::text).into_iter().chain(also).collect();
                text.push_str(&if notes.is_empty() { "\n".to_owned() } else { format!(" ({})\n", notes.join("; ")) });
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str, change: Change, packages: &[&str], bytes: u64) -> Changed {
        let packages = packages.iter().map(|&name| name.to_owned()).collect();
        Changed { path: path.into(), change, note: None, packages, bytes }
    }

    fn diff() -> Diff {
        let changes = vec![
            changed("/opt/app/bin/app", Change::Replaced, &["app"], 4096),
            changed("/opt/app/new", Change::Added, &["app", "app-extra:armhf"], 1024),
            changed("/opt/app/only-in-1", Change::Hidden, &[], 0),
            changed("/opt/b\tc", Change::Added, &[], 512),
        ];
        Diff { format: FORMAT, mount: "/opt".into(), changes }
    }

    #[test]
    fn for_a_person_it_is_by_package() {
        assert_eq!(
            diff().text(),
            "/opt: 2 added, 1 replaced, 1 hidden; 5.5 KiB\n\
             app (5.0 KiB)\n\
             \x20 replaced   /opt/app/bin/app\n\
             \x20 added      /opt/app/new (also in app-extra:armhf)\n\
             in no package (512 bytes)\n\
             \x20 hidden     /opt/app/only-in-1\n\
             \x20 added      /opt/b%09c\n"
        );
        let none = Diff { changes: Vec::new(), ..diff() };
        assert_eq!(none.text(), "/opt is as what is below it\n");
    }

    #[test]
    fn for_programs() {
        let json = serde_json::to_value(diff()).unwrap();
        assert_eq!(json["changes"][0]["change"], "replaced");
        assert_eq!(json["changes"][3]["path"], "/opt/b%09c");
        assert_eq!(json["changes"][1]["packages"][1], "app-extra:armhf");
    }
}
