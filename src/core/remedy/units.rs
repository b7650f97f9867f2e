//! What makes a unit of systemd let go.
//!
//! Restarting a service is what it seems to be for most of them. For a few it costs more than the service: the sessions of
//! people, the connection that they came by, other machines. needrestart (3.6, `override_rc` in its configuration) leaves
//! these alone unless it is asked to, for reasons of many years; so it is said of them here.
#![forbid(unsafe_code)]

use super::{RESTART, Remedy, by_hand, command};
use crate::core::{message, shell};

/// For a unit of the system's systemd that is no user's session.
pub fn unit(unit: &str) -> Remedy {
    let Some(word) = shell::word(unit) else { return by_hand() };
    if unit == "init.scope" {
        return command("systemctl daemon-reexec");
    }
    let Some(name) = unit.strip_suffix(".service") else {
        // What systemd has not started it cannot start again.
        return Remedy::Advice(format!("end or restart what runs in {}", message::text(unit)));
    };
    let restart = format!("{RESTART}{word}");
    let base = name.split('@').next().unwrap_or(name);
    let among = |names: &[&str]| names.contains(&base);
    let costly = |cost: &str| {
        let (instead, cost) = ("reboot".to_owned(), cost.to_owned());
        Remedy::Costly { instead, command: restart.clone(), cost }
    };
    if among(&END_BY_THEMSELVES) || name.starts_with("rokeep-") {
        return Remedy::Itself;
    }
    if among(&SESSIONS) {
        return costly("which may end every session here");
    }
    if among(&CONNECTIONS) {
        return costly("which may cut the connection you came by");
    }
    if among(&GUESTS) {
        return costly("which may stop containers and virtual machines");
    }
    let note = if among(&LOGINS) {
        Some("which ends the session at that terminal")
    } else if base == "unattended-upgrades" {
        Some("but not while it upgrades")
    } else {
        None
    };
    Remedy::Command { command: restart, note }
}

const END_BY_THEMSELVES: [&str; 2] = ["apt-daily", "apt-daily-upgrade"];
const LOGINS: [&str; 4] = ["getty", "serial-getty", "console-getty", "container-getty"];
const SESSIONS: [&str; 19] = [
    "dbus",
    "dbus-broker",
    "display-manager",
    "elogind",
    "emergency",
    "gdm",
    "gdm3",
    "greetd",
    "kdm",
    "lightdm",
    "lxdm",
    "nodm",
    "plasmalogin",
    "rescue",
    "sddm",
    "slim",
    "systemd-logind",
    "wdm",
    "xdm",
];
const CONNECTIONS: [&str; 16] = [
    "NetworkManager",
    "ModemManager",
    "bird",
    "frr",
    "ifup",
    "ipsec",
    "iwd",
    "networking",
    "openvpn",
    "openvpn-client",
    "openvpn-server",
    "quagga",
    "strongswan",
    "strongswan-starter",
    "tinc",
    "wpa_supplicant",
];
const GUESTS: [&str; 8] =
    ["containerd", "docker", "libvirtd", "lxcfs", "virtlockd", "virtlogd", "virtqemud", "xendomains"];

/// Units of a user's own systemd that are the session itself.
pub fn is_the_session(user_unit: &str) -> bool {
    const BEGINNINGS: [&str; 7] =
        ["dbus", "gnome-session", "org.gnome.Shell", "plasma-ksmserver", "plasma-kwin", "wayland-", "xsession"];
    !user_unit.ends_with(".service") || BEGINNINGS.iter().any(|beginning| user_unit.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frees_a_file_depends_on_who_holds_it() {
        for (name, expected) in [
            ("ssh.service", "systemctl restart ssh.service"),
            ("postgresql@15-main.service", "systemctl restart postgresql@15-main.service"),
            ("a\\x2db.service", "systemctl restart 'a\\x2db.service'"),
            ("init.scope", "systemctl daemon-reexec"),
            ("dbus.service", "reboot, or systemctl restart dbus.service (which may end every session here)"),
            ("getty@tty1.service", "systemctl restart getty@tty1.service (which ends the session at that terminal)"),
            ("apt-daily.service", "nothing to do, it ends by itself"),
            ("rokeep-watch@9.service", "nothing to do, it ends by itself"),
            ("machine-x.scope", "end or restart what runs in machine-x.scope"),
        ] {
            assert_eq!(unit(name).text(), expected);
        }
    }
}
