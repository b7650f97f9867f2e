//! May this alias go? The one rule that everything else serves.
//!
//! An alias is dropped only when its inode has been replaced – no original name leads to it any more – and nobody holds
//! it, as far as everybody says who can be asked. What is not known counts against dropping. Only a guard goes sooner: it was made because its inode was in
//! use, not because dpkg was to replace it, and where a name still leads to the inode after the run it protected nothing.
//! Who removes rokeep has every other alias go as well whose inode still has a name: then nothing depends on it.
#![forbid(unsafe_code)]

/// What an alias was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file that dpkg was to replace or remove.
    Planned,
    /// An inode that was in use when the run began, and only for that run.
    Guard,
}

/// Whether the package run that an alias may be needed for is still going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// dpkg may still replace anything.
    On,
    /// No package manager is at work.
    Over,
    /// None is, and somebody wants nothing kept for another one: rokeep is about to be removed.
    Released,
}

/// What became of the names the alias was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// At least one of them still leads to the inode.
    StillThere,
    /// None of them does.
    Replaced,
    /// It could not be found out.
    Unknown,
}

/// What the kernel answers whoever wants a write lease on a file (fcntl(2), `F_SETLEASE`), and so nobody else to have it.
///
/// It knows of loop devices, swap files, files in flight in sockets and processes that nobody can see or read. It does not
/// know of `O_PATH` descriptors, of mounts, and of what was mapped through an overlayfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Refused: somebody has it open, maps it or runs it.
    Held,
    /// Given, which is no proof that nobody uses it.
    Granted,
    /// Nobody gets one: it is no regular file, or its file system has none, or only those of its server.
    NotApplicable,
    /// It could not be asked for.
    Unknown,
}

/// What everybody shows who can be looked at: every process, every mount table, every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Somebody was seen to use it.
    Somebody,
    /// All was looked at, and nobody does.
    Nobody,
    /// Nobody was seen to, and not all could be looked at, or nothing was.
    NotAll,
}

/// Whether anybody uses the inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Somebody does.
    Held,
    /// Everybody was asked, and nobody does.
    Free,
    /// Nobody was seen to, but not everybody could be asked.
    Unknown,
}

/// Whether the kernel itself still uses the inode, for whatever reason. It is asked only for a deeper look
/// ([`crate::pins`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// It could not forget the inode: something uses it.
    Pinned,
    /// It forgot the inode: nothing did.
    Forgotten,
    /// It was asked, and that could not be told.
    Unknown,
}

/// Whether anybody uses the inode, after a deeper look; `None` is a usual one.
///
/// The kernel forgets nothing that anybody uses, whoever could be asked. But what it remembers may be of use to nobody.
pub fn deeper(used: Use, pin: Option<Pin>) -> Use {
    match (used, pin) {
        (Use::Held, Some(Pin::Pinned | Pin::Forgotten | Pin::Unknown) | None) => Use::Held,
        (Use::Free | Use::Unknown, Some(Pin::Pinned)) => Use::Held,
        (Use::Free | Use::Unknown, Some(Pin::Forgotten)) => Use::Free,
        (Use::Free | Use::Unknown, Some(Pin::Unknown)) => Use::Unknown,
        (Use::Free, None) => Use::Free,
        (Use::Unknown, None) => Use::Unknown,
    }
}

/// The answer, with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The alias stays.
    Keep(Because),
    /// The alias may go.
    Drop,
}

/// Why an alias stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// dpkg has not replaced the inode (yet): it protects what may still be freed.
    Unchanged,
    /// A guard, and the run is still on.
    Guards,
    /// Dropping it would delete an inode in use, and that is what keeps a file system from going read-only.
    Held,
    /// Not everything could be found out.
    Unknown,
}

