//! May this alias go? The one rule that everything else serves.
//!
//! An alias is dropped only when its inode has been replaced – no original name leads to it any more – and no process
//! holds it. What is not known counts against dropping.
#![forbid(unsafe_code)]

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

/// Whether anybody uses the inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Somebody was seen to.
    Held,
    /// Everybody was asked, and nobody does.
    Free,
    /// Nobody was seen to, but not everybody could be asked.
    Unknown,
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
    /// Dropping it would delete an inode in use, and that is what keeps a file system from going read-only.
    Held,
    /// Not everything could be found out.
    Unknown,
}

/// Decides on one alias.
pub fn verdict(original: Original, used: Use) -> Verdict {
    match (original, used) {
        (Original::StillThere, Use::Held | Use::Free | Use::Unknown) => Verdict::Keep(Because::Unchanged),
        (Original::Unknown, Use::Held | Use::Free | Use::Unknown) => Verdict::Keep(Because::Unknown),
        (Original::Replaced, Use::Held) => Verdict::Keep(Because::Held),
        (Original::Replaced, Use::Unknown) => Verdict::Keep(Because::Unknown),
        (Original::Replaced, Use::Free) => Verdict::Drop,
    }
}

/// What became of the original names, from what was seen of them.
///
/// `links` is the inode's link count, the alias included: at one, no other name can lead to it, whatever it was.
/// `a_name_leads_here` is `None` where the names are not known or could not be followed.
pub fn original(links: u64, a_name_leads_here: Option<bool>) -> Original {
    match (a_name_leads_here, links) {
        (Some(true), _) => Original::StillThere,
        (Some(false), _) | (None, 1) => Original::Replaced,
        (None, _) => Original::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINALS: [Original; 3] = [Original::StillThere, Original::Replaced, Original::Unknown];
    const USES: [Use; 3] = [Use::Held, Use::Free, Use::Unknown];

    #[test]
    fn only_replaced_and_free_goes() {
        for original in ORIGINALS {
            for used in USES {
                let goes = verdict(original, used) == Verdict::Drop;
                assert_eq!(goes, original == Original::Replaced && used == Use::Free, "{original:?} {used:?}");
            }
        }
    }

    #[test]
    fn the_last_link_is_proof_and_an_unknown_name_is_not() {
        assert_eq!(original(1, None), Original::Replaced);
        assert_eq!(original(2, None), Original::Unknown);
        assert_eq!(original(2, Some(true)), Original::StillThere);
        assert_eq!(original(2, Some(false)), Original::Replaced);
    }
}
