//! What this process may do, and whether that is for want of rights or because it is in a container.

use std::fs;

use super::files::Root;
use crate::core::container::{self, Standing};

/// Whether this is a container in which nobody may change the mounts that come from outside. What /proc does not show to us
/// (`hidepid`) is a machine.
pub fn standing(root: &Root) -> Standing {
    let read = |name: &str| fs::read_to_string(root.path(name)).unwrap_or_default();
    container::standing(&read("/proc/1/status"), &read("/proc/self/status"), &read("/proc/self/uid_map"))
}