/// Puts together what was answered. Each source has its blind spots, so whoever says that it is held is right, and it is
/// free only if none is left that could say so.
pub fn used(lease: Lease, shown: Shown) -> Use {
    match (lease, shown) {
        (Lease::Held, Shown::Somebody | Shown::Nobody | Shown::NotAll) => Use::Held,
        (Lease::Granted | Lease::NotApplicable | Lease::Unknown, Shown::Somebody) => Use::Held,
        (Lease::Granted | Lease::NotApplicable, Shown::Nobody) => Use::Free,
        (Lease::Granted | Lease::NotApplicable, Shown::NotAll) => Use::Unknown,
        (Lease::Unknown, Shown::Nobody | Shown::NotAll) => Use::Unknown,
    }
}

/// Decides on one alias.
pub fn verdict(kind: Kind, original: Original, used: Use, run: Run) -> Verdict {
    match (original, used) {
        (Original::StillThere, Use::Held | Use::Free | Use::Unknown) => match (kind, run) {
            (Kind::Planned, Run::On | Run::Over) => Verdict::Keep(Because::Unchanged),
            (Kind::Guard, Run::On) => Verdict::Keep(Because::Guards),
            (Kind::Guard, Run::Over) | (Kind::Planned | Kind::Guard, Run::Released) => Verdict::Drop,
        },
        (Original::Unknown, Use::Held | Use::Free | Use::Unknown) => Verdict::Keep(Because::Unknown),
        (Original::Replaced, Use::Held) => Verdict::Keep(Because::Held),
        (Original::Replaced, Use::Unknown) => Verdict::Keep(Because::Unknown),
        (Original::Replaced, Use::Free) => Verdict::Drop,
    }
}

/// What became of the original names, from what was seen of them.
///
/// `links` is the inode's link count and `ours` how many of those links are aliases: where there are no others, no other
/// name can lead to it, whatever it was. `a_name_leads_here` is `None` where the names are not known or could not be
/// followed; a guard may have none, and then any other link will do.
pub fn original(kind: Kind, links: u64, ours: u64, a_name_leads_here: Option<bool>) -> Original {
    match (a_name_leads_here, kind) {
        (Some(true), Kind::Planned | Kind::Guard) => Original::StillThere,
        (Some(false), Kind::Planned | Kind::Guard) => Original::Replaced,
        (None, Kind::Planned | Kind::Guard) if links == ours => Original::Replaced,
        (None, Kind::Guard) if links > ours => Original::StillThere,
        (None, Kind::Planned | Kind::Guard) => Original::Unknown,
    }
}

/// What is to be done with a directory that a marker keeps, and with the marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum DirectoryVerdict {
    /// Both stay.
    Keep(Because),
    /// Some package still has the directory: it was not removed, and the marker goes alone.
    Unmark,
    /// dpkg wanted it gone, and nobody is in it any more.
    Remove,
}

