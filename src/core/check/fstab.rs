//! How the managed mounts will be after the next start: /etc/fstab, a unit of systemd's, or the kernel's command line.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::{Finding, Topic};
use crate::core::message;
use crate::core::mountinfo::unescape;

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// The managed mount points.
    pub points: Vec<Point>,
    /// The entries of /etc/fstab, or why it could not be read. One that is not there has none.
    pub table: Result<Vec<Entry>, String>,
    /// `/proc/cmdline`
    pub command_line: Vec<u8>,
}

/// A managed mount point.
#[derive(Debug)]
pub struct Point {
    /// Where it is.
    pub path: PathBuf,
    /// How it is now.
    pub now: Now,
    /// The `Options=` of systemd's mount unit for it, if there is one.
    pub unit_options: Option<Vec<u8>>,
}

/// How a mount point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// Read-only.
    ReadOnly,
    /// Writable as rokeep made it so, or as somebody holds it by hand.
    OpenedByUs,
    /// Writable.
    Writable,
    /// Nothing is mounted there.
    NotMounted,
}

/// A line of /etc/fstab (fstab(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, counted from 1.
    pub line: usize,
    /// Its fields as they are written.
    pub fields: Vec<Vec<u8>>,
    /// Where it is mounted.
    pub point: PathBuf,
}

/// Reads /etc/fstab.
pub fn parse(text: &[u8]) -> Vec<Entry> {
    let entry = |(text, line): (&[u8], usize)| {
        let text = text.trim_ascii();
        let fields: Vec<Vec<u8>> =
            text.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).map(<[u8]>::to_vec).collect();
        let point = fields.get(1).map(|field| unescape(field))?;
        (!text.starts_with(b"#")).then_some(Entry { line, fields, point })
    };
    text.split(|byte| *byte == b'\n').zip(1..).filter_map(entry).collect()
}

/// systemd's name of the unit for a mount point (systemd-escape(1)).
pub fn unit_name(point: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let path = point.as_os_str().as_bytes();
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut name = String::new();
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            byte if byte.is_ascii_alphanumeric() || b":_.".contains(byte) => name.push(char::from(*byte)),
            byte => drop(write!(name, "\\x{byte:02x}")),
        }
    }
    if name.is_empty() { "-.mount".to_owned() } else { name + ".mount" }
}

/// The options in a mount unit (systemd.mount(5)).
pub fn options_of_unit(unit: &[u8]) -> Vec<u8> {
    let mut lines = unit.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"Options=")).unwrap_or_default().trim_ascii().to_vec()
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::Fstab;
    let table = match &facts.table {
        Ok(table) => table,
        Err(why) => return vec![topic.unknown(format!("/etc/fstab could not be read: {why}"))],
    };
    let entry = |point: &Point| table.iter().find(|entry| entry.point == point.path);
    facts
        .points
        .iter()
        .filter_map(|point| match entry(point) {
            Some(entry) => by_table(point, entry),
            None => elsewhere(point, &facts.command_line),
        })
        .collect()
}

/// What a list of options says of writing. The last word counts (mount(8)); `defaults` changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    ReadOnly,
    Writable,
    Both,
}

fn says(options: &[u8]) -> Says {
    let has = |word: &[u8]| options.split(|byte| *byte == b',').any(|option| option == word);
    match (has(b"ro"), has(b"rw")) {
        (true, true) => Says::Both,
        (true, false) => Says::ReadOnly,
        (false, _) => Says::Writable,
    }
}

