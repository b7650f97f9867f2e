//! The managed mounts, as they are now.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::seen::{Kind, Object, Seen};
use super::{Finding, Topic};
use crate::core::container::Standing;
use crate::core::message::{self, bytes};
use crate::core::mount_state::{Access, Flags, MountState, state};
use crate::core::mountinfo::Mount;
use crate::core::refusal::{self, Device, Refusal};

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Those that are mount points.
    pub mounts: Vec<Managed>,
    /// Those that could not be looked at, and why.
    pub unknown: Vec<(PathBuf, String)>,
    /// What mounts may be changed here.
    pub standing: Standing,
    /// Mount points that packages write to, read-only, and none of the managed ones.
    pub passed_over: Vec<PathBuf>,
    /// The directories of `/bin`, `/lib`, `/sbin` that are no links into /usr.
    pub unmerged: Vec<PathBuf>,
}

/// One of them.
#[derive(Debug)]
pub struct Managed {
    /// What mountinfo says of it.
    pub mount: Mount,
    /// How the open session found it.
    pub found: Option<Flags>,
    /// Whom it is writable for.
    pub open_for: Need,
    /// Whether the settings name it.
    pub named: bool,
    /// What its device says of itself.
    pub device: Device,
    /// How much room there is, where that could be told.
    pub room: Option<Room>,
    /// What is at its `.rokeep`; another mount there is no directory.
    pub store: Seen<Object>,
}

/// Whether a mount has to be writable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// For a package run.
    PackageRun,
    /// By hand.
    ByHand,
    /// It has not.
    Nobody,
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that are free for root.
    pub free_bytes: u64,
    /// Inodes in all; 0 where it makes them as it needs them.
    pub inodes: u64,
    /// Inodes that are free.
    pub free_inodes: u64,
}

impl Managed {
    /// Whether rokeep has anything to do with it.
    pub fn is_looked_after(&self) -> bool {
        self.found.is_some() || self.named || self.mount.flags.refuse_writes()
    }
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::Mounts;
    let mut findings = Vec::new();
    match facts.standing {
        Standing::Machine => {}
        Standing::NobodyMayMount | Standing::OwnMountsOnly => findings.push(topic.attention(
            "this is a container: what is read-only from outside is left alone, unless the settings name it; apt does there \
             what it does without rokeep",
        )),
    }
    for (point, why) in &facts.unknown {
        findings.push(topic.unseen(&message::path(point), why));
    }
    let ours: Vec<&Managed> = facts.mounts.iter().filter(|managed| managed.is_looked_after()).collect();
    if ours.is_empty() && facts.unknown.is_empty() {
        let what = "none of the managed mount points is mounted read-only: there is nothing to look after";
        findings.push(
            topic
                .attention(what)
                .advice("have /usr, or /, with the option ro in /etc/fstab, then \"rokeep remount ro\" and its name"),
        );
    }
    findings.extend(ours.into_iter().flat_map(one));
    for point in &facts.passed_over {
        let point = message::path(point);
        let what =
            format!("{point} is read-only and not looked after: a package that has files there cannot be installed");
        findings.push(topic.attention(what).advice(format!("name {point} in \"mounts\" of /etc/rokeep/config.toml")));
    }
    if let [first, ..] = &facts.unmerged[..] {
        let what = format!(
            "/usr is not merged ({} is a directory of its own): what is there belongs to another mount",
            message::path(first)
        );
        findings.push(topic.ok(what));
    }
    findings
}

fn one(managed: &Managed) -> Vec<Finding> {
    let (topic, mount) = (Topic::Mounts, &managed.mount);
    let (point, fs_type) = (message::path(&mount.point), message::text(&mount.fs_type));
    let mut findings: Vec<Finding> = [how_it_is(managed, &point), refusal_of(managed, &point), store(managed, &point)]
        .into_iter()
        .flatten()
        .collect();
    findings.extend(short_of_room(managed, &point));
    if findings.is_empty() {
        let room = managed.room.map_or_else(String::new, |room| format!(", {}", bytes_free(room)));
        let open = match managed.open_for {
            Need::PackageRun => "writable for a package run",
            Need::ByHand | Need::Nobody => "read-only",
        };
        findings.push(topic.ok(format!("{point} ({fs_type}) is {open}{room}")));
    }
    if !mount.knows_hard_links() {
        findings.push(
            topic.ok(format!("{point} has no hard links: it is opened and closed, and nothing on it gets an alias")),
        );
    }
    if mount.overlay.as_ref().is_some_and(|overlay| !overlay.metacopy) {
        findings.push(topic.ok(format!(
            "{point} is an overlay without metacopy=on: a replaced file of a lower layer that is in use gets no alias"
        )));
    }
    findings
}