/// Decides on one directory. `listed` is whether a package has it; `None` where that could not be found out.
pub fn directory(listed: Option<bool>, used: Use, run: Run) -> DirectoryVerdict {
    match (run, listed, used) {
        (Run::On, Some(_) | None, Use::Held | Use::Free | Use::Unknown) => DirectoryVerdict::Keep(Because::Guards),
        (Run::Over | Run::Released, Some(true), Use::Held | Use::Free | Use::Unknown) => DirectoryVerdict::Unmark,
        (Run::Over | Run::Released, None, Use::Held | Use::Free | Use::Unknown) => {
            DirectoryVerdict::Keep(Because::Unknown)
        }
        (Run::Over | Run::Released, Some(false), Use::Held) => DirectoryVerdict::Keep(Because::Held),
        (Run::Over | Run::Released, Some(false), Use::Unknown) => DirectoryVerdict::Keep(Because::Unknown),
        (Run::Over | Run::Released, Some(false), Use::Free) => DirectoryVerdict::Remove,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINALS: [Original; 3] = [Original::StillThere, Original::Replaced, Original::Unknown];
    const USES: [Use; 3] = [Use::Held, Use::Free, Use::Unknown];
    const RUNS: [Run; 2] = [Run::On, Run::Over];

    #[test]
    fn whoever_says_that_it_is_held_is_right() {
        use Lease::*;
        use Shown::*;
        for (lease, [somebody, nobody, not_all]) in [
            (Held, [Use::Held, Use::Held, Use::Held]),
            (Granted, [Use::Held, Use::Free, Use::Unknown]),
            (NotApplicable, [Use::Held, Use::Free, Use::Unknown]),
            (Lease::Unknown, [Use::Held, Use::Unknown, Use::Unknown]),
        ] {
            assert_eq!(used(lease, Somebody), somebody, "{lease:?}");
            assert_eq!(used(lease, Nobody), nobody, "{lease:?}");
            assert_eq!(used(lease, NotAll), not_all, "{lease:?}");
        }
    }

    #[test]
    fn only_replaced_and_free_goes() {
        for original in ORIGINALS {
            for used in USES {
                for run in RUNS {
                    let goes = verdict(Kind::Planned, original, used, run) == Verdict::Drop;
                    let should = original == Original::Replaced && used == Use::Free;
                    assert_eq!(goes, should, "{original:?} {used:?} {run:?}");
                }
            }
        }
    }

    #[test]
    fn for_who_removes_rokeep_only_what_has_no_name_and_may_be_in_use_stays() {
        for kind in [Kind::Planned, Kind::Guard] {
            for original in ORIGINALS {
                for used in USES {
                    let goes = verdict(kind, original, used, Run::Released) == Verdict::Drop;
                    let should = match original {
                        Original::StillThere => true,
                        Original::Replaced => used == Use::Free,
                        Original::Unknown => false,
                    };
                    assert_eq!(goes, should, "{kind:?} {original:?} {used:?}");
                }
            }
        }
    }

    #[test]
    fn a_guard_that_protected_nothing_goes_with_its_run_and_no_other() {
        for original in ORIGINALS {
            for used in USES {
                let on = verdict(Kind::Guard, original, used, Run::On) == Verdict::Drop;
                let over = verdict(Kind::Guard, original, used, Run::Over) == Verdict::Drop;
                let replaced_and_free = original == Original::Replaced && used == Use::Free;
                assert_eq!(on, replaced_and_free, "{original:?} {used:?}");
                assert_eq!(over, replaced_and_free || original == Original::StillThere, "{original:?} {used:?}");
            }
        }
    }

    #[test]
    fn a_deeper_look_frees_only_what_the_kernel_forgot_and_never_what_somebody_was_seen_to_hold() {
        for used in USES {
            for pin in [Pin::Pinned, Pin::Forgotten, Pin::Unknown] {
                let free = deeper(used, Some(pin)) == Use::Free;
                assert_eq!(free, pin == Pin::Forgotten && used != Use::Held, "{used:?} {pin:?}");
            }
            assert_eq!(deeper(used, None), used);
        }
        assert_eq!(deeper(Use::Free, Some(Pin::Pinned)), Use::Held);
    }

    #[test]
    fn the_last_link_is_proof_and_an_unknown_name_is_not() {
        assert_eq!(original(Kind::Planned, 1, 1, None), Original::Replaced);
        assert_eq!(original(Kind::Planned, 2, 1, None), Original::Unknown);
        assert_eq!(original(Kind::Planned, 2, 1, Some(true)), Original::StillThere);
        assert_eq!(original(Kind::Planned, 2, 1, Some(false)), Original::Replaced);
    }

    #[test]
    fn a_guard_without_a_name_is_content_with_any_link_that_is_not_ours() {
        assert_eq!(original(Kind::Guard, 2, 1, None), Original::StillThere);
        assert_eq!(original(Kind::Guard, 2, 2, None), Original::Replaced, "two aliases of one inode are no name of it");
    }

    #[test]
    fn a_directory_goes_when_no_package_has_it_and_nobody_is_in_it() {
        for listed in [Some(true), Some(false), None] {
            for used in USES {
                let goes = directory(listed, used, Run::Over) == DirectoryVerdict::Remove;
                assert_eq!(goes, listed == Some(false) && used == Use::Free, "{listed:?} {used:?}");
                assert_eq!(directory(listed, used, Run::On), DirectoryVerdict::Keep(Because::Guards));
            }
        }
    }
}
