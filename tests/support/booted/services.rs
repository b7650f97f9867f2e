//! The services of a machine: who runs, since when, and whether they do what they are for.

use super::Machine;
use crate::support::sandbox::Access;

/// A service, in the shape that it has had since it was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its unit.
    pub unit: String,
    /// Its first process.
    pub pid: u32,
}

/// What is to be seen of each that works, by a shell.
const WORK: &[(&str, &str)] = &[
    ("ssh.service", r#"exec 3<>/dev/tcp/127.0.0.1/22; read -r -t 60 line <&3; [[ $line == SSH-2.0-* ]]"#),
    (
        "nginx.service",
        r#"exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.0\r\n\r\n' >&3
        read -r -t 60 line <&3; [[ $line == *" 200 OK"* ]]"#,
    ),
    (
        "clerk.service",
        r#"exec 3<>/dev/tcp/127.0.0.1/7; read -r -t 60 line <&3; [[ $line == "AT YOUR SERVICE e3b0c442" ]]"#,
    ),
    (
        "rsyslog.service",
        r#"logger -t rokeep-test "mark $$"; for _ in {1..300}; do grep -q "mark $$" /var/log/syslog && exit; sleep 0.2; done
        exit 1"#,
    ),
    // Does something once a minute.
    ("cron.service", "kill -0 $(systemctl show --value --property=MainPID cron)"),
];

impl Machine {
    /// The small package is installed, and its program runs as a service.
    pub fn install_tool(&self) {
        self.package_run(&["apt-get", "-y", "install", "/tool/tool_1.deb"]);
        self.start("tool", &["/usr/lib/tool/sleep", "infinity"]);
    }

    /// An upgrade of the small package waits in its postinst, until /run/wait is removed. The process of apt.
    pub fn upgrade_tool_half_way(&self) -> u32 {
        self.sh("rm -f /run/waiting; touch /run/wait");
        let apt = self.start("upgrade", &["apt-get", "-y", "install", "/tool/tool_2.deb"]);
        self.wait_for("[ -e /run/waiting ]");
        self.assert_usr(Access::Writable);
        apt
    }

    /// Every service that runs.
    pub fn services(&self) -> Vec<Service> {
        let script =
            "for unit in $(systemctl list-units --plain --no-legend --type=service --state=running | cut -d ' ' -f 1)
            do echo $unit $(systemctl show --value --property=MainPID $unit); done";
        let said = self.sh(script);
        let service = |line: &str| {
            let (unit, pid) = line.split_once(' ')?;
            Some(Service { unit: unit.to_owned(), pid: pid.parse().ok()? })
        };
        said.lines().map(|line| service(line).unwrap_or_else(|| panic!("not a service: {line:?}"))).collect()
    }

    /// Those that were not started anew since then.
    pub fn same_as_before(&self, before: &[Service]) -> Vec<Service> {
        let now = self.services();
        before.iter().filter(|service| now.contains(service)).cloned().collect()
    }

    /// How many files of /usr were deleted and are in use: they keep the superblock from becoming read-only.
    pub fn deleted_files(&self) -> usize {
        // What a link in /proc leads to, and it has no name any more. What ended meanwhile is no matter.
        let script = "find -L /proc/[0-9]*/exe /proc/[0-9]*/fd /proc/[0-9]*/map_files -maxdepth 1 -type f -links 0 \
            -printf '%D %i\\n' 2>/dev/null | grep \"^$(stat --format=%d /usr) \" | sort -u || true";
        self.sh(script).lines().count()
    }

    /// Each service of a server does what it is for.
    #[track_caller]
    pub fn assert_services_work(&self) {
        for (unit, work) in WORK {
            let run = self.run(&["bash", "-euc", work]);
            assert!(run.code == 0, "{unit} does not do its work: {run:?}");
        }
    }
}
