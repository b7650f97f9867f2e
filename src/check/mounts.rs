//! The managed mounts, as they are and as they will be.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::core::check::mounts::{Facts, Managed, Need};
use crate::core::check::seen::{Kind, Object, Seen};
use crate::core::check::{fstab, settings};
use crate::core::container::Standing;
use crate::core::message;
use crate::core::mountinfo::Mount;
use crate::core::overlay::HOME;
use crate::core::session::Session;
use crate::managed::is_ours;
use crate::overlay;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::{clock, rights, seen};

/// The managed mounts.
#[derive(Debug)]
pub struct Looked {
    /// Those that are mount points.
    pub facts: Facts,
    /// Managed mount points at which nothing is mounted, and whether the settings name them.
    missing: Vec<(PathBuf, Named)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    BySettings,
    ByDefault,
}

impl Looked {
    /// Where they are, and where they would be.
    pub fn points(&self) -> Vec<PathBuf> {
        let there = self.facts.mounts.iter().map(|managed| &managed.mount.point);
        there.chain(self.missing.iter().map(|(point, _)| point)).cloned().collect()
    }

    /// What the settings name and is not there.
    pub fn named_and_missing(&self, settings: settings::Facts) -> settings::Facts {
        let missing =
            self.missing.iter().filter(|(_, named)| *named == Named::BySettings).map(|(point, _)| point.clone());
        match settings {
            settings::Facts::Fine(_) => settings::Facts::Fine(missing.collect()),
            other => other,
        }
    }

    /// Whether a package run opens the mount at this point.
    pub fn opens(&self, point: &Path) -> bool {
        self.facts.mounts.iter().any(|managed| managed.mount.point == point && managed.is_looked_after())
    }
}

/// Looks at each.
///
/// # Errors
/// Where there is no mount table.
pub fn look(root: &Root, settings: &Settings, session: &Session) -> Result<Looked> {
    let table = mounts::table(root)?;
    let standing = rights::standing(root);
    let mut looked = Looked {
        facts: Facts {
            mounts: Vec::new(),
            unknown: Vec::new(),
            standing,
            passed_over: Vec::new(),
            unmerged: unmerged(root),
        },
        missing: Vec::new(),
    };
    let mut notes = Vec::new();
    let mut points = crate::managed::points(root, settings, &mut notes);
    looked.facts.unknown.extend(notes.into_iter().map(|why| (HOME.into(), why)));
    points.extend(session.mounts.iter().map(|noted| noted.mount.point.clone()));
    points.dedup();
    let mut seen = Vec::new();
    for point in points {
        if seen.contains(&point) {
            continue;
        }
        seen.push(point.clone());
        let named = if settings.names(&point) { Named::BySettings } else { Named::ByDefault };
        match mounts::at(root, &point) {
            Ok(Some(mounted)) if named == Named::BySettings || is_ours(standing, &mounted) => {
                looked.facts.mounts.push(managed(root, &mounted, session, settings));
            }
            Ok(Some(_)) => {}
            Ok(None) => looked.missing.push((point, named)),
            Err(why) => looked.facts.unknown.push((point, format!("{why:#}"))),
        }
    }
    if standing == Standing::Machine {
        // Where directories are mounted one by one, that is what packages go to.
        seen.extend(overlay::points(root, settings).into_iter().flatten().map(|(point, _)| point));
        looked.facts.passed_over = passed_over(&table, &seen);
    }
    Ok(looked)
}

/// Where packages have their files, or maintainer scripts put some, and a mount is read-only that is not one of these. What
/// is below an overlay is reached through that.
fn passed_over(table: &[Mount], looked_at: &[PathBuf]) -> Vec<PathBuf> {
    let is_a_place =
        |point: &Path| ["/usr", "/boot", "/etc", "/opt", "/var"].iter().any(|place| point.starts_with(place));
    let closed = table.iter().filter(|mount| mount.flags.refuse_writes() && is_a_place(&mount.point));
    let closed = closed.filter(|mount| !mount.point.starts_with(HOME));
    let mut points: Vec<PathBuf> = closed.map(|mount| mount.point.clone()).collect();
    points.retain(|point| !looked_at.contains(point));
    points.dedup();
    points
}

