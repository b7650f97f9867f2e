//! Who holds what was found: the kernel's own answer first, then all that can be looked at.
//!
//! What a write lease is refused for is held, whoever it is. If that is so of everything there is nothing to decide, and
//! nobody is looked for unless the caller wants names. Otherwise /proc and the mount tables are read whole, once for all.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;

use super::people::People;
use super::seen::{Held, Kept, Used, User, WhoHolds, may_be_called};
use super::{Alias, Ask, KeptDirectory, Survey};
use crate::core::holder::Holder;
use crate::core::journal::Spot;
use crate::core::kernel_holders::without_deleted;
use crate::core::paths::ListedPath;
use crate::core::verdict::{Lease, Shown, Use};
use crate::sys::devices::{self, Asked, KernelHeld};
use crate::sys::files::{Lookup, Root};
use crate::sys::lease::Leases;
use crate::sys::scan;
use crate::sys::shown::ShownNames;

/// Fills in who holds each replaced alias and each directory.
///
/// # Errors
/// Where /proc or a directory cannot be read.
pub fn find(root: &Root, survey: &mut Survey, ask: Ask) -> Result<()> {
    let asked: Vec<usize> = with_lease(survey, Lease::Unknown).collect();
    ask_leases(root, survey, &asked);
    if needs_a_look(survey, ask) {
        // Whoever else was just asking for a lease looked like somebody who has the file.
        let held: Vec<usize> = with_lease(survey, Lease::Held).collect();
        ask_leases(root, survey, &held);
        let users = look_everywhere(root, survey, ask)?;
        conclude(root, survey, &users, ask);
    }
    count_files_for_their_directories(root, survey)
}

/// The replaced aliases of which this is known.
fn with_lease(survey: &Survey, lease: Lease) -> impl Iterator<Item = usize> {
    let replaced = survey.aliases.iter().enumerate().filter(|(_, alias)| alias.is_replaced());
    replaced.filter(move |(_, alias)| alias.lease == lease).map(|(at, _)| at)
}

fn ask_leases(root: &Root, survey: &mut Survey, aliases: &[usize]) {
    let leases = Leases::new();
    let ask = |at: &usize| {
        let Some(alias) = survey.aliases.get(*at) else { return Lease::Unknown };
        match (&alias.store, &alias.spot) {
            (Some(store), _) => store.lease(&leases, alias.name, alias.inode),
            (_, Spot::Beside(file)) => ask_beside(root, &leases, file, alias).unwrap_or(Lease::Unknown),
            (_, Spot::Store(_) | Spot::Inside(_)) => Lease::Unknown,
        }
    };
    let answers = leases.ask_all(aliases, ask);
    for (at, answer) in aliases.iter().zip(answers) {
        if let Some(alias) = survey.aliases.get_mut(*at) {
            alias.lease = answer;
        }
    }
}

fn ask_beside(root: &Root, leases: &Leases, file: &Path, alias: &Alias) -> Option<Lease> {
    let path = ListedPath::parse(file.as_os_str().as_bytes())?;
    let dir = root.open_dir(path.dir()).ok()??;
    Some(leases.ask(&dir, &alias.name.entry_beside(path.name()), alias.inode))
}

fn needs_a_look(survey: &Survey, ask: Ask) -> bool {
    let mut replaced = survey.aliases.iter().filter(|alias| alias.is_replaced());
    ask == Ask::Holders
        || replaced.any(|alias| alias.lease != Lease::Held)
        || survey.directories.iter().any(|directory| directory.listed == Some(false))
}

/// Who was seen to use what.
type Users = BTreeMap<Kept, BTreeSet<User>>;

fn look_everywhere(root: &Root, survey: &mut Survey, ask: Ask) -> Result<Users> {
    let is_asked = |alias: &Alias| alias.is_replaced() && (ask == Ask::Holders || alias.lease != Lease::Held);
    let aliases = survey.aliases.iter().enumerate().filter(|(_, alias)| is_asked(alias));
    let question = WhoHolds::new(root, aliases, &survey.directories)?;
    let near = question.near_mounts().to_vec();
    let (mut users, mut called, mut opened_in) = (Users::new(), Vec::new(), BTreeMap::new());
    survey.unreadable = scan::scan(root, question, |Held { by, what, opened_in: dir }| {
        if let Some(dir) = dir {
            opened_in.entry(dir).or_insert_with(BTreeSet::new).insert(by.clone());
        }
        match what {
            Used::Exactly(kept) => {
                for kept in kept {
                    users.entry(kept).or_default().insert(by.clone());
                }
            }
            Used::Called(device, name) => called.push((by, device, name)),
        }
    })?;
    for (by, device, name) in called {
        for (at, alias) in survey.aliases.iter().enumerate().filter(|(_, alias)| is_asked(alias)) {
            let is_there = device.is_none_or(|device| device == alias.device);
            // A lease sees everything but a mount.
            let is_possible = match (&by, alias.lease) {
                (User::Process(..), Lease::Granted) => false,
                (User::Process(..), Lease::Held) => !alias.names.is_empty(),
                (User::Process(..), Lease::NotApplicable | Lease::Unknown) | (User::Mount(..), _) => true,
            };
            if is_there && is_possible && may_be_called(alias.names.iter().map(|name| &**name), &name) {
                users.entry(Kept::Alias(at)).or_default().insert(by.clone());
            }
        }
        for (at, directory) in survey.directories.iter().enumerate() {
            if device == Some(directory.device) && directory.path.file_name() == Some(&name) {
                users.entry(Kept::Directory(at)).or_default().insert(by.clone());
            }
        }
    }
    // The kernel keeps a directory as long as a file that was opened through it.
    let mut names = ShownNames::new(root, &near);
    for (dir, by) in opened_in {
        let Some(dir) = names.directory(&dir) else { continue };
        let inode = dir.stat()?.inode;
        for (at, directory) in survey.directories.iter().enumerate() {
            if directory.with_above.contains(&inode) {
                users.entry(Kept::Directory(at)).or_default().extend(by.iter().cloned());
            }
        }
    }
    Ok(users)
}

