//! Holders that are no processes, or that nobody sees.

use std::path::Path;
use std::process::Command;

use super::super::status::Status;
use super::{Run, Small};

impl Small {
    /// Somebody mounts a file at another place as well.
    pub fn bind_file(&self, from: &str, to: &str) {
        self.write(to, b"");
        self.run_helper(&["bind", from], Path::new(to), b"");
    }

    /// From now on /proc shows a process only to who may trace it.
    pub fn hide_processes(&self) {
        self.run_helper(&["mount", "proc", "proc", "hidepid=ptraceable"], Path::new("/proc"), b"");
    }

    /// rokeep is called by a root that may not trace processes.
    pub fn rokeep_without_ptrace<const N: usize>(&self, words: [&str; N]) -> Run {
        let mut command = self.sandbox.command("/tool/holder");
        command.args(["no-ptrace", "/tool/rokeep"]).args(words);
        self.logged(&words.join(" "), self.output(&mut command, b""))
    }

    /// What rokeep would say if it saw the processes of the whole machine: in the world's mount namespace, and in our own
    /// pid namespace. It may have so many files open at a time.
    pub fn status_of_the_machine(&self, descriptors: usize) -> Status {
        let run = |program: &str, words: &[&str]| {
            let init = self.outside("/").parent().map(Path::to_owned).unwrap_or_default();
            let [mounts, root] = [("mount", "ns/mnt"), ("root", "root")].map(|(what, link)| {
                let mut option = std::ffi::OsString::from(format!("--{what}="));
                option.push(init.join(link));
                option
            });
            let mut command = Command::new("prlimit");
            command.arg(format!("--nofile={descriptors}")).arg("nsenter");
            self.output(command.args([mounts, root]).args(["--wd=/", "--", program]).args(words), b"")
        };
        let mounted = run("/tool/holder", &["mount", "proc", "proc", "", "/proc"]);
        self.check(mounted.code == 0, &format!("no proc: {}", String::from_utf8_lossy(&mounted.stderr)));
        let answer = run("/tool/rokeep", &["status", "--json"]);
        self.unmount("/proc");
        let run = self.logged("status", answer);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| self.fail(&format!("no status: {error}")))
    }
}
