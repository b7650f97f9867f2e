//! What users are called.

use std::fs;

use nix::unistd::geteuid;

use super::files::Root;
use crate::core::user;

/// The user's name, see [`user::name`].
pub fn name(root: &Root, number: u32) -> Option<String> {
    let passwd = fs::read(root.path("/etc/passwd")).ok()?;
    user::name(&passwd, number).map(str::to_owned)
}

/// Who called this program, as a person knows it: the user who logged in, whatever he became since (pam_loginuid(8)), or
/// else the one whose rights it has.
pub fn caller(root: &Root) -> String {
    let login = fs::read_to_string(root.path("/proc/self/loginuid")).unwrap_or_default();
    // Nobody logged in: -1.
    let login = login.trim().parse().ok().filter(|number| *number != u32::MAX);
    let number = login.unwrap_or(geteuid().as_raw());
    name(root, number).unwrap_or_else(|| if number == 0 { "root".to_owned() } else { format!("user {number}") })
}
