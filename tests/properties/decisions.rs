//! What follows from what was seen.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use rokeep::core::inode::Inode;
use rokeep::core::mount_state::{self, Access, Flags, MountState, Step, steps};
use rokeep::core::paths::ListedPath;
use rokeep::core::plan::{FoundFile, plan};
use rokeep::core::session::Session;
use rokeep::core::verdict::{self, Original, Use, Verdict};

use crate::{config, given};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_found_file_is_a_name_of_the_one_alias_of_its_inode(files in found_files()) {
        let plan = plan(files.clone());
        let aliases = || plan.iter().flat_map(|(mount, aliases)| aliases.iter().map(move |alias| (mount, alias)));
        let mut planned = BTreeSet::new();
        for (mount, alias) in aliases() {
            for name in &alias.names {
                prop_assert!(planned.insert((mount.clone(), alias.inode, name.clone())), "{name:?} twice");
            }
        }
        let found: BTreeSet<_> = files.into_iter().map(|file| (file.mount, file.inode, file.path)).collect();
        prop_assert_eq!(planned, found);
        let inodes: HashSet<_> = aliases().map(|(mount, alias)| (mount, alias.inode)).collect();
        prop_assert_eq!(inodes.len(), aliases().count(), "one alias an inode");
        prop_assert!(aliases().all(|(_, alias)| !alias.names.is_empty()), "an alias is linked from a name");
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_in_which_packages_are_listed(files in found_files().prop_shuffle()) {
        let mut sorted = files.clone();
        sorted.sort_by(|a, b| a.path.cmp(&b.path));
        let names = |files| {
            let aliases = plan(files).into_values().flatten();
            aliases.map(|alias| (alias.inode, BTreeSet::from_iter(alias.names))).collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(names(files), names(sorted));
    }

    #[test]
    fn only_what_is_replaced_and_free_is_dropped(original in given::original(), used in given::used()) {
        let drops = verdict::verdict(original, used) == Verdict::Drop;
        prop_assert_eq!(drops, original == Original::Replaced && used == Use::Free);
    }

    /// Whatever becomes known later of something unknown, what was dropped would have been dropped still.
    #[test]
    fn what_is_not_known_never_leads_to_a_drop(links in 0..4_u64, used in given::used()) {
        if links != 1 {
            prop_assert_ne!(verdict::verdict(verdict::original(links, None), used), Verdict::Drop);
        }
        prop_assert_ne!(verdict::verdict(verdict::original(links, Some(true)), used), Verdict::Drop);
        prop_assert_ne!(verdict::verdict(verdict::original(links, Some(false)), Use::Unknown), Verdict::Drop);
    }

    #[test]
    fn the_steps_lead_there_and_no_step_is_wasted(now in given::flags(), wanted in given::flags()) {
        let mut flags = now;
        for step in steps(now, wanted) {
            let before = flags;
            perform(&mut flags, step);
            prop_assert_ne!(flags, before);
        }
        prop_assert_eq!(flags, wanted);
        prop_assert_eq!(steps(flags, wanted), []);
    }

    #[test]
    fn on_the_way_to_read_only_nothing_that_refused_writes_lets_them_through(
        now in given::flags(),
        wanted in given::flags(),
    ) {
        let mut flags = now;
        for step in steps(now, wanted) {
            perform(&mut flags, step);
            if now.refuse_writes() && wanted.refuse_writes() {
                prop_assert!(flags.refuse_writes(), "{now:?} to {wanted:?} by way of {flags:?}");
            }
        }
    }

    #[test]
    fn a_mount_that_takes_writes_is_never_called_anything_else(now in given::flags(), wanted in given::flags()) {
        prop_assert_eq!(mount_state::state(now, wanted) == MountState::Writable, now == Flags::WRITABLE);
        if wanted.refuse_writes() {
            prop_assert_eq!(mount_state::state(wanted, wanted), MountState::ReadOnly);
        }
    }

    /// Whoever comes, goes and dies: the mounts are kept for exactly those who came, did not leave, and live.
    #[test]
    fn a_session_is_in_use_by_the_living_who_have_not_left(
        events in vec((select(vec!["join", "leave", "die"]), given::frontend()), 0..20),
    ) {
        let mut session = Session::default();
        let mut expected = BTreeSet::new();
        let mut dead = BTreeSet::new();
        for (event, who) in events {
            let id = (who.pid, who.started);
            match event {
                "join" => {
                    dead.remove(&id);
                    expected.insert(id);
                    session.join(who);
                }
                "leave" => {
                    expected.remove(&id);
                    session.leave(&who);
                }
                _ => {
                    dead.insert(id);
                }
            }
        }
        session.forget_dead(|other| !dead.contains(&(other.pid, other.started)));
        let left: Vec<_> = session.frontends.iter().map(|other| (other.pid, other.started)).collect();
        prop_assert_eq!(left.len(), BTreeSet::from_iter(&left).len(), "nobody is in it twice");
        prop_assert_eq!(BTreeSet::from_iter(left), &expected - &dead);
        prop_assert_eq!(session.in_use(), !session.frontends.is_empty());
    }

    #[test]
    fn what_was_found_closed_first_is_what_is_restored(
        notes in vec((select(vec!["/", "/usr", "/boot"]), given::flags()), 0..8),
    ) {
        let mut session = Session::default();
        let mut first = BTreeMap::new();
        for (point, flags) in notes {
            session.note(&given::mount(point), flags);
            let noted = first.entry(PathBuf::from(point)).or_insert(flags);
            // Found writable and closed since: somebody wants it closed.
            if !noted.refuse_writes() {
                *noted = flags;
            }
        }
        let kept: BTreeMap<_, _> = session.mounts.iter().map(|mount| (mount.mount.point.clone(), mount.found)).collect();
        prop_assert_eq!(session.mounts.len(), kept.len(), "each mount once");
        prop_assert_eq!(kept, first);
    }
}

/// Paths on two mounts, each leading to one inode of the one or two devices below it; some are listed twice.
fn found_files() -> impl Strategy<Value = Vec<FoundFile>> {
    let file = (select(vec!["/usr", "/boot"]), 1..3_u64, 1..5_u64);
    let files = btree_map(given::listed_path(), file, 0..20);
    (files, any::<bool>()).prop_map(|(files, twice)| {
        let found = |(path, (mount, dev, ino)): (ListedPath, (&str, u64, u64))| FoundFile {
            path,
            mount: mount.into(),
            inode: Inode { dev, ino },
            bytes: ino * 4096,
        };
        let files: Vec<_> = files.into_iter().map(found).collect();
        if twice { [&files[..], &files[..]].concat() } else { files }
    })
}

fn perform(flags: &mut Flags, step: Step) {
    let (level, access): (&mut Access, _) = match step {
        Step::Superblock(access) => (&mut flags.superblock, access),
        Step::Mount(access) => (&mut flags.mount, access),
    };
    *level = access;
}
