//! The system's log: what happened while nobody was looking.

use std::os::unix::net::UnixDatagram;

use super::files::Root;
use crate::core::change::Change;
use crate::core::log_entry::Entry;
pub use crate::core::log_entry::Priority;

/// Sends a line to the system's log, if there is one. A log that does not answer never holds up a package run.
pub fn log(root: &Root, priority: Priority, line: &str) {
    send(root, &Entry { priority, message: line.to_owned(), fields: Vec::new() });
}

/// Sends what has become of a mount, in the same way.
pub fn change(root: &Root, change: &Change) {
    send(root, &change.entry());
}

/// To journald, which takes the fields too, or else to whoever listens at /dev/log.
fn send(root: &Root, entry: &Entry) {
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let _ = socket.set_nonblocking(true);
    let pid = std::process::id();
    if socket.send_to(&entry.native(pid), root.path("/run/systemd/journal/socket")).is_err() {
        let _ = socket.send_to(&entry.syslog(pid), root.path("/dev/log"));
    }
}
