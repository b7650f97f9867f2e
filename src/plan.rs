//! The plan: which inodes will dpkg free?
//!
//! Every regular file that the installed packages list, of those that are upgraded, downgraded, reinstalled or removed.
//! Paths are resolved as the kernel would: `/lib/x` on a merged /usr is `/usr/lib/x`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::core::apt_stream::{Step, Stream, Version};
use crate::core::dpkg_db;
use crate::core::message;
use crate::core::paths::ListedPath;
use crate::core::plan::{FoundFile, Plan};
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;

const DPKG: &str = "/var/lib/dpkg";

/// Plans for everything that apt announced, on these mounts.
///
/// # Errors
/// Where a list or a directory cannot be read, or a package has none although dpkg counts it as installed.
pub fn plan(root: &Root, stream: &Stream, mounts: &[Mounted]) -> Result<Plan> {
    let mut paths = Vec::new();
    for step in dpkg_db::packages_that_lose_files(stream) {
        if let Some(installed) = &step.installed {
            paths.extend(listed(root, step, installed)?);
        }
    }
    paths.sort();
    paths.dedup();
    Ok(crate::core::plan::plan(regular_files(root, &paths, mounts)?))
}

fn listed(root: &Root, step: &Step, installed: &Version) -> Result<Vec<ListedPath>> {
    let names = dpkg_db::list_files(&step.package, &installed.arch, installed.co_installable);
    for name in &names {
        let path = root.path(&format!("{DPKG}/info/{name}"));
        match std::fs::read(&path) {
            Ok(list) => return Ok(dpkg_db::listed_paths(&list).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    let path = root.path(&format!("{DPKG}/status"));
    let status = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if dpkg_db::has_files(&status, &step.package, &installed.arch) == Some(false) {
        return Ok(Vec::new());
    }
    let [list, _] = names;
    let package = &step.package;
    bail!(
        "dpkg has lost the list of {package}'s files ({DPKG}/info/{list}), so they cannot be protected; \
         \"touch {DPKG}/info/{list}\" says that it has none, then \"apt install --reinstall {package}\" writes a new one"
    )
}

/// Those of the paths that are regular files on one of the mounts. Sorted paths open each directory once.
fn regular_files(root: &Root, paths: &[ListedPath], mounts: &[Mounted]) -> Result<Vec<FoundFile>> {
    let mut files = Vec::new();
    for same_dir in paths.chunk_by(|a, b| a.dir == b.dir) {
        let Some(first) = same_dir.first() else { continue };
        let unreadable = |path: &Path| format!("cannot look at {}", message::path(path));
        let Some(dir) = root.open_dir(&first.dir).with_context(|| unreadable(&first.dir))? else { continue };
        let mount_id = dir.stat()?.mount_id;
        let Some(mounted) = mounts.iter().find(|mounted| mounted.mount.id == mount_id) else { continue };
        for path in same_dir {
            let entry = dir.entry(&path.name).with_context(|| unreadable(&path.full()))?;
            if let Some(stat) = entry.filter(|stat| stat.is_file() && stat.mount_id == mount_id) {
                let mount = mounted.mount.point.clone();
                files.push(FoundFile { path: path.clone(), mount, inode: stat.inode, bytes: stat.bytes });
            }
        }
    }
    Ok(files)
}