fn how_it_is(managed: &Managed, point: &str) -> Option<Finding> {
    let (topic, mount) = (Topic::Mounts, &managed.mount);
    let as_named = Flags { mount: Access::ReadOnly, superblock: Access::Writable };
    let wanted = managed.found.unwrap_or(if mount.flags.refuse_writes() { mount.flags } else { as_named });
    match (state(mount.flags, wanted), managed.open_for) {
        (MountState::ReadOnly, _) | (_, Need::PackageRun) => None,
        (MountState::Degraded, Need::ByHand | Need::Nobody) => Some(
            topic
                .attention(format!("{point} is degraded: its file system could not become read-only"))
                .command("rokeep status"),
        ),
        (MountState::Writable, Need::ByHand) => {
            let what = format!("{point} is held writable by hand");
            Some(topic.attention(what).command_about(&mount.point, |point| format!("rokeep remount ro {point}")))
        }
        (MountState::Writable, Need::Nobody) if managed.found.is_some() => {
            let what = format!("{point} is still WRITABLE, and no package run needs it so");
            Some(topic.broken(what).command("rokeep cleanup"))
        }
        (MountState::Writable, Need::Nobody) => {
            let what = format!("{point} is writable, though the settings name it, and rokeep leaves it as it finds it");
            Some(topic.attention(what).command_about(&mount.point, |point| format!("rokeep remount ro {point}")))
        }
    }
}

/// Why it could never become writable.
fn refusal_of(managed: &Managed, point: &str) -> Option<Finding> {
    let mount = &managed.mount;
    let protected = match managed.device {
        Device::WriteProtected => Some(Refusal::WriteProtected),
        Device::Writable | Device::Unknown => None,
    };
    let is_closed = mount.flags.superblock == Access::ReadOnly;
    let why = refusal::foreseen(mount).or(protected.filter(|_| is_closed))?;
    let what = format!("{point} cannot become writable, and every package run is stopped");
    Some(Topic::Mounts.broken(what).advice(why.advice(mount)))
}

fn store(managed: &Managed, point: &str) -> Option<Finding> {
    let topic = Topic::Mounts;
    let path = managed.mount.point.join(".rokeep");
    match &managed.store {
        Seen::There(object) if object.kind == Kind::Directory && object.owner == 0 && object.is_private() => None,
        Seen::Missing => None,
        Seen::There(_) => {
            let what = format!(
                "{} is no directory of root's alone on this mount: rokeep puts no alias there",
                message::path(&path)
            );
            Some(topic.broken(what).advice(format!("move it away, while {point} is writable")))
        }
        Seen::Unknown(why) => Some(topic.unseen(&message::path(&path), why)),
    }
}

/// A kernel with its modules takes 400 MiB, a large library 50.
fn short_of_room(managed: &Managed, point: &str) -> Option<Finding> {
    const LITTLE: u64 = 64 << 20;
    let room = managed.room?;
    let below = |part: u64, whole: u64, percent: u64| part < whole / 100 * percent;
    let few_bytes =
        below(room.free_bytes, room.bytes, 5) || (room.free_bytes < LITTLE && below(room.free_bytes, room.bytes, 25));
    if !few_bytes && !below(room.free_inodes, room.inodes, 5) {
        return None;
    }
    let what = format!(
        "{point} has little room: {}. What is replaced and in use takes its space until it is let go",
        said(room)
    );
    Some(Topic::Mounts.attention(what).advice("remove what is not needed (\"apt-get autoremove\"), or make it larger"))
}

fn said(room: Room) -> String {
    match room.inodes {
        0 => bytes_free(room),
        all => {
            let free = room.free_inodes;
            format!("{}, {free} of {all} inodes ({} %)", bytes_free(room), percent(free, all))
        }
    }
}

fn bytes_free(room: Room) -> String {
    let Room { bytes: all, free_bytes: free, .. } = room;
    format!("{} of {} free ({} %)", bytes(free), bytes(all), percent(free, all))
}

