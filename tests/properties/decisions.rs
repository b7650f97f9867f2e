//! What follows from what was seen.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rokeep::core::inode::{Born, Inode};
use rokeep::core::mount_state::{self, Access, Flags, MountState, Step, steps};
use rokeep::core::plan::{FoundFile, Plan, Reason, Shortage, joined, leave_out_what_does_not_fit, plan};
use rokeep::core::session::{self, Frontend, Session};
use rokeep::core::verdict::{self, DirectoryVerdict, Kind, Lease, Original, Pin, Run, Shown, Use, Verdict};

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
            prop_assert_eq!(shortage.is_some(), !left_out.is_empty());
            if let Some(shortage) = shortage {
                let Shortage { free: was_free, needed: was_needed, kept, .. } = shortage;
                prop_assert_eq!((was_free, was_needed, kept), (free, needed, aliases.len()));
                let twice = shortage.and(shortage);
                prop_assert_eq!((twice.kept, twice.left_out), (2 * kept, 2 * left_out.len()));
            }
            prop_assert!(needed > free || left_out.is_empty());
        }
    }

    #[test]
    fn what_is_planned_later_is_the_same_plan(files in found_files(), later in found_files()) {
        let joined = joined([plan(files.clone()), plan(later.clone())]);
        let at_once = plan([files, later].concat());
        for aliases in joined.values() {
            prop_assert!(aliases.is_sorted_by_key(|alias| !alias.is_in_use()));
        }
        let by_inode = |plan: Plan| {
            let aliases = plan.into_iter().flat_map(|(site, aliases)| aliases.into_iter().map(move |alias| (site.clone(), alias)));
            let sorted = aliases.map(|(site, mut alias)| {
                alias.names.sort();
                alias.reasons.sort();
                ((site, alias.inode), alias)
            });
            sorted.collect::<BTreeMap<_, _>>()
        };
        prop_assert_eq!(by_inode(joined), by_inode(at_once));
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
    fn only_what_is_replaced_and_free_is_dropped_and_what_has_a_name_and_is_not_needed(
        kind in given::kind(),
        original in given::original(),
        used in given::used(),
        run in given::run(),
    ) {
        let drops = verdict::verdict(kind, original, used, run) == Verdict::Drop;
        let replaced_and_free = original == Original::Replaced && used == Use::Free;
        let is_needless = match run {
            Run::On => false,
            Run::Over => kind == Kind::Guard,
            Run::Released => true,
        };
        prop_assert_eq!(drops, replaced_and_free || (is_needless && original == Original::StillThere));
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
        prop_assert!(run == Run::Released || verdict(Some(true), used) != Verdict::Drop);
        prop_assert_ne!(verdict(Some(false), Use::Unknown), Verdict::Drop);
    }

    /// The last link of an inode in use is never dropped, whatever it was made for.
    #[test]
    fn what_is_held_by_nothing_but_aliases_stays(kind in given::kind(), ours in 1..4_u64, run in given::run()) {
        let original = verdict::original(kind, ours, ours, None);
        prop_assert_ne!(verdict::verdict(kind, original, Use::Held, run), Verdict::Drop);
        prop_assert_ne!(verdict::verdict(kind, original, Use::Unknown, run), Verdict::Drop);
    }

    /// A name that leads there is one, and one that does not is none; where neither is known the number of links tells,
    /// and where that does not, nothing is.
    #[test]
    fn what_became_of_its_names_is_known_only_by_a_name_or_by_the_number_of_links(
        kind in given::kind(), links in 0..4_u64, ours in 0..4_u64, leads in option::of(any::<bool>()),
    ) {
        let original = verdict::original(kind, links, ours, leads);
        let there = leads == Some(true) || (leads.is_none() && kind == Kind::Guard && links > ours);
        let gone = leads == Some(false) || (leads.is_none() && links == ours);
        prop_assert_eq!(original == Original::StillThere, there);
        prop_assert_eq!(original == Original::Replaced, gone);
    }

    /// The kernel's own answer counts for more than that nobody was seen, and for less than that somebody was.
    #[test]
    fn a_deeper_look_overrules_nobody_who_was_seen(used in given::used(), pin in given::pin()) {
        let after = verdict::deeper(used, pin);
        if used == Use::Held || pin.is_none() {
            prop_assert_eq!(after, used);
        } else {
            prop_assert_eq!(after == Use::Free, pin == Some(Pin::Forgotten));
            prop_assert_eq!(after == Use::Held, pin == Some(Pin::Pinned));
        }
    }

    #[test]
    fn a_directory_goes_only_after_the_run_when_no_package_has_it_and_nobody_is_in_it(
        listed in option::of(any::<bool>()), used in given::used(), run in given::run(),
    ) {
        let verdict = verdict::directory(listed, used, run);
        let is_over = run != Run::On;
        prop_assert_eq!(verdict == DirectoryVerdict::Remove, is_over && listed == Some(false) && used == Use::Free);
        prop_assert_eq!(verdict == DirectoryVerdict::Unmark, is_over && listed == Some(true));
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

    /// Package managers come, go and die in any order, and whoever comes next tidies up. While one of them lives, every
    /// mount takes writes; when none does, each goes back once, to what it was when the first one came.
    #[test]
    fn what_the_first_one_found_is_what_is_restored_once_when_the_last_one_is_gone(
        found in vec(given::flags(), 3),
        events in vec((select(vec![Event::Begin, Event::End, Event::Die, Event::Recover]), 0..3_i32), 0..24),
    ) {
        let mut machine = Machine::new(&found);
        for (event, who) in events {
            machine.tell(event, who);
            if machine.living.is_empty() && event != Event::Die {
                prop_assert_eq!(&machine.mounts, &found);
                prop_assert!(machine.session.is_over());
            } else if !machine.living.is_empty() {
                prop_assert!(machine.mounts.iter().all(|flags| *flags == Flags::WRITABLE));
                prop_assert!(machine.session.in_use() && !machine.session.is_over());
            }
        }
        machine.living.clear();
        machine.tell(Event::Recover, 0);
        let restored = machine.restored.clone();
        machine.tell(Event::Recover, 0);
        prop_assert_eq!(&machine.restored, &restored, "nothing is left to restore");
        prop_assert_eq!(machine.mounts, found);
        prop_assert!(restored.iter().all(|times| *times == machine.sessions), "each mount once in each session");
    }

    #[test]
    fn a_mount_is_held_until_its_time_comes_or_somebody_ends_it_or_closes_it(
        holds in vec((0..3_usize, option::of(given::by_hand())), 0..8),
        closed in option::of(0..3_usize),
        now in 0..100_u64,
    ) {
        const POINTS: [&str; 3] = ["/", "/usr", "/boot"];
        let mut session = Session::default();
        POINTS.iter().for_each(|point| session.note(&given::mount(*point), CLOSED));
        let mut expected = BTreeMap::new();
        for (at, by_hand) in holds {
            match by_hand {
                Some(by_hand) => {
                    session.hold(&given::mount(POINTS[at]), by_hand.clone());
                    expected.insert(at, by_hand);
                }
                None => {
                    session.release(&given::mount(POINTS[at]));
                    expected.remove(&at);
                }
            }
            session.note(&given::mount(POINTS[at]), Flags::WRITABLE);
        }
        if let Some(at) = closed {
            session.note(&given::mount(POINTS[at]), CLOSED);
            expected.remove(&at);
        }
        let lasting: Vec<_> = expected.iter().filter(|(_, by_hand)| by_hand.until.is_none_or(|until| now < until)).collect();
        let held: Vec<_> = session.held(now).map(|(noted, by_hand)| (noted.mount.clone(), by_hand)).collect();
        prop_assert_eq!(held, lasting.iter().map(|(at, by_hand)| (given::mount(POINTS[**at]), *by_hand)).collect::<Vec<_>>());
        prop_assert_eq!(session.next_deadline(now), lasting.iter().filter_map(|(_, by_hand)| by_hand.until).min());
        prop_assert_eq!(session.is_overdue(now), lasting.len() < expected.len());
        prop_assert!(session.mounts.iter().all(|noted| noted.found == CLOSED), "to hold a mount is not to find it open");
    }

    /// The copies of a mount, which are seen open as soon as it is, and the other mounts that are closed.
    #[test]
    fn what_was_noted_of_other_mounts_is_noted_once(
        notes in vec((select(vec!["/", "/usr"]), vec(select(vec!["/a", "/b"]), 0..3)), 0..6),
    ) {
        let mut session = Session::default();
        let (mut before, mut closed) = (BTreeMap::new(), BTreeSet::new());
        for (point, others) in notes {
            let others: Vec<_> = others.into_iter().map(given::mount).collect();
            session.note(&given::mount(point), CLOSED);
            session.note_open_before(&given::mount(point), others.clone());
            before.entry(point).or_insert(others.clone());
            closed.extend(others.iter().map(|other| other.point.clone()));
            others.into_iter().for_each(|other| session.note_closed(other));
        }
        for noted in &session.mounts {
            prop_assert_eq!(noted.open_before.as_ref(), before.get(noted.mount.point.to_str().expect("text")));
        }
        prop_assert_eq!(session.closed.len(), closed.len(), "each once");
        prop_assert!(session.closed.iter().all(|other| closed.contains(&other.point)));
        prop_assert_eq!(session.is_over(), before.is_empty(), "what is to go back is unfinished business");
        let noted = session.mounts.first().map(|noted| noted.mount.clone());
        if let Some(mount) = noted {
            session.forget(&mount);
            prop_assert_eq!(session.found(&mount), None);
            prop_assert!(session.mounts.iter().all(|left| left.mount != mount));
            prop_assert_eq!(session.mounts.len() + 1, before.len(), "the others stay");
        }
    }
}

const CLOSED: Flags = Flags { mount: Access::ReadOnly, superblock: Access::ReadOnly };

/// What a package manager does, or somebody in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Begin,
    End,
    Die,
    Recover,
}

