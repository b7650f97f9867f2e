//! Words for people.
#![forbid(unsafe_code)]

use std::path::Path;

use super::text::escape;

/// What a stage has to say when it did not fail.
#[derive(Debug, Default)]
#[must_use]
pub struct Outcome {
    /// Worth knowing.
    pub notes: Vec<String>,
    /// In need of a person.
    pub problems: Vec<String>,
}

/// A path as it may be shown: nothing in it can move a terminal's cursor.
pub fn path(path: &Path) -> String {
    escape(path.as_os_str()).into_owned()
}

/// Any other text that came from outside, as a command name.
pub fn text(text: &str) -> String {
    escape(text.as_ref()).into_owned()
}

/// A process: `sshd (812)`.
pub fn process(command: &str, pid: i32) -> String {
    format!("{} ({pid})", text(command))
}

/// What a person can do so that a process lets go of the old files.
///
/// `unit` is the systemd unit it belongs to (systemd.unit(5)).
pub fn remedy(pid: i32, command: &str, unit: Option<&str>) -> String {
    let process = process(command, pid);
    match unit {
        Some("init.scope") => "systemctl daemon-reexec".to_owned(),
        Some(unit) if unit.starts_with("user@") || unit.starts_with("session-") => {
            format!("end {process}, or log out and in")
        }
        // A shell would eat the backslash of an escaped name.
        Some(unit) if unit.ends_with(".service") && unit.contains('\\') => format!("systemctl restart '{unit}'"),
        Some(unit) if unit.ends_with(".service") => format!("systemctl restart {unit}"),
        Some(_) | None => format!("restart {process}"),
    }
}

/// Bytes in the unit a person would use.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if count >= size {
            let tenths = count / (size / 10).max(1);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} bytes")
}

/// `1 file`, `2 files`, `3 processes`, `4 directories`.
pub fn count(number: usize, noun: &str) -> String {
    let (stem, ending) = match noun.strip_suffix('y') {
        Some(stem) => (stem, "ies"),
        None if noun.ends_with('s') => (noun, "es"),
        None => (noun, "s"),
    };
    if number == 1 { format!("1 {noun}") } else { format!("{number} {stem}{ending}") }
}

/// `a, b and 3 more`.
pub fn few(names: &[String], most: usize) -> String {
    let shown = names.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 20), "5.0 MiB");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(0, "file"), "0 files");
        assert_eq!(count(2, "process"), "2 processes");
        assert_eq!(count(1, "directory"), "1 directory");
        assert_eq!(count(3, "directory"), "3 directories");
    }

    #[test]
    fn what_frees_a_file_depends_on_who_holds_it() {
        assert_eq!(remedy(812, "sshd", Some("ssh.service")), "systemctl restart ssh.service");
        assert_eq!(remedy(9, "x", Some("a\\x2db.service")), "systemctl restart 'a\\x2db.service'");
        assert_eq!(remedy(1, "systemd", Some("init.scope")), "systemctl daemon-reexec");
        assert_eq!(remedy(9, "bash", Some("session-3.scope")), "end bash (9), or log out and in");
        assert_eq!(remedy(9, "pipewire", Some("user@1000.service")), "end pipewire (9), or log out and in");
        assert_eq!(remedy(9, "tool\n", None), "restart tool%0A (9)");
    }

    #[test]
    fn a_hostile_name_is_shown_harmlessly() {
        assert_eq!(path(Path::new("/usr/\x1b[2J\n")), "/usr/%1B[2J%0A");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<_> = ["a", "b", "c"].map(String::from).into();
        assert_eq!(few(&names, 3), "a, b, c");
        assert_eq!(few(&names, 2), "a, b and 1 more");
    }
}
