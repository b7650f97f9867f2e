//! `/proc/PID/cgroup` (cgroups(7)): which systemd unit a process belongs to.
#![forbid(unsafe_code)]

/// The system's unit: the outermost one, which the system's systemd made and can restart.
///
/// What is inside of it may be named by whoever runs there: a user's own service, or anything at all in a delegated
/// group. Only what systemd.unit(5) allows in a name is believed, since people paste it into a shell.
pub fn unit(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.split('/').find(|part| is_unit(part)))
}

fn is_unit(part: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b":-_.@\\".contains(&b);
    (part.ends_with(".service") || part.ends_with(".scope")) && part.bytes().all(legal)
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
            ("0::/;reboot;.service\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit(cgroup), expected, "{cgroup:?}");
        }
    }
}