/// Says of each what was seen, and by whom if the caller wants to know.
fn conclude(root: &Root, survey: &mut Survey, users: &Users, ask: Ask) {
    let everybody = if survey.unreadable.is_empty() { Shown::Nobody } else { Shown::NotAll };
    let mut people = People::new(root);
    let mut of = |kept: Kept| match ask {
        Ask::Holders => users.get(&kept).map(|users| people.holders(users)).unwrap_or_default(),
        Ask::Verdicts => Vec::new(),
    };
    for (at, directory) in survey.directories.iter_mut().enumerate() {
        directory.holders = of(Kept::Directory(at));
        directory.shown = if users.contains_key(&Kept::Directory(at)) { Shown::Somebody } else { everybody };
    }
    let mut kernel = None;
    let mut lookup = Lookup::new(root);
    for (at, alias) in survey.aliases.iter_mut().enumerate().filter(|(_, alias)| alias.is_replaced()) {
        alias.holders = of(Kept::Alias(at));
        alias.shown = if users.contains_key(&Kept::Alias(at)) { Shown::Somebody } else { everybody };
        if alias.shown == Shown::Somebody || !may_be_the_kernels(alias, ask) {
            continue;
        }
        let (held, asked) = kernel.get_or_insert_with(|| devices::held_by_the_kernel(root));
        let holders: Vec<Holder> =
            held.iter().filter(|held| is_behind(&mut lookup, held, alias)).map(|held| held.holder.clone()).collect();
        alias.shown = match (holders.is_empty(), *asked) {
            (false, Asked::All | Asked::NotAll) => Shown::Somebody,
            (true, Asked::All) => alias.shown,
            (true, Asked::NotAll) => Shown::NotAll,
        };
        if ask == Ask::Holders {
            // It may be whoever could not be read, if there is somebody.
            let unseen = holders.is_empty() && alias.lease == Lease::Held && everybody == Shown::Nobody;
            alias.holders = if unseen { vec![Holder::Unseen] } else { holders };
        }
    }
}

/// Only a regular file can be behind a loop device, and then no lease is given.
fn may_be_the_kernels(alias: &Alias, ask: Ask) -> bool {
    match alias.lease {
        Lease::Held => ask == Ask::Holders,
        Lease::Granted => false,
        Lease::NotApplicable | Lease::Unknown => alias.is_file,
    }
}

fn is_behind(lookup: &mut Lookup, held: &KernelHeld, alias: &Alias) -> bool {
    match held.inode {
        Some(inode) => inode == alias.inode,
        // That somebody has it is known, and a name that it never had says nothing of it.
        None if alias.names.is_empty() => alias.lease != Lease::Held,
        None => alias.names.iter().any(|name| is_same_place(lookup, name, without_deleted(&held.name))),
    }
}

/// Whether two names are one, perhaps by way of a symbolic link: /lib and /usr/lib.
fn is_same_place(lookup: &mut Lookup, name: &Path, other: &Path) -> bool {
    let mut directory = |path: &Path| {
        let dir = ListedPath::parse(path.as_os_str().as_bytes())?;
        lookup.directory(dir.dir()).ok()??.stat().ok().map(|stat| stat.inode)
    };
    name.file_name() == other.file_name()
        && (name == other || directory(name).is_some_and(|inode| directory(other) == Some(inode)))
}

/// Who opened a file in another mount namespace has its own name for the directory; the alias has ours. And who has a file
/// without being seen has its directory just so.
fn count_files_for_their_directories(root: &Root, survey: &mut Survey) -> Result<()> {
    if survey.directories.is_empty() {
        return Ok(());
    }
    let mut lookup = Lookup::new(root);
    for alias in survey.aliases.iter().filter(|alias| alias.is_replaced() && alias.used() != Use::Free) {
        for name in &alias.names {
            let Some(path) = ListedPath::parse(name.as_os_str().as_bytes()) else { continue };
            let Some(dir) = lookup.directory(path.dir())? else { continue };
            let inode = dir.stat()?.inode;
            survey.directories.iter_mut().filter(|directory| directory.with_above.contains(&inode)).for_each(
                |directory| {
                    add(directory, alias);
                },
            );
        }
    }
    Ok(())
}

fn add(directory: &mut KeptDirectory, alias: &Alias) {
    let new = alias.holders.iter().filter(|holder| !directory.holders.contains(holder));
    let new: Vec<Holder> = new.cloned().collect();
    directory.holders.extend(new);
    directory.shown = match (alias.used(), directory.shown) {
        (Use::Held, _) | (_, Shown::Somebody) => Shown::Somebody,
        (Use::Unknown, Shown::Nobody | Shown::NotAll) => Shown::NotAll,
        (Use::Free, shown) => shown,
    };
}
