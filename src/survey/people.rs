//! Who uses something, in terms of a person.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::seen::User;
use crate::core::holder::{Holder, How, Process};
use crate::sys::files::Root;
use crate::sys::processes;

/// Users, as a person knows them.
#[derive(Debug)]
pub struct People<'a> {
    root: &'a Root,
    known: HashMap<i32, Process>,
}

impl<'a> People<'a> {
    /// Nobody is known yet.
    pub fn new(root: &'a Root) -> People<'a> {
        People { root, known: HashMap::new() }
    }

    /// Each process once, each mount once.
    pub fn holders(&mut self, users: &BTreeSet<User>) -> Vec<Holder> {
        let mut processes: BTreeMap<i32, BTreeSet<How>> = BTreeMap::new();
        let mut mounts: BTreeMap<u64, (&Path, Option<i32>)> = BTreeMap::new();
        for user in users {
            match user {
                User::Process(pid, how) => {
                    processes.entry(*pid).or_default().insert(*how);
                }
                User::Mount(id, at, seen_by) => {
                    mounts.entry(*id).or_insert((at, *seen_by));
                }
            }
        }
        let processes = processes.into_iter().map(|(pid, uses)| Holder::Process(self.process(pid, uses)));
        let mut holders: Vec<Holder> = processes.collect();
        for (at, seen_by) in mounts.into_values() {
            let seen_by = seen_by.map(|pid| self.process(pid, BTreeSet::from([How::Mounted])));
            holders.push(Holder::Mount { at: at.to_owned(), seen_by });
        }
        holders
    }

    fn process(&mut self, pid: i32, uses: BTreeSet<How>) -> Process {
        let known = self.known.entry(pid).or_insert_with(|| processes::describe_holder(self.root, pid));
        Process { uses, ..known.clone() }
    }
}
