//! Whether this is a container whose mounts are for others to change.
//!
//! There rokeep has nothing to look after: what is read-only for the container is so on purpose, and apt does what it would
//! do without rokeep. But a service of a whole machine that was deprived of its rights is no container: dpkg would break
//! packages there, and is kept from it.
#![forbid(unsafe_code)]

/// Where this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A whole machine, or a container with the rights of one: mounts are changed, or it is said why not.
    Machine,
    /// A container of which no process may change any mount.
    NobodyMayMount,
    /// A user namespace of its own: its own mounts may be changed, those that come from outside may not.
    OwnMountsOnly,
}

/// capabilities(7).
const CAP_SYS_ADMIN: u32 = 21;

/// From `/proc/1/status`, the own `/proc/self/status` and `/proc/self/uid_map` (proc(5), user_namespaces(7)). What cannot be
/// understood is a machine.
pub fn standing(first: &str, own: &str, uid_map: &str) -> Standing {
    let lacks = |status, set| capabilities(status, set).is_some_and(|all| all & (1 << CAP_SYS_ADMIN) == 0);
    if lacks(first, "CapBnd:") && lacks(own, "CapEff:") {
        return Standing::NobodyMayMount;
    }
    let whole: [&str; 3] = ["0", "0", "4294967295"];
    let mut lines = uid_map.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    match (lines.next(), lines.next()) {
        (None, _) => Standing::Machine,
        (Some(only), None) if only == whole => Standing::Machine,
        (Some(_), _) => Standing::OwnMountsOnly,
    }
}

fn capabilities(status: &str, set: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(set))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::Standing::{Machine, NobodyMayMount, OwnMountsOnly};
    use super::*;

    const ALL: &str = "CapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n";
    const NO_SYS_ADMIN: &str = "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n";
    const WHOLE: &str = "         0          0 4294967295\n";

    #[test]
    fn a_container_is_told_from_a_machine_and_from_a_service_without_rights() {
        for (what, first, own, uid_map, expected) in [
            ("a machine", ALL, ALL, WHOLE, Machine),
            ("a service without rights", ALL, NO_SYS_ADMIN, WHOLE, Machine),
            ("a container as docker makes it", NO_SYS_ADMIN, NO_SYS_ADMIN, WHOLE, NobodyMayMount),
            ("a container of a user's", ALL, ALL, "0 1000 1\n1 100000 65536\n", OwnMountsOnly),
            ("a container with shifted users", ALL, ALL, "0 100000 65536\n", OwnMountsOnly),
            ("a container of a user's without rights", NO_SYS_ADMIN, NO_SYS_ADMIN, "0 1000 1\n", NobodyMayMount),
            ("what cannot be understood", "", "", "", Machine),
        ] {
            assert_eq!(standing(first, own, uid_map), expected, "{what}");
        }
    }
}
