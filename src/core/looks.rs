//! Who need not be looked at again: a process that has not run since uses what it used then.
//!
//! Nobody opens, maps or enters anything for another process. What two of them share (clone(2), `CLONE_FILES`) shows at the
//! one that did it, as long as it lives. What is missed so – one that shares its descriptors and has ended; the kernel's own
//! threads for an io_uring before Linux 5.12; who ran for less than the clock can tell, where that is a tick – gets no guard,
//! as what comes into use within one run of dpkg.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What every process had done when it was looked at, for what it uses on these mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looks {
    /// By the kernel's ids, which mounts of two namespaces never share.
    mounts: BTreeSet<u64>,
    /// Nanoseconds on a processor, by process id.
    ran: BTreeMap<i32, u64>,
}

impl Looks {
    /// Nobody was looked at yet.
    pub fn at(mounts: impl IntoIterator<Item = u64>) -> Looks {
        Looks { mounts: mounts.into_iter().collect(), ran: BTreeMap::new() }
    }

    /// That a process had run for so long before it was looked at.
    pub fn note(&mut self, pid: i32, ran: Option<u64>) {
        self.ran.extend(ran.map(|ran| (pid, ran)));
    }

    /// Whether a process that has run for so long was looked at after it had done so, on the same mounts. One of which that
    /// cannot be told was not; and one that has not run at all is not there, but a clock that stands still.
    pub fn cover(&self, now: &Looks, pid: i32) -> bool {
        let ran = now.ran.get(&pid).filter(|ran| **ran > 0);
        self.mounts == now.mounts && ran.is_some() && self.ran.get(&pid) == ran
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks<const N: usize>(mounts: &[u64], ran: [(i32, u64); N]) -> Looks {
        Looks { ran: ran.into(), ..Looks::at(mounts.iter().copied()) }
    }

    #[test]
    fn only_who_has_not_run_is_known() {
        let before = looks(&[7], [(1, 10), (2, 20), (4, 0)]);
        let now = looks(&[7], [(1, 10), (2, 21), (3, 30), (4, 0)]);
        assert_eq!([1, 2, 3, 4, 5].map(|pid| before.cover(&now, pid)), [true, false, false, false, false]);
    }

    #[test]
    fn on_other_mounts_nobody_is() {
        let before = looks(&[7], [(1, 10)]);
        assert!(before.cover(&looks(&[7], [(1, 10)]), 1));
        assert!(!before.cover(&looks(&[8], [(1, 10)]), 1));
        assert!(!before.cover(&looks(&[7, 8], [(1, 10)]), 1));
        assert!(!Looks::default().cover(&looks(&[7], [(1, 10)]), 1));
    }
}
