//! What users are called.

use std::fs;

use super::files::Root;
use crate::core::user;

/// The user's name, see [`user::name`].
pub fn name(root: &Root, number: u32) -> Option<String> {
    let passwd = fs::read(root.path("/etc/passwd")).ok()?;
    user::name(&passwd, number).map(str::to_owned)
}