/// Mounts, and a session that is written down after each event and read before the next.
struct Machine {
    session: Session,
    mounts: Vec<Flags>,
    living: BTreeSet<i32>,
    sessions: usize,
    restored: Vec<usize>,
}

impl Machine {
    fn new(found: &[Flags]) -> Machine {
        let restored = vec![0; found.len()];
        Machine { session: Session::default(), mounts: found.to_vec(), living: BTreeSet::new(), sessions: 0, restored }
    }

    fn tell(&mut self, event: Event, pid: i32) {
        let who = Frontend { pid, started: 10, command: "apt".to_owned() };
        if event == Event::Die {
            self.living.remove(&pid);
            return;
        }
        let living = &self.living;
        self.session.forget_dead(|frontend| living.contains(&frontend.pid));
        self.restore_if_over();
        match event {
            Event::Begin => {
                self.sessions += usize::from(self.session.is_over());
                self.living.insert(pid);
                self.session.join(who);
                for (at, flags) in self.mounts.iter_mut().enumerate() {
                    self.session.note(&given::mount(format!("/{at}")), *flags);
                    *flags = Flags::WRITABLE;
                }
            }
            Event::End => {
                self.living.remove(&pid);
                self.session.leave(&who);
                self.restore_if_over();
            }
            Event::Die | Event::Recover => {}
        }
        let written = serde_json::to_vec(&self.session).expect("it can be written");
        self.session = session::parse(&written).expect("it can be read");
    }

    fn restore_if_over(&mut self) {
        if self.session.in_use() {
            return;
        }
        for at in 0..self.mounts.len() {
            let mount = given::mount(format!("/{at}"));
            if let Some(found) = self.session.found(&mount) {
                self.mounts[at] = found;
                self.restored[at] += 1;
                self.session.forget(&mount);
            }
        }
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
                born: Some(Born(ino)).filter(|_| ino > 2),
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
