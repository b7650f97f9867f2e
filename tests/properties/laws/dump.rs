use std::path::PathBuf;

use rokeep::core::check::apt_hooks::{ConfigFile, Configuration};
use rokeep::core::check::remounts::{Script, paths_named};
use rokeep::core::check::seen::{File, Kind, Object, Seen};
use rokeep::core::check::text::text;
use rokeep::core::check::{Check, FORMAT, Finding, Fix, Verdict, apt, dpkg, fstab, hooks, others, program, units};
use rokeep::core::columns::can_be_shown;
use rokeep::core::page::{Look, Paint};

use super::bounds::in_proportion;

/// Whatever apt, dpkg, systemd and an administrator have written, what `check` says of it is harmless on a terminal, and a
/// command is one that can be shown as it is.
pub fn dump(bytes: &[u8]) {
    let findings = in_proportion(bytes, || of_apt(bytes));
    for found in [findings, of_dpkg(bytes), of_fstab(bytes), of_units(bytes), of_files(bytes)] {
        for finding in &found {
            assert!(can_be_shown(&finding.what), "{finding:?}");
            let Some(Fix::Command(told) | Fix::Advice(told)) = &finding.fix else { continue };
            assert!(can_be_shown(told), "{finding:?}");
        }
        let check = Check { format: FORMAT, version: "1", verdict: Verdict::NotInPlace, findings: found };
        assert!(text(&check, Look { columns: 80, paint: Paint::Plain }).lines().all(can_be_shown));
    }
}

fn file(bytes: &[u8]) -> Seen<File> {
    Seen::There(File { object: Object { kind: Kind::File, mode: 0o755, owner: 0 }, text: bytes.to_vec() })
}

fn script(bytes: &[u8]) -> Option<Script> {
    Some(Script { path: paths_named(bytes).into_iter().next()?, text: bytes.get(..64).unwrap_or(bytes).to_vec() })
}

fn managed() -> Vec<PathBuf> {
    vec!["/usr".into()]
}

fn of_apt(bytes: &[u8]) -> Vec<Finding> {
    let configuration = Configuration::parse(bytes);
    let scripts = configuration.hooks().map(|hook| script(hook.command)).collect();
    let configuration = apt::Dump::Says(configuration);
    apt::find(&apt::Facts { ours: file(b""), configuration, files: Vec::new(), scripts, managed: managed() })
}

fn of_dpkg(bytes: &[u8]) -> Vec<Finding> {
    let others = vec![ConfigFile { path: "/etc/dpkg/dpkg.cfg".into(), text: bytes.to_vec() }];
    let scripts = dpkg::hooks(&others).map(|hook| script(hook.command)).collect();
    dpkg::find(&dpkg::Facts { ours: file(bytes), others, scripts, managed: managed() })
}

fn of_fstab(bytes: &[u8]) -> Vec<Finding> {
    let entries = fstab::parse(bytes);
    let first = entries.first().map_or_else(|| PathBuf::from("/usr"), |entry| entry.point.clone());
    let unit_options = Some(fstab::options_of_unit(bytes));
    let point = |path: &PathBuf| fstab::Point {
        path: path.clone(),
        now: fstab::Now::ReadOnly,
        unit_options: unit_options.clone(),
    };
    let points = [first, "/usr".into(), "/".into()].iter().map(point).collect();
    fstab::find(&fstab::Facts { points, table: Ok(entries), command_line: bytes.to_vec() })
}

fn of_units(bytes: &[u8]) -> Vec<Finding> {
    units::find(&units::Facts { init: units::Init::Systemd(units::parse(bytes)) })
}

fn of_files(bytes: &[u8]) -> Vec<Finding> {
    let program =
        program::find(&program::Facts { found: file(bytes), above: Vec::new(), is_this: None, stand_in: None });
    let scripts = vec![file(bytes); hooks::SHIPPED.len()];
    let hooks = hooks::find(&hooks::Facts {
        scripts,
        above: Vec::new(),
        beside: paths_named(bytes).into_iter().take(9).collect(),
    });
    let installed = Seen::There(others::installed(bytes));
    let needrestart = vec![ConfigFile { path: "/etc/needrestart/needrestart.conf".into(), text: bytes.to_vec() }];
    let others =
        others::find(&others::Facts { installed, configuration: Some(Configuration::parse(bytes)), needrestart });
    [program, hooks, others].concat()
}
