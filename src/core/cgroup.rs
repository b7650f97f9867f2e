//! `/proc/PID/cgroup` (cgroups(7)): which systemd unit a process belongs to.
#![forbid(unsafe_code)]

/// Where systemd has put a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The system's unit: the outermost one, which the system's systemd made and can restart.
    pub unit: &'a str,
    /// The number of the user whose slice it is in.
    pub user: Option<u32>,
    /// The unit of that user's own systemd, inside of `user@.service`.
    pub user_unit: Option<&'a str>,
}

/// Reads where it is; `None` where systemd put it nowhere.
///
/// systemd makes a unit's group directly in slices (systemd.slice(5)); what is in any other group, as a container's, is not
/// the system's. What is inside of a unit may be named by whoever runs there: a user's own service, or anything at all in a
/// delegated group. Only what systemd.unit(5) allows in a name is believed, since people paste it into a shell.
pub fn place(cgroup: &str) -> Option<Place<'_>> {
    cgroup.lines().find_map(|line| {
        let (hierarchy, path) = line.split_once(':')?.1.split_once(':')?;
        // The unified hierarchy, or the one that systemd has to itself where there are others.
        let is_systemds = hierarchy.is_empty() || hierarchy == "name=systemd";
        is_systemds.then(|| place_in(path)).flatten()
    })
}

fn place_in(path: &str) -> Option<Place<'_>> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let mut user = None;
    let unit = parts.by_ref().find(|part| {
        user = user.or_else(|| part.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok());
        !is_slice(part)
    });
    let unit = unit.filter(|part| is_unit(part))?;
    let has_own_systemd = unit.starts_with("user@");
    let user_unit = parts.find(|part| !is_slice(part)).filter(|part| has_own_systemd && is_unit(part));
    Some(Place { unit, user, user_unit })
}

fn is_slice(part: &str) -> bool {
    part.ends_with(".slice")
}

/// One with a hyphen in front would be an option to whatever command it is pasted behind.
fn is_unit(part: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b":-_.@\\".contains(&b);
    (part.ends_with(".service") || part.ends_with(".scope")) && !part.starts_with('-') && part.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_unit_counts() {
        for (cgroup, expected) in [
            ("0::/system.slice/ssh.service\n", Some("ssh.service")),
            ("0::/init.scope\n", Some("init.scope")),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", Some("session-3.scope")),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service\n", Some("user@1000.service")),
            ("0::/system.slice/system-getty.slice/getty@tty1.service\n", Some("getty@tty1.service")),
            ("12:cpu:/\n1:name=systemd:/system.slice/cron.service\n", Some("cron.service")),
            ("4:freezer:/system.slice/mine.service\n1:name=systemd:/system.slice/cron.service\n", Some("cron.service")),
            ("0::/docker/0123abc/system.slice/ssh.service\n", None),
            ("0::/../../system.slice/ssh.service\n", None),
            ("0::/system.slice/-H.service\n", None),
            ("0::/;reboot;.service\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(place(cgroup).map(|place| place.unit), expected, "{cgroup:?}");
        }
    }

    #[test]
    fn in_a_user_s_slice_the_user_is_known_and_their_own_unit() {
        for (path, user, user_unit) in [
            ("user.slice/user-1000.slice/session-3.scope", Some(1000), None),
            ("user.slice/user-1000.slice/user@1000.service/init.scope", Some(1000), Some("init.scope")),
            ("user.slice/user-7.slice/user@7.service/app.slice/app-x.slice/x.service", Some(7), Some("x.service")),
            ("user.slice/user-7.slice/user@7.service/app.slice/a b.service", Some(7), None),
            ("system.slice/ssh.service/user-0.slice/user@0.service/x.service", None, None),
        ] {
            let cgroup = format!("0::/{path}\n");
            let place = place(&cgroup).expect("a place");
            assert_eq!((place.user, place.user_unit), (user, user_unit), "{path}");
        }
    }
}
