//! What makes a holder let go: a command where there is one that is safe to copy, words where there is none.
#![forbid(unsafe_code)]

mod units;

use std::path::Path;

use serde::ser::{Serialize, SerializeStruct, Serializer};

pub use self::units::{is_the_session, unit};
use super::shell;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Type this.
    Command {
        /// For a shell, as it is.
        command: String,
        /// What to know before.
        note: Option<&'static str>,
    },
    /// Do without, if you can wait; typing this costs more than it seems to.
    Costly {
        /// What does it too.
        instead: String,
        /// For a shell, as it is.
        command: String,
        /// What it costs.
        cost: String,
    },
    /// Nothing that could be typed, or only something that depends.
    Advice(String),
    /// It lets go by itself, soon.
    Itself,
}

/// As `status --json` has it.
impl Serialize for Remedy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Remedy::Command { .. } => "command",
            Remedy::Costly { .. } => "costly",
            Remedy::Advice(_) => "advice",
            Remedy::Itself => "wait",
        };
        let mut form = serializer.serialize_struct("Remedy", 3)?;
        form.serialize_field("kind", kind)?;
        form.serialize_field("command", &self.command())?;
        form.serialize_field("text", &self.text())?;
        form.end()
    }
}

impl Remedy {
    /// The command, if there is one.
    pub fn command(&self) -> Option<&str> {
        match self {
            Remedy::Command { command, .. } | Remedy::Costly { command, .. } => Some(command),
            Remedy::Advice(_) | Remedy::Itself => None,
        }
    }

    /// The words before the command and those after it.
    pub fn words(&self) -> (String, String) {
        match self {
            Remedy::Command { note, .. } => (String::new(), note.map(|note| format!("({note})")).unwrap_or_default()),
            Remedy::Costly { instead, cost, .. } => (format!("{instead}, or"), format!("({cost})")),
            Remedy::Advice(words) => (words.clone(), String::new()),
            Remedy::Itself => ("nothing to do, it ends by itself".to_owned(), String::new()),
        }
    }

    /// All of it in one line.
    pub fn text(&self) -> String {
        let (before, after) = self.words();
        let parts = [&before, self.command().unwrap_or_default(), &after];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Where it is the restart of a service of the system, and there is nothing else to know: the service, as a word for a
    /// shell.
    pub fn restarted(&self) -> Option<&str> {
        match self {
            Remedy::Command { command, note: None } => command.strip_prefix(RESTART),
            Remedy::Command { note: Some(_), .. } | Remedy::Costly { .. } | Remedy::Advice(_) | Remedy::Itself => None,
        }
    }
}

const RESTART: &str = "systemctl restart ";

/// For a unit of a user's own systemd. Both names were found to be safe.
pub fn user_unit(user: &str, unit: &str) -> Remedy {
    match (shell::word(user), shell::word(unit)) {
        (Some(user), Some(unit)) => command(&format!("systemctl --user -M {user}@ restart {unit}")),
        _ => by_hand(),
    }
}

/// For all that a user runs in sessions: the name as a person says it, and as loginctl(1) does.
pub fn session(person: &str, word: &str) -> Remedy {
    Remedy::Costly {
        instead: format!("{person} logs out and in"),
        command: format!("loginctl terminate-user {word}"),
        cost: format!("which ends all that {person} runs"),
    }
}

/// For processes that no unit is known of.
pub fn processes() -> Remedy {
    by_hand()
}

/// For the process that started all others, if no unit is known of it.
pub fn first_process(name: &str) -> Remedy {
    match name {
        "systemd" => command("systemctl daemon-reexec"),
        "init" => command("telinit u"),
        _ => Remedy::Advice("it lasts as long as the system, or the container: restart that".to_owned()),
    }
}

/// For a mount of it at this path, as processes see it that have this process's mounts; ours without one.
pub fn mount(at: &Path, inside: Option<i32>) -> Remedy {
    let Some(path) = at.to_str().and_then(shell::word) else {
        return Remedy::Advice("unmount it (its name cannot be shown as it is)".to_owned());
    };
    match inside {
        None => command(&format!("umount {path}")),
        // No command: what umount is in there is for whoever made the namespace to say.
        Some(_) => Remedy::Advice("it ends with its processes, or has to be unmounted in there".to_owned()),
    }
}

/// For a loop device.
pub fn loop_device(name: &str) -> Remedy {
    match shell::word(name) {
        Some(name) => noted(format!("losetup -d /dev/{name}"), "unmount first what is mounted from it"),
        None => Remedy::Advice("detach it (losetup)".to_owned()),
    }
}

/// For a file that is swapped to, by a name that leads to it. Its own may lead to another file by now.
pub fn swap(alias: &Path) -> Remedy {
    match alias.to_str().and_then(shell::word) {
        Some(path) => command(&format!("swapoff {path}")),
        None => Remedy::Advice("swapoff -a".to_owned()),
    }
}

/// For a rule of binfmt_misc that was registered with the flag F: the kernel opened the interpreter then.
pub fn interpreter(rule: &str) -> Remedy {
    match shell::word(rule) {
        Some(rule) => noted(
            format!("echo -1 > /proc/sys/fs/binfmt_misc/{rule}"),
            "then register it again: restart systemd-binfmt.service or binfmt-support.service",
        ),
        None => Remedy::Advice("take the rule away (/proc/sys/fs/binfmt_misc)".to_owned()),
    }
}

/// For what nobody shows.
pub fn unseen() -> Remedy {
    let may_be = "a file in flight between two processes, an NFS export, a Landlock rule, a probe";
    Remedy::Advice(format!("it ends with whatever has it ({may_be}), at the latest with a reboot"))
}

fn by_hand() -> Remedy {
    Remedy::Advice("restart it, or end it".to_owned())
}

fn command(command: &str) -> Remedy {
    Remedy::Command { command: command.to_owned(), note: None }
}

fn noted(command: String, note: &'static str) -> Remedy {
    Remedy::Command { command, note: Some(note) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_given_nothing_that_it_would_misunderstand() {
        assert_eq!(mount(Path::new("/a b"), None).text(), "umount '/a b'");
        assert_eq!(mount(Path::new("/a b"), Some(7)).command(), None, "it would run what is in there");
        assert_eq!(mount(Path::new("/a\nb"), None).command(), None);
        assert_eq!(interpreter("a;b").command(), Some("echo -1 > /proc/sys/fs/binfmt_misc/'a;b'"));
        assert_eq!(interpreter("\u{1b}[2J").command(), None);
        assert_eq!(user_unit("alice", "-H.service").command(), None);
    }

    #[test]
    fn only_a_plain_restart_may_be_joined_with_others() {
        assert_eq!(unit("ssh.service").restarted(), Some("ssh.service"));
        for other in [unit("dbus.service"), unit("getty@tty1.service"), unit("init.scope"), unseen()] {
            assert_eq!(other.restarted(), None, "{other:?}");
        }
    }
}