fn percent(part: u64, whole: u64) -> u128 {
    u128::from(part) * 100 / u128::from(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;
    use crate::core::mountinfo;

    const ROOM: Room = Room { bytes: 4 << 30, free_bytes: 2 << 30, inodes: 1000, free_inodes: 500 };

    fn managed(line: &str) -> Managed {
        let mount = mountinfo::parse(line.as_bytes()).remove(0);
        let (store, room) = (Seen::Missing, Some(ROOM));
        Managed { mount, found: None, open_for: Need::Nobody, named: false, device: Device::Writable, room, store }
    }

    const CLOSED: &str = "1 1 8:1 / /usr ro - ext4 /dev/x ro\n";
    const OPEN: &str = "1 1 8:1 / /usr rw - ext4 /dev/x rw\n";
    const DEGRADED: &str = "1 1 8:1 / /usr ro - ext4 /dev/x rw\n";

    fn found_closed(line: &str) -> Managed {
        let found = Some(Flags { mount: Access::ReadOnly, superblock: Access::ReadOnly });
        Managed { found, ..managed(line) }
    }

    fn facts(managed: Managed) -> Facts {
        Facts {
            mounts: vec![managed],
            unknown: vec![],
            standing: Standing::Machine,
            passed_over: vec![],
            unmerged: vec![],
        }
    }

    #[test]
    fn each_way_in_which_a_mount_can_be() {
        let with_store = |mode, kind| Seen::There(Object { kind, mode, owner: 0 });
        let with_room = |free_bytes, free_inodes| Some(Room { free_bytes, free_inodes, ..ROOM });
        for (what, managed, state, says) in [
            ("read-only", managed(CLOSED), State::Ok, "2.0 GiB of 4.0 GiB free (50 %)"),
            ("a bind mount", managed(DEGRADED), State::Ok, "is read-only"),
            ("for a run", Managed { open_for: Need::PackageRun, ..found_closed(OPEN) }, State::Ok, "for a package run"),
            ("by hand", Managed { open_for: Need::ByHand, ..found_closed(OPEN) }, State::Attention, "remount ro /usr"),
            ("left open", found_closed(OPEN), State::Broken, "rokeep cleanup"),
            ("degraded", found_closed(DEGRADED), State::Attention, "degraded"),
            ("named", Managed { named: true, ..managed(OPEN) }, State::Attention, "rokeep remount ro /usr"),
            ("nothing", managed(OPEN), State::Attention, "nothing to look after"),
            ("protected", Managed { device: Device::WriteProtected, ..managed(CLOSED) }, State::Broken, "blockdev"),
            ("squashfs", managed("1 1 8:1 / /usr ro - squashfs /dev/x ro\n"), State::Broken, "only be read"),
            ("errors", managed("1 1 8:1 / /usr ro - ext4 /dev/x ro,emergency_ro\n"), State::Broken, "fsck"),
            (
                "full",
                Managed { room: with_room(1 << 20, 500), ..managed(CLOSED) },
                State::Attention,
                "1.0 MiB of 4.0 GiB",
            ),
            ("no inodes", Managed { room: with_room(2 << 30, 9), ..managed(CLOSED) }, State::Attention, "9 of 1000"),
            (
                "a store",
                Managed { store: with_store(0o700, Kind::Directory), ..managed(CLOSED) },
                State::Ok,
                "read-only",
            ),
            (
                "open store",
                Managed { store: with_store(0o755, Kind::Directory), ..managed(CLOSED) },
                State::Broken,
                "move",
            ),
            (
                "no store",
                Managed { store: with_store(0o600, Kind::File), ..managed(CLOSED) },
                State::Broken,
                "/usr/.rokeep",
            ),
        ] {
            let found = find(&facts(managed));
            let [finding] = &found[..] else { panic!("{what}: {found:#?}") };
            assert_eq!(finding.state, state, "{what}: {finding:#?}");
            assert!(format!("{finding:?}").contains(says), "{what}: {finding:#?}");
            assert_eq!(finding.fix.is_some(), state != State::Ok, "{what}: {finding:#?}");
        }
    }

    #[test]
    fn what_nobody_looks_after_is_named() {
        let firmware = Facts { passed_over: vec!["/boot/firmware".into()], ..facts(managed(CLOSED)) };
        let found = find(&firmware);
        assert!(matches!(&found[..], [_, finding] if finding.state == State::Attention && finding.needs_somebody()));
    }

    /// A small one is not short of room because it is small.
    #[test]
    fn little_room_is_measured_by_the_file_system() {
        let room = |bytes: u64, free_bytes: u64| Some(Room { bytes, free_bytes, inodes: 0, free_inodes: 0 });
        for (bytes, free, short) in
            [(96, 60, false), (500, 60, true), (500, 70, false), (20_000, 900, true), (64, 2, true)]
        {
            let managed = Managed { room: room(bytes << 20, free << 20), ..managed(CLOSED) };
            assert_eq!(short_of_room(&managed, "/usr").is_some(), short, "{free} of {bytes} MiB");
        }
    }

    #[test]
    fn what_cannot_be_helped_is_only_told() {
        for line in [
            "1 1 8:1 / /boot/efi ro - vfat /dev/x ro\n",
            "1 1 0:40 / /usr ro - overlay usr ro,lowerdir=/l,upperdir=/u\n",
        ] {
            let found = find(&facts(managed(line)));
            assert_eq!(found.len(), 2, "{found:#?}");
            assert!(!found.iter().any(Finding::needs_somebody), "{found:#?}");
        }
        let container = Facts { standing: Standing::NobodyMayMount, ..facts(managed(CLOSED)) };
        assert!(!find(&container).iter().any(Finding::needs_somebody));
    }
}