fn managed(root: &Root, mounted: &Mounted, session: &Session, settings: &Settings) -> Managed {
    let id = mounted.id();
    let found = session.found(&id);
    let by_hand = session.held(clock::seconds_since_boot()).any(|(noted, _)| noted.mount == id);
    let open_for = match found {
        Some(_) if session.in_use() => Need::PackageRun,
        Some(_) if by_hand => Need::ByHand,
        Some(_) | None => Need::Nobody,
    };
    let mut managed = Managed {
        found,
        open_for,
        named: settings.names(&mounted.mount.point),
        device: mounts::protection(&mounted.mount),
        room: None,
        store: Seen::Missing,
        mount: mounted.mount.clone(),
    };
    // Another one may be on a server that does not answer, and is none of ours.
    if managed.is_looked_after() {
        managed.room = mounted.room().ok();
        managed.store = store(root, mounted);
    }
    managed
}

/// One that is on another mount, link(2) does not reach.
fn store(root: &Root, mounted: &Mounted) -> Seen<Object> {
    let path = mounted.mount.point.join(".rokeep");
    let on = root.open_dir(&path).ok().flatten().and_then(|dir| dir.stat().ok());
    match seen::itself(&inside(root, &path)) {
        Seen::There(object) if on.is_some_and(|on| on.mount_id != mounted.mount.id) => {
            Seen::There(Object { kind: Kind::Other, ..object })
        }
        found => found,
    }
}

/// Where a path of the tree is for this process.
fn inside(root: &Root, path: &Path) -> PathBuf {
    root.path("/").join(path.strip_prefix("/").unwrap_or(path))
}

fn unmerged(root: &Root) -> Vec<PathBuf> {
    let is_directory = |path: &&str| match seen::itself(&root.path(path)) {
        Seen::There(object) => object.kind == Kind::Directory,
        Seen::Missing | Seen::Unknown(_) => false,
    };
    ["/bin", "/sbin", "/lib"].into_iter().filter(is_directory).map(PathBuf::from).collect()
}

/// What /etc/fstab and the like will make of them.
pub fn after_the_next_start(root: &Root, looked: &Looked) -> fstab::Facts {
    const MOST_BYTES: u64 = 1 << 20;
    let mounted = looked.facts.mounts.iter().map(|managed| {
        let closed = managed.mount.flags.refuse_writes();
        let now = match managed.found {
            _ if closed => fstab::Now::ReadOnly,
            Some(_) => fstab::Now::OpenedByUs,
            None => fstab::Now::Writable,
        };
        (managed.mount.point.clone(), now)
    });
    let missing = looked.missing.iter().map(|(point, _)| (point.clone(), fstab::Now::NotMounted));
    let point =
        |(path, now): (PathBuf, fstab::Now)| fstab::Point { unit_options: unit_options(root, &path), path, now };
    let table = match seen::file(&root.path("/etc/fstab"), MOST_BYTES) {
        Seen::There(file) => Ok(fstab::parse(&file.text)),
        Seen::Missing => Ok(Vec::new()),
        Seen::Unknown(why) => Err(message::text(&why)),
    };
    let command_line = std::fs::read(root.path("/proc/cmdline")).unwrap_or_default();
    fstab::Facts { points: mounted.chain(missing).map(point).collect(), table, command_line }
}

/// Of the unit that systemd would take (systemd.unit(5)).
fn unit_options(root: &Root, point: &Path) -> Option<Vec<u8>> {
    const MOST_BYTES: u64 = 1 << 16;
    let name = fstab::unit_name(point);
    let places = [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/run/systemd/generator",
        "/usr/lib/systemd/system",
        "/run/systemd/generator.late",
    ];
    places.iter().find_map(|dir| match seen::file(&root.path(&format!("{dir}/{name}")), MOST_BYTES) {
        Seen::There(file) => Some(fstab::options_of_unit(&file.text)),
        Seen::Missing | Seen::Unknown(_) => None,
    })
}
