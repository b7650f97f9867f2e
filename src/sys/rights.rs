//! What this process may do, and whether that is for want of rights or because it is in a container.

use std::fs;

use anyhow::{Context, Result};

use super::files::Root;
use crate::core::container;

/// Whether this is a container in which nobody may change the mounts that come from outside, see [`container::Standing`].
///
/// # Errors
/// Where /proc cannot be read.
pub fn standing(root: &Root) -> Result<container::Standing> {
    let read = |name: &str| {
        let path = root.path(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(container::standing(&read("/proc/1/status")?, &read("/proc/self/status")?, &read("/proc/self/uid_map")?))
}
