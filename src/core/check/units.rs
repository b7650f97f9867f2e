//! What works by itself: systemd's units where there is systemd, cron where somebody set that up.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::{Finding, Topic, said};

/// The units that are ours: what they are for, and whether they wait to be started by themselves.
const OURS: [(&str, &str, Starts); 4] = [
    ("rokeep-boot.service", "finishes after a start of the machine what a power cut left", Starts::AtBoot),
    ("rokeep-cleanup.timer", "tries again every ten minutes what could not be done at once", Starts::Now),
    ("rokeep-cleanup.service", "is what that timer starts", Starts::WhenAsked),
    (WATCH, "ends the session of an apt that was killed", Starts::WhenAsked),
];

/// systemd shows a template only by an instance. This one is not started by that.
const WATCH: &str = "rokeep-watch@1.service";

/// Those that run apt.
const OF_APT: [&str; 4] =
    ["apt-daily.service", "apt-daily-upgrade.service", "packagekit.service", "unattended-upgrades.service"];

/// Every property that is asked for (systemd.exec(5), org.freedesktop.systemd1(5)).
pub const PROPERTIES: [&str; 31] = [
    "Id",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "DropInPaths",
    "CapabilityBoundingSet",
    "ExecStartPre",
    "ExecStartPost",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateMounts",
    "ProtectSystem",
    "ProtectHome",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ProtectProc",
    "ProcSubset",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "InaccessiblePaths",
    "ExecPaths",
    "NoExecPaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "TemporaryFileSystem",
    "RootDirectory",
    "RootImage",
    "MountImages",
    "ExtensionImages",
];

/// Where these begin in [`PROPERTIES`], a value other than "no" and "default" gives a unit mounts of its own.
const FIRST_OF_CONFINEMENT: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starts {
    AtBoot,
    Now,
    WhenAsked,
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Who starts what.
    pub init: Init,
}

/// Who starts what.
#[derive(Debug)]
pub enum Init {
    /// systemd, and what it says of the units ([`units`]).
    Systemd(Vec<Unit>),
    /// systemd, which could not be asked.
    Silent(String),
    /// Something else; and whether cron is told to run the cleanup.
    Another(Cron),
}

/// Whether cron is told to run the cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cron {
    /// It is.
    Runs,
    /// It is not, as far as can be seen.
    RunsNot,
    /// There is no cron.
    Absent,
}

/// What the package tells cron.
const CRON: &str = include_str!("../../../debian/rokeep.cron.d");

/// What systemd says of a unit: its properties.
pub type Unit = BTreeMap<String, String>;

/// All units to ask for.
pub fn units() -> impl Iterator<Item = &'static str> {
    OURS.iter().map(|(name, ..)| *name).chain(OF_APT)
}

/// Reads what `systemctl show` says of several units: `Name=value` lines, an empty line between two units.
pub fn parse(shown: &[u8]) -> Vec<Unit> {
    let text = String::from_utf8_lossy(shown);
    let read = |shown: &str| {
        let mut unit = Unit::new();
        for (name, value) in shown.lines().filter_map(|line| line.split_once('=')) {
            // One that is there more than once, as ExecStartPre= may be, has a line for each.
            let values = unit.entry(name.to_owned()).or_default();
            values.push_str(if values.is_empty() { "" } else { "\n" });
            values.push_str(value);
        }
        unit
    };
    text.split("\n\n").map(read).filter(|unit| !unit.is_empty()).collect()
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::Units;
    match &facts.init {
        Init::Systemd(units) => of_systemd(units),
        Init::Silent(why) => {
            vec![
                topic.unknown(format!("systemd could not be asked about its units: {why}")).command("systemctl status"),
            ]
        }
        Init::Another(Cron::Runs) => {
            vec![topic.ok("there is no systemd here: the hooks do their work, rokeep watches apt by itself, and cron runs the cleanup")]
        }
        Init::Another(Cron::RunsNot) => {
            let what = "there is no systemd here: the hooks do their work and rokeep watches apt by itself, but what is still \
                        in use when apt is done is not tried again before the next package run";
            let line = CRON.lines().next_back().unwrap_or_default();
            vec![topic.attention(what).command(format!("echo '{line}' > /etc/cron.d/rokeep"))]
        }
        // Usual in a container, where somebody else may start it.
        Init::Another(Cron::Absent) => {
            vec![topic.attention(
                "there is no systemd here, and no cron: what is still in use when apt is done is tried again with the next \
                 package run, or with \"rokeep cleanup\"",
            )]
        }
    }
}

fn of_systemd(units: &[Unit]) -> Vec<Finding> {
    let topic = Topic::Units;
    let named = |name: &str| units.iter().find(|unit| value(unit, "Id") == name);
    let mut findings = Vec::new();
    for (name, purpose, starts) in OURS {
        let shown = name.replace("@1.", "@.");
        match named(name) {
            Some(unit) => findings.extend(ours(unit, &shown, purpose, starts)),
            None => findings.push(topic.unknown(format!("systemd says nothing of {shown}, which {purpose}"))),
        }
    }
    if findings.is_empty() {
        findings.push(topic.ok("boot unit and timer are enabled; none is kept from the mounts"));
    }
    findings.extend(OF_APT.into_iter().filter_map(named).flat_map(of_apt));
    findings
}