fn by_table(point: &Point, entry: &Entry) -> Option<Finding> {
    let (topic, name, line) = (Topic::Fstab, message::path(&point.path), entry.line);
    let options = entry.fields.get(3).map_or(&b""[..], Vec::as_slice);
    let change = match read_only(entry) {
        Some(better) => format!("line {line} of /etc/fstab should read: {better}"),
        None => format!("put ro into the options of line {line} of /etc/fstab"),
    };
    match (says(options), point.now) {
        (_, Now::NotMounted) => Some(not_mounted(point, options)),
        (Says::Both, _) => {
            let what = format!("line {line} of /etc/fstab has both ro and rw for {name}, and the last one counts");
            Some(topic.attention(what).advice(change))
        }
        (Says::Writable, Now::ReadOnly | Now::OpenedByUs) => {
            let what =
                format!("{name} will be writable after the next start: line {line} of /etc/fstab does not say ro");
            Some(topic.attention(what).advice(change))
        }
        // Nobody wants it read-only.
        (Says::Writable, Now::Writable) => None,
        (Says::ReadOnly, Now::Writable) => {
            let what =
                format!("{name} is to be read-only by line {line} of /etc/fstab, and is writable: rokeep leaves it so");
            Some(topic.attention(what).command_about(&point.path, |point| format!("rokeep remount ro {point}")))
        }
        (Says::ReadOnly, Now::ReadOnly | Now::OpenedByUs) => {
            Some(topic.ok(format!("{name} is read-only after a start (line {line} of /etc/fstab)")))
        }
    }
}

/// Packages write into the directory below, where nobody sees it once the mount is back.
fn not_mounted(point: &Point, options: &[u8]) -> Finding {
    let (topic, name) = (Topic::Fstab, message::path(&point.path));
    let has = |word: &[u8]| options.split(|byte| *byte == b',').any(|option| option == word);
    if has(b"x-systemd.automount") {
        return topic.ok(format!("{name} is mounted when somebody looks there"));
    }
    let what = format!(
        "{name} is in /etc/fstab and is not mounted: what a package has there is written into the directory below it"
    );
    if has(b"noauto") {
        return topic.attention(format!("{what} (noauto: mount it before a package run that changes it)"));
    }
    topic.attention(what).command_about(&point.path, |point| format!("mount {point}"))
}

/// The line with `ro` in it, to be copied as it is; `None` where it cannot be shown so.
fn read_only(entry: &Entry) -> Option<String> {
    let options = entry.fields.get(3).map_or(&b""[..], Vec::as_slice);
    let kept = options.split(|byte| *byte == b',').filter(|option| !matches!(*option, b"rw" | b"ro" | b""));
    let options = kept.chain([&b"ro"[..]]).collect::<Vec<_>>().join(&b',');
    let mut fields = entry.fields.clone();
    fields.resize(fields.len().max(4), b"auto".to_vec());
    if let Some(field) = fields.get_mut(3) {
        *field = options;
    }
    let line = String::from_utf8(fields.join(&b' ')).ok()?;
    line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()).then_some(line)
}

