//! A dpkg that somebody called by itself, and what it calls.

use std::cell::RefCell;

use super::super::order::Order;
use super::{Frontend, Resident, Run, Small};

/// dpkg, from its first hook on. Dropping it kills it, as a signal would: no other hook is called then.
pub struct Dpkg<'a> {
    world: &'a Small,
    process: RefCell<Frontend>,
    setting: String,
    pid: u32,
}

impl Small {
    /// Somebody calls dpkg with these words, in the root directory. `action` is what it calls that itself.
    pub fn dpkg(&self, action: &str, words: &[&str]) -> Dpkg<'_> {
        // A real one makes it before its hooks are called.
        self.write("/var/lib/dpkg/lock", b"");
        let mut command = self.sandbox.command("/tool/dpkg");
        let process = Resident::start(command.args(words).env("DPKG_STAYS", "yes"));
        let (pid, setting) = (process.pid, format!("DPKG_HOOK_ACTION={action}"));
        Dpkg { world: self, process: RefCell::new(Frontend(process)), setting, pid }
    }

    /// apt has dpkg replace a file, and is killed when dpkg has called its first hook and not locked its database yet. That
    /// takes a while, and goes on.
    pub fn apt_dies_before_its_dpkg_locks(&self, file: &str) {
        let env = [&format!("DPKG_UPGRADES={file}"), "DPKG_KILLS=before-it-locks", "DPKG_HOOK_ACTION=install"];
        let words = env.iter().flat_map(|setting| ["/tool/holder", "env", setting]).chain(["/tool/dpkg"]);
        let argv = words.map(|word| word.as_bytes().to_vec()).collect();
        let mut apt = self.frontend.take().expect("an apt");
        let answer = apt.try_carry_out(&Order { argv, stream: None });
        self.check(answer.is_none(), "apt lives");
    }

    /// A hook of a dpkg that the current apt has started, or one of its packages' scripts has.
    pub fn hook_of_apts_dpkg(&self, name: &str) -> Run {
        self.hook_under(&["/tool/dpkg", "runs"], name)
    }
}

impl Dpkg<'_> {
    /// It calls the hook before it does anything, and goes on.
    #[track_caller]
    pub fn begins(&self) -> Run {
        self.hook("dpkg-pre-invoke").assert_code(0)
    }

    /// It calls the hook when it is done. It would fail if that failed.
    #[track_caller]
    pub fn is_done(&self) -> Run {
        self.hook("dpkg-post-invoke").assert_code(0)
    }

    /// It calls a hook.
    pub fn hook(&self, name: &str) -> Run {
        self.hook_under(&[], name)
    }

    /// It calls a hook by way of another program.
    pub fn hook_under(&self, program: &[&str], name: &str) -> Run {
        let env = ["/tool/holder", "env", &self.setting];
        let words = [&env[..], program, &["/tool/rokeep", "hook", name]].concat();
        let argv = words.into_iter().map(|word| word.as_bytes().to_vec()).collect();
        self.world.leaving_alone_what_is_not_its_own(|| {
            let answer = self.process.borrow_mut().carry_out(&Order { argv, stream: None });
            self.world.check(!answer.output_kept_open, "a process that the hook left behind keeps its output");
            self.world.logged(&format!("hook {name}"), answer)
        })
    }

    /// Its process id inside the world.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}