fn value<'a>(unit: &'a Unit, name: &str) -> &'a str {
    unit.get(name).map_or("", String::as_str)
}

fn ours(unit: &Unit, name: &str, purpose: &str, starts: Starts) -> Vec<Finding> {
    let topic = Topic::Units;
    let is = |property: &str, wanted: &str| value(unit, property) == wanted;
    if is("LoadState", "masked") {
        let what = format!("{name} is masked: nothing {purpose}");
        return vec![topic.broken(what).command(format!("systemctl unmask {name} && systemctl daemon-reload"))];
    }
    if !is("LoadState", "loaded") {
        let what =
            format!("systemd cannot load {name} ({}): nothing {purpose}", said(value(unit, "LoadState").as_bytes()));
        return vec![topic.broken(what).reinstall()];
    }
    let mut findings = Vec::new();
    let is_enabled = matches!(value(unit, "UnitFileState"), "enabled" | "enabled-runtime" | "static" | "generated");
    match starts {
        Starts::AtBoot if !is_enabled => {
            let what = format!("{name} is not enabled: nothing {purpose}");
            findings.push(topic.broken(what).command(format!("systemctl enable {name}")));
        }
        Starts::Now if !is_enabled || !is("ActiveState", "active") => {
            let how = if is_enabled { "does not run" } else { "is not enabled" };
            let what = format!("{name} {how}: nothing {purpose}");
            findings.push(topic.broken(what).command(format!("systemctl enable --now {name}")));
        }
        Starts::AtBoot | Starts::Now | Starts::WhenAsked => {}
    }
    if is("ActiveState", "failed") {
        let what = format!("{name} has failed: a mount may not be as it should be");
        findings.push(topic.attention(what).command("rokeep status"));
    }
    findings.extend(confined(unit, name));
    findings.extend(deprived(unit).then(|| {
        let what = format!("{name} was deprived of CAP_SYS_ADMIN: it cannot remount anything");
        topic.broken(what).advice(remove_setting(unit, name, "CapabilityBoundingSet="))
    }));
    findings
}

/// What gives a unit of ours a mount namespace of its own: it would close its private copy of a mount.
fn confined(unit: &Unit, name: &str) -> Option<Finding> {
    let settings: Vec<String> = confinement(unit).map(|setting| format!("{setting}=")).collect();
    let first = settings.first()?;
    let what = format!(
        "{name} has mounts of its own ({}): what it closes there stays open for everybody else",
        settings.join(", ")
    );
    Some(Topic::Units.broken(what).advice(remove_setting(unit, name, first)))
}

fn confinement(unit: &Unit) -> impl Iterator<Item = &'static str> {
    let names = PROPERTIES.iter().skip(FIRST_OF_CONFINEMENT).copied();
    names.filter(|name| !matches!(value(unit, name), "" | "no" | "default" | "all"))
}

/// systemd shows the set in small letters; a set that could not be seen takes nothing away.
fn deprived(unit: &Unit) -> bool {
    let set = value(unit, "CapabilityBoundingSet");
    !set.is_empty() && !set.split(' ').any(|one| one.eq_ignore_ascii_case("cap_sys_admin"))
}

fn remove_setting(unit: &Unit, name: &str, setting: &str) -> String {
    let drop_ins = said(value(unit, "DropInPaths").as_bytes());
    let from = if drop_ins.is_empty() { format!("its unit file (\"systemctl cat {name}\")") } else { drop_ins };
    format!("remove {setting} from {from}, then \"systemctl daemon-reload\"")
}