/// Not in the table.
fn elsewhere(point: &Point, command_line: &[u8]) -> Option<Finding> {
    let (topic, name) = (Topic::Fstab, message::path(&point.path));
    if !matches!(point.now, Now::ReadOnly | Now::OpenedByUs) {
        return None;
    }
    if let Some(options) = &point.unit_options {
        let unit = unit_name(&point.path);
        return Some(match says(options) {
            Says::ReadOnly => topic.ok(format!("{name} is read-only after a start ({unit})")),
            Says::Writable | Says::Both => {
                let what = format!("{name} will be writable after the next start: the unit {unit} does not say ro");
                topic
                    .attention(what)
                    .advice(format!("put ro into Options= of {unit} (\"systemctl edit --full {unit}\")"))
            }
        });
    }
    if point.path == Path::new("/") {
        // The last one counts (init/do_mounts.c); neither is read-only.
        let mut words = command_line.split(u8::is_ascii_whitespace);
        let last = words.rfind(|word| matches!(*word, b"ro" | b"rw"));
        return Some(match last {
            Some(b"rw") => topic
                .attention("/ will be writable after the next start: the kernel's command line says rw, and /etc/fstab nothing")
                .advice("have / in /etc/fstab with the option ro"),
            Some(_) | None => topic.ok("/ is read-only after a start (it is not in /etc/fstab)"),
        });
    }
    let what = format!("{name} is not in /etc/fstab: how it will be after the next start is not known");
    // Whatever mounts it may say so: ZFS, a container's own configuration, the kernel's command line.
    Some(topic.attention(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;

    fn found(table: &str, path: &str, now: Now) -> Option<Finding> {
        let point = Point { path: path.into(), now, unit_options: None };
        let facts =
            Facts { points: vec![point], table: Ok(parse(table.as_bytes())), command_line: b"quiet ro\n".to_vec() };
        let found = find(&facts);
        assert!(found.len() < 2, "{found:#?}");
        found.into_iter().next()
    }

    #[test]
    fn each_line_and_what_it_leads_to() {
        for (table, now, state, says) in [
            ("/dev/x /usr ext4 ro 0 2", Now::ReadOnly, State::Ok, "line 1"),
            ("# a\n\n/dev/x\t/usr  ext4 defaults,ro 0 2", Now::OpenedByUs, State::Ok, "line 3"),
            (
                "/dev/x /usr ext4 defaults 0 2",
                Now::ReadOnly,
                State::Attention,
                "read: /dev/x /usr ext4 defaults,ro 0 2",
            ),
            ("/dev/x /usr ext4 rw,noatime 0 2", Now::ReadOnly, State::Attention, "ext4 noatime,ro 0 2"),
            ("/dev/x /usr ext4", Now::ReadOnly, State::Attention, "read: /dev/x /usr ext4 ro"),
            ("/dev/x /usr ext4 ro,rw 0 2", Now::ReadOnly, State::Attention, "both ro and rw"),
            (
                "/dev/x\\040y% /usr ext4 rw 0 2",
                Now::ReadOnly,
                State::Attention,
                "read: /dev/x\\\\040y% /usr ext4 ro 0 2",
            ),
            ("/dev/\u{e4} /usr ext4 rw 0 2", Now::ReadOnly, State::Attention, "put ro into the options of line 1"),
            ("/dev/x /usr ext4 ro 0 2", Now::Writable, State::Attention, "rokeep remount ro /usr"),
            ("/dev/x /usr ext4 defaults 0 2", Now::NotMounted, State::Attention, "mount /usr"),
            ("/dev/x /usr ext4 noauto,ro 0 2", Now::NotMounted, State::Attention, "noauto"),
            ("/dev/x /usr ext4 noauto,x-systemd.automount 0 2", Now::NotMounted, State::Ok, "somebody looks"),
            ("/dev/x / ext4 ro 0 1", Now::ReadOnly, State::Attention, "not in /etc/fstab"),
        ] {
            let finding = found(table, "/usr", now).unwrap_or_else(|| panic!("{table}"));
            assert_eq!(finding.state, state, "{table}: {finding:#?}");
            assert!(format!("{finding:?}").contains(says), "{table}: {finding:#?}");
        }
        assert_eq!(found("/dev/x /usr ext4 defaults 0 2", "/usr", Now::Writable), None);
        assert_eq!(found("", "/usr", Now::NotMounted), None);
    }

    #[test]
    fn the_root_directory_may_be_left_to_the_kernels_command_line() {
        let state = |line: &[u8]| {
            let point = Point { path: "/".into(), now: Now::ReadOnly, unit_options: None };
            find(&Facts { points: vec![point], table: Ok(vec![]), command_line: line.to_vec() })[0].state
        };
        assert_eq!([state(b"ro quiet\n"), state(b"quiet"), state(b"ro rw")], [State::Ok, State::Ok, State::Attention]);
    }

    #[test]
    fn a_unit_may_mount_it() {
        let state = |unit: &[u8]| {
            let unit_options = Some(options_of_unit(unit));
            let point = Point { path: "/boot/efi".into(), now: Now::ReadOnly, unit_options };
            find(&Facts { points: vec![point], table: Ok(vec![]), command_line: vec![] })[0].clone()
        };
        assert_eq!(state(b"[Mount]\nOptions=umask=077,ro\n").state, State::Ok);
        let open = state(b"[Mount]\nWhat=/dev/x\n");
        assert!(open.state == State::Attention && open.what.contains("boot-efi.mount"), "{open:#?}");
        assert_eq!(unit_name(Path::new("/")), "-.mount");
        assert_eq!(unit_name(Path::new("/srv/a-b")), "srv-a\\x2db.mount");
    }

    #[test]
    fn names_are_as_they_are_written_there() {
        let entries = parse(b"/dev/x /srv/a\\040b ext4 ro\n");
        assert_eq!(entries[0].point, Path::new("/srv/a b"));
    }
}
