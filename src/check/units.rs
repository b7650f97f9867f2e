//! Who starts what by itself.

use std::path::Path;
use std::process::Command;

use super::{config_file, consists_of_letters_digits_and};
use crate::core::check::units::{Cron, Facts, Init, PROPERTIES, parse, units};
use crate::sys::files::Root;
use crate::sys::{children, program, seen};

/// systemd's units, or cron's tables.
pub fn look(root: &Root) -> Facts {
    // Who may not look is in none, as far as he knows.
    let init = if root.path("/run/systemd/system").is_dir() && program::is_in_a_chroot() != Some(true) {
        systemd()
    } else {
        Init::Another(cron(root))
    };
    Facts { init }
}

fn systemd() -> Init {
    let mut command = Command::new("/usr/bin/systemctl");
    let properties = format!("--property={}", PROPERTIES.join(","));
    match children::answers_soon(command.args(["--no-pager", "show", &properties]).args(units())) {
        Ok(said) if said.status.success() => Init::Systemd(parse(&said.output)),
        Ok(said) => {
            let errors = String::from_utf8_lossy(&said.errors).into_owned();
            Init::Silent(crate::core::message::text(errors.lines().next().unwrap_or("it does not say why")))
        }
        Err(error) => Init::Silent(error.to_string()),
    }
}

/// cron(8) and run-parts(8) pass over files with other names.
fn cron(root: &Root) -> Cron {
    let in_directories = ["/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily"].into_iter().flat_map(|dir| {
        seen::names(&root.path(dir))
            .into_iter()
            .filter(|name| consists_of_letters_digits_and(b"_-", name))
            .map(move |name| Path::new(dir).join(name).to_string_lossy().into_owned())
    });
    let tables = ["/etc/crontab", "/var/spool/cron/crontabs/root"].map(str::to_owned).into_iter().chain(in_directories);
    let runs = |text: &[u8]| {
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
        lines.any(|line| {
            let line = String::from_utf8_lossy(line);
            let words: Vec<&str> = line.split_whitespace().collect();
            words.windows(2).any(|pair| matches!(pair, [program, "cleanup"] if program.ends_with("rokeep")))
        })
    };
    let daemons = ["/usr/sbin/cron", "/usr/sbin/crond", "/usr/sbin/fcron", "/usr/bin/crond"];
    if !daemons.iter().any(|daemon| root.path(daemon).exists()) {
        return Cron::Absent;
    }
    let mut files = tables.filter_map(|path| config_file(root, &path));
    if files.any(|file| runs(&file.text)) { Cron::Runs } else { Cron::RunsNot }
}
