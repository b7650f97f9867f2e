//! An entry of the system's log, in the two forms that it may have on its way there.
#![forbid(unsafe_code)]

use super::columns::shown;

/// How much it matters (syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Something needs a person.
    Error = 3,
    /// Something was done.
    Info = 6,
}

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How much it matters.
    pub priority: Priority,
    /// For a person, and in one line, whatever is in it: it is sent as [`shown`] has it.
    pub message: String,
    /// For programs: names as journald takes them (capitals, digits, underscores), each with a value of any bytes.
    pub fields: Vec<(&'static str, Vec<u8>)>,
}

/// What a datagram takes in any case: both sides have buffers of a few times this. No message of ours is as long, unless
/// names are.
const LONGEST: usize = 16 << 10;

const FACILITY_DAEMON: u8 = 3;

impl Entry {
    /// journald's native form (systemd, docs/JOURNAL_NATIVE_PROTOCOL.md): `NAME=value` lines; a value with a line's end in
    /// it as `NAME`, its length as 64 bits, and itself.
    pub fn native(&self, pid: u32) -> Vec<u8> {
        let mut text = Vec::new();
        let mut add = |name: &str, value: &[u8]| {
            text.extend(name.as_bytes());
            if value.contains(&b'\n') {
                text.push(b'\n');
                text.extend((value.len() as u64).to_le_bytes());
            } else {
                text.push(b'=');
            }
            text.extend(value);
            text.push(b'\n');
        };
        add("MESSAGE", cut(&shown(&self.message)).as_bytes());
        add("PRIORITY", (self.priority as u8).to_string().as_bytes());
        add("SYSLOG_FACILITY", FACILITY_DAEMON.to_string().as_bytes());
        add("SYSLOG_IDENTIFIER", b"rokeep");
        add("SYSLOG_PID", pid.to_string().as_bytes());
        for (name, value) in &self.fields {
            add(name, value.get(..LONGEST).unwrap_or(value));
        }
        text
    }

    /// The older form, as syslog(3) writes it to `/dev/log`, without a time: whoever receives it knows that.
    pub fn syslog(&self, pid: u32) -> Vec<u8> {
        let priority = FACILITY_DAEMON << 3 | self.priority as u8;
        format!("<{priority}>rokeep[{pid}]: {}", cut(&shown(&self.message))).into_bytes()
    }
}

fn cut(message: &str) -> &str {
    let end = (0..=LONGEST.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    end.and_then(|end| message.get(..end)).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> Entry {
        let fields = vec![("ROKEEP_MOUNT", b"/srv/two\nlines\xff".to_vec())];
        Entry { priority: Priority::Error, message: message.to_owned(), fields }
    }

    #[test]
    fn a_value_of_any_bytes_reaches_journald() {
        let expected = b"MESSAGE=hello\nPRIORITY=3\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=rokeep\nSYSLOG_PID=7\n\
                         ROKEEP_MOUNT\n\x0f\0\0\0\0\0\0\0/srv/two\nlines\xff\n";
        assert_eq!(entry("hello").native(7), expected);
    }

    #[test]
    fn no_message_moves_a_cursor_or_begins_another_line() {
        let evil = entry("a\n<24>su: root\u{1b}[2J\u{202e}");
        assert_eq!(evil.syslog(7), b"<27>rokeep[7]: a%0A<24>su: root%1B[2J%E2%80%AE");
        assert!(evil.native(7).starts_with(b"MESSAGE=a%0A<24>su: root%1B[2J%E2%80%AE\nPRIORITY=3\n"));
    }

    #[test]
    fn where_there_is_no_journald_the_message_is_there_all_the_same() {
        assert_eq!(entry("hello").syslog(7), b"<27>rokeep[7]: hello");
    }

    #[test]
    fn no_message_is_longer_than_a_datagram() {
        let long = "\u{e4}".repeat(LONGEST);
        assert!(entry(&long).native(7).len() < 2 * LONGEST);
        assert!(entry(&long).syslog(7).len() < 2 * LONGEST);
    }
}
