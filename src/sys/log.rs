//! The system's log: what happened while nobody was looking.

use std::os::unix::net::UnixDatagram;

use super::files::Root;

/// How much it matters (syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Something needs a person.
    Error = 3,
    /// Something was done.
    Info = 6,
}

/// Sends a line to the system's log, if there is one. A log that does not answer never holds up a package run.
pub fn log(root: &Root, priority: Priority, line: &str) {
    const FACILITY_DAEMON: u8 = 3 << 3;
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let _ = socket.set_nonblocking(true);
    let datagram = format!("<{}>rokeep[{}]: {line}", FACILITY_DAEMON | priority as u8, std::process::id());
    let _ = socket.send_to(datagram.as_bytes(), root.path("/dev/log"));
}
