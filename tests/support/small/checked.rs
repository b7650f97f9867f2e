//! A small world in which rokeep is installed as a package would, with an apt that can say what it was told.

use std::path::Path;

use super::Small;
use crate::support::check::Check;

/// What the real apt-config says where there is nothing but rokeep's own file.
const DUMP: &str = include_str!("../../decisions/check/as_it_is_installed/dump");

impl Small {
    /// All that the package brings but its units; cron does their work. /usr is in /etc/fstab.
    pub fn with_everything_in_place(self) -> Small {
        let world = self.with_shell_and_hooks();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (from, to) in [
            ("apt.conf.d/zz-rokeep", "/etc/apt/apt.conf.d/zz-rokeep"),
            ("dpkg.cfg.d/rokeep", "/etc/dpkg/dpkg.cfg.d/rokeep"),
        ] {
            world.write(to, &std::fs::read(tree.join(from)).expect("it is in this tree"));
        }
        world.writably(|| world.write("/usr/sbin/cron", b"a program\n"));
        world.write("/etc/cron.d/rokeep", include_bytes!("../../../debian/rokeep.cron.d"));
        world.write("/etc/fstab", b"/dev/usr /usr ext4 ro,nodev 0 2\n");
        world.has_program(
            "/usr/bin/apt-config",
            "while IFS= read -r line; do printf '%s\\n' \"$line\"; done < /etc/dump",
        );
        world.apt_says("");
        // As the package has it; others left it open when they made this world.
        for private in ["/var/lib/rokeep", "/run/rokeep"] {
            if world.inode(private).is_some() {
                world.writably(|| world.set_mode(private, 0o700));
            }
        }
        world
    }

    /// A script that a shell runs.
    pub fn has_program(&self, path: &str, script: &str) {
        self.writably(|| {
            self.write(path, format!("#!/bin/sh\n{script}\n").as_bytes());
            self.set_mode(path, 0o755);
        });
    }

    /// What apt-config says before what it says of rokeep.
    pub fn apt_says(&self, before: &str) {
        self.write("/etc/dump", format!("{before}{DUMP}").as_bytes());
    }

    /// What `rokeep check --json` says. It says it in the documented form, changes nothing, and its exit code, and what it
    /// says to a person, are what it says there.
    #[track_caller]
    pub fn check_up(&self) -> Check {
        let before = self.mount_table();
        let run = self.rokeep(["check", "--json"]);
        self.check(before == self.mount_table(), "check changed a mount");
        let check = Check::read(&run.stdout)
            .unwrap_or_else(|error| self.fail(&format!("this is not what check --json promises: {error}: {run:?}")));
        self.check(check.format == 1, "check is of another format");
        let in_place = check.verdict == "in-place";
        self.check(run.code == i32::from(!in_place), "check's exit code is not what it says");
        let text = self.rokeep(["check"]);
        self.check(text.code == run.code, "check says one thing to a person and another to a program");
        let says_so = text.stdout.ends_with("\n\neverything is in place\n");
        self.check(says_so == in_place, "check's last line is not what it says");
        check
    }
}