/// A service that runs apt, where it is there.
fn of_apt(unit: &Unit) -> Vec<Finding> {
    let (topic, name) = (Topic::Units, said(value(unit, "Id").as_bytes()));
    if value(unit, "LoadState") != "loaded" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if deprived(unit) {
        let what =
            format!("{name} runs apt without CAP_SYS_ADMIN: its package runs are stopped, as no mount can be opened");
        findings.push(topic.broken(what).advice(remove_setting(unit, &name, "CapabilityBoundingSet=")));
    }
    let read_only: Vec<&str> = confinement(unit)
        .filter(|setting| matches!(*setting, "ProtectSystem" | "ReadOnlyPaths" | "InaccessiblePaths" | "RootImage"))
        .collect();
    if let Some(setting) = read_only.first() {
        let what = format!(
            "{name} runs apt with {setting}={}: for it alone mounts are read-only that packages have to be written to",
            said(value(unit, setting).as_bytes())
        );
        findings.push(topic.attention(what).advice(remove_setting(unit, &name, &format!("{setting}="))));
    }
    for property in ["ExecStartPre", "ExecStartPost"] {
        let command = value(unit, property);
        if command.contains("remount") {
            let what = format!(
                "{name} remounts by itself ({property}=), as Debian's wiki page ReadonlyRoot has it: apt finds the mount \
                 writable, rokeep leaves it alone, and it stays writable if it is busy afterwards"
            );
            findings.push(topic.broken(what).advice(remove_setting(unit, &name, &format!("{property}="))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;

    fn shown(name: &str, changes: &[(&str, &str)]) -> Unit {
        let usual = [
            ("Id", name),
            ("LoadState", "loaded"),
            ("ActiveState", if name.ends_with(".timer") { "active" } else { "inactive" }),
            ("UnitFileState", "enabled"),
            ("CapabilityBoundingSet", "cap_dac_override cap_sys_admin"),
            ("ProtectSystem", "no"),
            ("ProtectProc", "default"),
            ("ProcSubset", "all"),
        ];
        usual.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// All of them, and one as it is given.
    fn with(name: &str, changes: &[(&str, &str)]) -> Vec<Finding> {
        let change = |unit: &str| if unit == name { shown(unit, changes) } else { shown(unit, &[]) };
        find(&Facts { init: Init::Systemd(units().map(change).collect()) })
    }

    #[test]
    fn as_they_should_be_there_is_one_thing_to_say() {
        assert_eq!(with("", &[]).iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Ok]);
    }

    #[test]
    fn what_is_wrong_with_a_unit_is_said_and_put_right() {
        let drop_in = ("DropInPaths", "/etc/systemd/system/x.d/y.conf");
        for (name, changes, state, says) in [
            (
                "rokeep-boot.service",
                &[("UnitFileState", "disabled")][..],
                State::Broken,
                "systemctl enable rokeep-boot",
            ),
            (
                "rokeep-cleanup.timer",
                &[("ActiveState", "inactive")],
                State::Broken,
                "enable --now rokeep-cleanup.timer",
            ),
            ("rokeep-cleanup.timer", &[("UnitFileState", "disabled")], State::Broken, "is not enabled"),
            ("rokeep-cleanup.service", &[("ActiveState", "failed")], State::Attention, "rokeep status"),
            ("rokeep-cleanup.timer", &[("LoadState", "masked")], State::Broken, "unmask rokeep-cleanup.timer"),
            (WATCH, &[("LoadState", "not-found")], State::Broken, "cannot load rokeep-watch@.service"),
            (
                WATCH,
                &[("ProtectSystem", "full"), drop_in],
                State::Broken,
                "ProtectSystem= from /etc/systemd/system/x.d/y",
            ),
            (WATCH, &[("PrivateTmp", "yes")], State::Broken, "mounts of its own (PrivateTmp=)"),
            (WATCH, &[("ReadOnlyPaths", "/usr")], State::Broken, "ReadOnlyPaths="),
            (WATCH, &[("CapabilityBoundingSet", "cap_kill")], State::Broken, "deprived of CAP_SYS_ADMIN"),
            ("apt-daily.service", &[("CapabilityBoundingSet", "cap_kill")], State::Broken, "without CAP_SYS_ADMIN"),
            ("packagekit.service", &[("ProtectSystem", "full")], State::Attention, "ProtectSystem=full"),
            (
                "apt-daily-upgrade.service",
                &[("ExecStartPre", "{ path=/bin/mount ; argv[]=/bin/mount -o remount,rw / ; ignore_errors=no }")],
                State::Broken,
                "ReadonlyRoot",
            ),
        ] {
            let found = with(name, changes);
            let bad: Vec<_> = found.iter().filter(|finding| finding.state != State::Ok).collect();
            let [finding] = &bad[..] else { panic!("{name} {changes:?}: {found:#?}") };
            assert_eq!(finding.state, state, "{finding:#?}");
            assert!(format!("{finding:?}").contains(says) && finding.fix.is_some(), "{finding:#?}");
        }
    }

    /// apt's services may have mounts of their own: what dpkg writes there is written everywhere.
    #[test]
    fn what_does_no_harm_is_not_said() {
        for (name, changes) in [
            ("apt-daily-upgrade.service", &[("PrivateTmp", "yes")][..]),
            ("packagekit.service", &[("LoadState", "not-found"), ("CapabilityBoundingSet", "cap_kill")]),
        ] {
            assert_eq!(with(name, changes).len(), 1, "{name}");
        }
    }

    #[test]
    fn units_are_told_apart_by_empty_lines() {
        let all = parse(b"Id=a.service\nExecStartPre={ path=/x ; argv[]=/x a=b }\n\nId=b.timer\n");
        assert_eq!(all.iter().map(|unit| value(unit, "Id")).collect::<Vec<_>>(), ["a.service", "b.timer"]);
        assert_eq!(value(&all[0], "ExecStartPre"), "{ path=/x ; argv[]=/x a=b }");
    }

    #[test]
    fn without_systemd_cron_may_do_it() {
        let states = |init| find(&Facts { init }).iter().map(Finding::needs_somebody).collect::<Vec<_>>();
        assert_eq!(states(Init::Another(Cron::Runs)), [false]);
        assert_eq!(states(Init::Another(Cron::RunsNot)), [true]);
        assert_eq!(states(Init::Silent("x".into())), [true]);
    }
}
