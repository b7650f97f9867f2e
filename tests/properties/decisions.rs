//! What follows from what was seen.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use rokeep::core::inode::Inode;
use rokeep::core::mount_state::{self, Access, Flags, MountState, Step, steps};
use rokeep::core::plan::{FoundFile, Reason, leave_out_what_does_not_fit, plan};
use rokeep::core::session::Session;
use rokeep::core::verdict::{self, Kind, Lease, Original, Run, Shown, Use, Verdict};

use crate::{config, given};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_found_file_is_a_name_and_a_reason_of_the_one_alias_of_its_inode(files in found_files()) {
        let plan = plan(files.clone());
        let aliases = || plan.iter().flat_map(|(site, aliases)| aliases.iter().map(move |alias| (site, alias)));
        let mut planned = BTreeSet::new();
        for (site, alias) in aliases() {
            for name in &alias.names {
                prop_assert!(planned.insert((site.clone(), alias.inode, name.clone())), "{name:?} twice");
            }
        }
        let names = |file: FoundFile| Some((file.site, file.inode, file.path?));
        let found: BTreeSet<_> = files.iter().cloned().filter_map(names).collect();
        prop_assert_eq!(planned, found);
        let inodes: HashSet<_> = aliases().map(|(site, alias)| (site, alias.inode)).collect();
        prop_assert_eq!(inodes.len(), aliases().count(), "one alias an inode");
        for file in files {
            let alias = aliases().find(|(site, alias)| **site == file.site && alias.inode == file.inode);
            prop_assert!(alias.is_some_and(|(_, alias)| file.reasons.iter().all(|reason| alias.reasons.contains(reason))));
        }
    }

    /// A guard is what no package is a reason for; and what is in use is linked before the rest.
    #[test]
    fn a_guard_is_only_in_use_and_what_is_in_use_comes_first(files in found_files()) {
        for aliases in plan(files).values() {
            prop_assert!(aliases.is_sorted_by_key(|alias| !alias.is_in_use()));
            for alias in aliases {
                let by_a_package = alias.reasons.iter().any(|(reason, _)| *reason != Reason::InUse);
                prop_assert_eq!(alias.kind() == Kind::Guard, !by_a_package);
            }
        }
    }

    #[test]
    fn what_is_in_use_is_never_left_out_for_want_of_space(files in found_files(), free in 0..9_u64, needed in 0..9_u64) {
        for mut aliases in plan(files).into_values() {
            let before = aliases.clone();
            let shortage = leave_out_what_does_not_fit(&mut aliases, free, needed);
            let left_out: Vec<_> = before.iter().filter(|alias| !aliases.contains(alias)).collect();
            prop_assert!(left_out.iter().all(|alias| !alias.is_in_use()));
            prop_assert_eq!(shortage.map_or(0, |shortage| shortage.left_out), left_out.len());
            prop_assert!(needed > free || left_out.is_empty());
        }
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
    fn only_what_is_replaced_and_free_is_dropped_and_a_guard_that_protected_nothing(
        kind in given::kind(),
        original in given::original(),
        used in given::used(),
        run in given::run(),
    ) {
        let drops = verdict::verdict(kind, original, used, run) == Verdict::Drop;
        let replaced_and_free = original == Original::Replaced && used == Use::Free;
        let needless_guard = kind == Kind::Guard && original == Original::StillThere && run == Run::Over;
        prop_assert_eq!(drops, replaced_and_free || needless_guard);
    }

    /// And where no lease can be asked for, that nobody was seen is all there is to know.
    #[test]
    fn nothing_is_free_while_anybody_says_that_it_is_held_or_could_not_be_asked(
        lease in given::lease(),
        shown in given::shown(),
        kind in given::kind(),
        run in given::run(),
    ) {
        let used = verdict::used(lease, shown);
        let says_held = lease == Lease::Held || shown == Shown::Somebody;
        let not_asked = lease == Lease::Unknown || shown == Shown::NotAll;
        prop_assert_eq!(used == Use::Held, says_held);
        prop_assert_eq!(used == Use::Free, !says_held && !not_asked);
        let drops = verdict::verdict(kind, Original::Replaced, used, run) == Verdict::Drop;
        prop_assert_eq!(drops, !says_held && !not_asked);
    }

    /// Whatever becomes known later of something unknown, what was dropped would have been dropped still.
    #[test]
    fn what_is_not_known_never_leads_to_a_drop(links in 0..4_u64, ours in 0..3_u64, used in given::used(), run in given::run()) {
        let verdict = |leads, used| verdict::verdict(Kind::Planned, verdict::original(Kind::Planned, links, ours, leads), used, run);
        if links > ours {
            prop_assert_ne!(verdict(None, used), Verdict::Drop);
        }
        prop_assert_ne!(verdict(Some(true), used), Verdict::Drop);
        prop_assert_ne!(verdict(Some(false), Use::Unknown), Verdict::Drop);
    }

    /// The last link of an inode in use is never dropped, whatever it was made for.
    #[test]
    fn what_is_held_by_nothing_but_aliases_stays(kind in given::kind(), ours in 1..4_u64, run in given::run()) {
        let original = verdict::original(kind, ours, ours, None);
        prop_assert_ne!(verdict::verdict(kind, original, Use::Held, run), Verdict::Drop);
        prop_assert_ne!(verdict::verdict(kind, original, Use::Unknown, run), Verdict::Drop);
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

/// Paths on two mounts, each leading to one inode of the one or two devices below it; some are listed twice, some inodes
/// have no name.
fn found_files() -> impl Strategy<Value = Vec<FoundFile>> {
    let reason = prop_oneof![
        (Just(Reason::InUse), Just(None)),
        (select(vec![Reason::Installed, Reason::Brought]), select(vec![Some("tool"), Some("other")])),
    ];
    let file =
        (select(vec!["/usr", "/boot"]), 1..3_u64, 1..5_u64, reason).prop_map(|(site, dev, ino, (reason, package))| {
            let (site, inode) = (Path::new(site).into(), Inode { dev, ino });
            FoundFile {
                path: None,
                site,
                inode,
                born: None,
                bytes: ino * 4096,
                reasons: [(reason, package.map(Into::into))].into_iter().collect(),
            }
        });
    let files = btree_map(given::listed_path(), (any::<bool>(), file), 0..20);
    (files, any::<bool>()).prop_map(|(files, twice)| {
        let named = |(path, (named, file))| FoundFile { path: Some(path).filter(|_| named), ..file };
        let files: Vec<_> = files.into_iter().map(named).collect();
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
