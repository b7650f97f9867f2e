//! Which inodes get an alias: one each, with every name that was found to lead to it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::inode::Inode;
use super::paths::ListedPath;

/// A regular file on a managed mount, as gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// The name that dpkg's list gives it.
    pub path: ListedPath,
    /// The mount point of the managed mount that holds it.
    pub mount: PathBuf,
    /// Which inode the name leads to.
    pub inode: Inode,
    /// Bytes on disk that the alias keeps alive once the inode is replaced.
    pub bytes: u64,
}

/// One alias to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAlias {
    /// The inode.
    pub inode: Inode,
    /// Every name known to lead to it; the alias is linked from the first.
    pub names: Vec<ListedPath>,
    /// Bytes on disk.
    pub bytes: u64,
}

/// What is to be done on each mount, by mount point; aliases in the order of their first names.
pub type Plan = BTreeMap<PathBuf, Vec<PlannedAlias>>;

/// One alias an inode.
pub fn plan(files: impl IntoIterator<Item = FoundFile>) -> Plan {
    let mut aliases: HashMap<(PathBuf, Inode), PlannedAlias> = HashMap::new();
    for file in files {
        let alias = aliases.entry((file.mount, file.inode)).or_insert_with(|| PlannedAlias {
            inode: file.inode,
            names: Vec::new(),
            bytes: file.bytes,
        });
        if !alias.names.contains(&file.path) {
            alias.names.push(file.path);
        }
    }
    let mut plan = Plan::new();
    for ((mount, _), alias) in aliases {
        plan.entry(mount).or_default().push(alias);
    }
    for aliases in plan.values_mut() {
        aliases.sort_by(|a, b| a.names.cmp(&b.names));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_with_two_names_gets_one_alias() {
        let file = |path: &str, ino| FoundFile {
            path: ListedPath::parse(path.as_bytes()).unwrap(),
            mount: "/usr".into(),
            inode: Inode { dev: 1, ino },
            bytes: 4096,
        };
        let plan = plan([
            file("/usr/bin/perl", 7),
            file("/usr/bin/awk", 3),
            file("/usr/bin/perl5.36.0", 7),
            file("/usr/bin/perl", 7),
        ]);
        let aliases = &plan[&PathBuf::from("/usr")];
        assert_eq!(aliases.iter().map(|alias| alias.inode.ino).collect::<Vec<_>>(), [3, 7], "in the order of names");
        let names: Vec<_> = aliases[1].names.iter().map(ListedPath::full).collect();
        assert_eq!(names, [PathBuf::from("/usr/bin/perl"), "/usr/bin/perl5.36.0".into()]);
    }
}
