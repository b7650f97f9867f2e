//! What the kernel can do, and what is lost where it cannot.
#![forbid(unsafe_code)]

use super::{Finding, Topic, said};

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// uname(2), `release`.
    pub release: String,
    /// Each feature that was asked for, and the kernel's answer.
    pub probes: Vec<(Feature, Probe)>,
    /// Whether /proc may show processes to nobody but who may trace them, and so not to us.
    pub hides_processes: bool,
    /// Whether the settings have every cleanup look deeper.
    pub deep: bool,
}

/// What rokeep makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// mount_setattr(2), Linux 5.12.
    ChangeOneMount,
    /// fanotify_mark(2), `FAN_MARK_EVICTABLE`, Linux 5.19.
    EvictableMarks,
    /// ioctl_nsfs(2), `NS_MNT_GET_NEXT`, Linux 6.12.
    ListMountNamespaces,
    /// fcntl(2), `F_SETLEASE`, and `fs.leases-enable`.
    Leases,
    /// open_by_handle_at(2), `CONFIG_FHANDLE`.
    FileHandles,
    /// proc_pid_map_files(5).
    MapFiles,
}

/// The kernel's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It can.
    Can,
    /// It cannot.
    Cannot,
    /// It does not say so to this process, and why.
    NotToUs(String),
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let (topic, release) = (Topic::Kernel, said(facts.release.as_bytes()));
    match version(&facts.release) {
        Some(version) if version < (5, 8) => {
            let what = format!("this is Linux {release}, and rokeep needs 5.8");
            return vec![topic.broken(what).advice("run a newer kernel")];
        }
        Some(_) | None => {}
    }
    let mut findings: Vec<Finding> =
        facts.probes.iter().filter_map(|(feature, probe)| lacking(*feature, probe, facts.deep)).collect();
    if facts.hides_processes {
        let what = "/proc hides processes (hidepid) from whoever has no CAP_SYS_PTRACE, as this process: what they may use is kept";
        findings
            .push(topic.unknown(what).advice("ask as root; without that right, have /proc mounted without hidepid"));
    }
    if findings.iter().all(|finding| !finding.needs_somebody()) {
        findings.insert(0, topic.ok(format!("Linux {release} can do what rokeep needs")));
    }
    findings
}

fn lacking(feature: Feature, probe: &Probe, deep: bool) -> Option<Finding> {
    let topic = Topic::Kernel;
    match (feature, probe) {
        (_, Probe::Can) => None,
        (Feature::ChangeOneMount, Probe::Cannot) => Some(
            topic
                .attention("it cannot change one mount by itself (mount_setattr, Linux 5.12): where a file system has to stay \
                            writable, its mounts in other mount namespaces cannot be closed")
                .advice("run a newer kernel"),
        ),
        (Feature::EvictableMarks, Probe::Cannot) if deep => Some(
            topic
                .broken("it has no evictable marks (Linux 5.19), and cleanup = \"deep\" in the settings asks for them")
                .advice("run a newer kernel, or take that line out of /etc/rokeep/config.toml"),
        ),
        (Feature::EvictableMarks, Probe::Cannot) => {
            Some(topic.ok("it has no evictable marks (Linux 5.19): \"rokeep cleanup --deep\" does not work here"))
        }
        (Feature::ListMountNamespaces, Probe::Cannot) => Some(topic.ok(
            "it does not list mount namespaces (Linux 6.12): a mount in one that no process is in is not found",
        )),
        // Only who is in the machine's first pid namespace is told.
        (Feature::ListMountNamespaces, Probe::NotToUs(_)) => Some(topic.ok(
            "it does not list mount namespaces to a container, nor to who is not root: a mount in one that no process is in is \
             not found",
        )),
        (Feature::Leases, Probe::Cannot) => Some(
            topic
                .attention("it gives no leases on files: a file in flight between two processes looks free")
                .command("sysctl fs.leases-enable=1"),
        ),
        (Feature::FileHandles, Probe::Cannot) => Some(
            topic
                .attention("it opens no file by its handle (CONFIG_FHANDLE): what is in use under a name that is gone gets no alias")
                .advice("run a kernel that was built with CONFIG_FHANDLE"),
        ),
        (Feature::MapFiles, Probe::Cannot) => Some(
            topic
                .attention("it has no /proc/PID/map_files: what is mapped under a name that is gone gets no alias")
                .advice("run a kernel that was built with CONFIG_CHECKPOINT_RESTORE, or a newer one"),
        ),
        (Feature::EvictableMarks, Probe::NotToUs(_)) if !deep => None,
        (feature, Probe::NotToUs(why)) => {
            let about = match feature {
                Feature::ChangeOneMount => "change one mount by itself",
                Feature::EvictableMarks => "look deeper, as cleanup = \"deep\" asks",
                Feature::ListMountNamespaces => "list mount namespaces",
                Feature::Leases => "give leases on files",
                Feature::FileHandles => "open a file by its handle",
                Feature::MapFiles => "show what is mapped",
            };
            Some(topic.unknown(format!("whether it can {about} could not be asked: {}", said(why.as_bytes()))))
        }
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Feature::{ChangeOneMount, EvictableMarks, FileHandles, Leases, ListMountNamespaces, MapFiles};
    use super::*;
    use crate::core::check::State;

    const ALL: [Feature; 6] = [ChangeOneMount, EvictableMarks, ListMountNamespaces, Leases, FileHandles, MapFiles];

    fn facts(release: &str, other: Option<(Feature, Probe)>) -> Facts {
        let mut probes: Vec<_> = ALL.map(|feature| (feature, Probe::Can)).into();
        probes.extend(other);
        Facts { release: release.to_owned(), probes, hides_processes: false, deep: false }
    }

    #[test]
    fn what_is_lost_is_said() {
        let not_to_us = Probe::NotToUs("Operation not permitted".into());
        for (facts, state, needs_somebody) in [
            (facts("6.18.5", None), State::Ok, false),
            (facts("6.1.0-37-amd64", Some((ListMountNamespaces, Probe::Cannot))), State::Ok, false),
            (facts("6.18.5", Some((ListMountNamespaces, not_to_us.clone()))), State::Ok, false),
            (facts("5.10.0", Some((EvictableMarks, Probe::Cannot))), State::Ok, false),
            (Facts { deep: true, ..facts("5.10.0", Some((EvictableMarks, Probe::Cannot))) }, State::Broken, true),
            (facts("5.10.0-30-amd64", Some((ChangeOneMount, Probe::Cannot))), State::Attention, true),
            (facts("6.1.0", Some((Leases, Probe::Cannot))), State::Attention, true),
            (facts("6.1.0", Some((FileHandles, not_to_us))), State::Unknown, true),
            (Facts { hides_processes: true, ..facts("6.1.0", None) }, State::Unknown, true),
            (facts("5.4.0", None), State::Broken, true),
        ] {
            let found = find(&facts);
            assert!(found.iter().any(|finding| finding.state == state), "{facts:#?}: {found:#?}");
            assert_eq!(found.iter().any(Finding::needs_somebody), needs_somebody, "{facts:#?}: {found:#?}");
        }
    }

    #[test]
    fn a_release_has_a_version() {
        assert_eq!(version("5.10.0-30-amd64"), Some((5, 10)));
        assert_eq!(version("6.18-rc1"), Some((6, 18)));
        assert_eq!(version("x"), None);
    }
}
