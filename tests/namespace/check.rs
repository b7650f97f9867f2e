//! Whether everything is in place, asked of real mounts and files. What is said of apt's hooks is decided in
//! `tests/decisions/check`. That every answer keeps to its schema, and changes nothing, is looked at wherever a test asks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::check::Check;
use crate::support::schema;
use crate::support::small::{
    Access::{ReadOnly, Writable, WriteProtected},
    FileSystem::{Exfat, Ext4, Squashfs, Tmpfs},
    Mount, Run, Small,
    State::Mapped,
};

const TOOL: &str = "/usr/bin/tool";
const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";
const SETTINGS: &str = "/etc/rokeep/config.toml";

fn in_place() -> Small {
    Small::ext4().installed("tool", "1", &[TOOL]).with_everything_in_place()
}

#[track_caller]
fn assert_in_place(world: &Small) {
    let check = world.check_up();
    assert_eq!(check.wrong(), [""; 0]);
    assert_eq!(check.verdict, "in-place");
}

#[test]
fn where_everything_is_in_place_that_is_said_in_no_time() {
    let world = in_place();
    assert_in_place(&world);
    let topics: BTreeSet<String> = world.check_up().findings.into_iter().map(|finding| finding.topic).collect();
    let expected = ["apt", "dpkg", "fstab", "hooks", "kernel", "mounts", "program", "settings", "state", "units"];
    assert_eq!(topics, expected.map(String::from).into());
    let time = || {
        let began = Instant::now();
        world.rokeep_runs_under("/tool/rokeep", &["check"]).assert_code(0);
        began.elapsed()
    };
    // Other tests may have the processors meanwhile.
    let times = [(); 5].map(|()| time());
    assert!(times.iter().any(|took| *took < Duration::from_secs(1)), "it took {times:?}");
}

/// Each thing is taken away, found, and put back.
#[test]
fn what_is_missing_is_found() {
    let world = in_place();
    for (path, topic, says) in [
        ("/etc/rokeep/hooks/pre-invoke", "hooks", "is not there"),
        ("/etc/apt/apt.conf.d/zz-rokeep", "apt", "apt calls nothing of rokeep's"),
        ("/etc/dpkg/dpkg.cfg.d/rokeep", "dpkg", "that apt did not start"),
    ] {
        let text = std::fs::read(world.outside(path)).expect("it is there");
        world.removes(path);
        world.check_up().assert_only(topic, "broken", &[path, says, "--force-confmiss"]);
        world.write(path, &text);
        world.set_mode(path, 0o755);
        assert_in_place(&world);
    }
    world.removes("/etc/cron.d/rokeep");
    let check = world.check_up();
    check.assert_only("units", "attention", &["there is no systemd here"]);
    world.runs("/bin/sh", &["-c", check.only_command()]);
    assert_in_place(&world);
    // cron does not read that.
    world.runs(
        "/bin/sh",
        &["-c", "while read -r line; do echo \"$line\"; done < /etc/cron.d/rokeep > /etc/cron.d/rokeep.old"],
    );
    world.removes("/etc/cron.d/rokeep");
    world.check_up().assert_only("units", "attention", &["there is no systemd here"]);
    world.writably(|| world.removes("/usr/sbin/cron"));
    let check = world.check_up();
    check.assert_finds("units", "attention", &["no cron"]);
    assert_eq!(check.verdict, "in-place", "usual in a container");
}

/// The kernel's packages write there, on a Raspberry Pi.
#[test]
fn what_is_read_only_and_not_looked_after_is_named() {
    let world = in_place();
    world.makes_directory("/boot/firmware");
    world.runs("/tool/holder", &["mount", "tmpfs", "tmpfs", "", "/boot/firmware"]);
    world.remount("ro", "/boot/firmware").expect("nobody uses it");
    world.check_up().assert_finds("mounts", "attention", &["/boot/firmware is read-only", "config.toml"]);
    world.write("/etc/rokeep/config.toml", b"mounts = ['/usr', '/boot/firmware']\n");
    assert!(!world.check_up().findings.iter().any(|finding| finding.what.contains("not looked after")));
}

#[test]
fn a_program_that_is_missing_or_another_one_is_found() {
    let world = in_place();
    world.writably(|| world.removes("/usr/sbin/rokeep"));
    world.check_up().assert_only("program", "broken", &["there is no /usr/sbin/rokeep"]);
    world.writably(|| world.write_program("/usr/sbin/rokeep"));
    world.check_up().assert_only("program", "attention", &["another program", "/usr/sbin/rokeep check"]);
}

/// The command that is given does put it right.
#[test]
fn what_others_can_change_or_nobody_can_run_is_found() {
    let world = in_place();
    world.begin();
    world.end();
    for (path, mode, topic, state) in [
        ("/etc/rokeep/hooks/post-invoke", 0o644, "hooks", "broken"),
        ("/etc/rokeep/hooks/post-invoke", 0o777, "hooks", "broken"),
        ("/etc/rokeep/hooks", 0o777, "hooks", "broken"),
        ("/etc/apt/apt.conf.d/zz-rokeep", 0o666, "apt", "broken"),
        ("/etc/dpkg/dpkg.cfg.d/rokeep", 0o666, "dpkg", "broken"),
        ("/var/lib/rokeep", 0o755, "state", "attention"),
    ] {
        world.set_mode(path, mode);
        let check = world.check_up();
        check.assert_only(topic, state, &[path]);
        // There is no chmod in this world.
        let (before, after) = check.only_command().split_once("chmod ").unwrap_or_else(|| panic!("{check:#?}"));
        assert!(before.is_empty() || before == format!("chown root:root {path} && "), "{check:#?}");
        let right = match after.strip_suffix(path).map(str::trim) {
            Some("755") => 0o755,
            Some("700") => 0o700,
            Some("go-w") => mode & !0o022,
            _ => panic!("{check:#?}"),
        };
        world.set_mode(path, right);
        assert_in_place(&world);
    }
}

#[test]
fn a_hook_that_was_changed_is_said() {
    let world = in_place();
    let hook = "/etc/rokeep/hooks/pre-invoke";
    world.write(hook, b"#!/bin/sh\nexit 0\n");
    world.check_up().assert_only("hooks", "attention", &[hook, "somebody has changed it"]);
    world.write(format!("{hook}.dpkg-dist"), b"#!/bin/sh\n");
    world.check_up().assert_finds("hooks", "attention", &["pre-invoke.dpkg-dist lies beside"]);
}

#[test]
fn the_pair_that_everybody_begins_with_is_named_by_file_and_line() {
    let world = in_place();
    world.write("/etc/apt/apt.conf.d/00remount", b"// mine\nDPkg::Pre-Invoke {\"mount -o remount,rw /usr\";};\n");
    world.apt_says("DPkg::Pre-Invoke::=mount%20-o%20remount,rw%20/usr\n");
    world.check_up().assert_only(
        "apt",
        "broken",
        &["line 2 of /etc/apt/apt.conf.d/00remount", "remove the hook in line 2"],
    );
}

/// A hook may call a script, and apt's configuration name anything that is there.
#[test]
fn scripts_are_looked_into_and_nothing_else() {
    let world = in_place();
    world.write("/srv/rw", b"#!/bin/sh\nmount -o remount,rw /usr\n");
    world.apt_says("DPkg::Pre-Invoke::=/srv/rw\n");
    world.check_up().assert_only("apt", "broken", &["/srv/rw, line 2", "look for that command in /etc/apt"]);
    world.write("/etc/dpkg/dpkg.cfg.d/local", b"post-invoke=/srv/rw\n");
    world.check_up().assert_finds("dpkg", "broken", &["line 1 of /etc/dpkg/dpkg.cfg.d/local", "/srv/rw, line 2"]);
    world.removes("/etc/dpkg/dpkg.cfg.d/local");
    for unreadable in ["/srv", "/dev/zero", "/proc/kmsg", "/srv/not-there", TOOL] {
        world.apt_says(&format!("DPkg::Pre-Invoke::={unreadable}\n"));
        assert_in_place(&world);
    }
}

#[test]
fn an_apt_that_does_not_answer_is_not_waited_for() {
    let world = in_place();
    world.has_program("/usr/bin/apt-config", "while :; do read line; done");
    let began = Instant::now();
    world.check_up().assert_only("apt", "unknown", &["could not be asked"]);
    assert!(began.elapsed() < Duration::from_secs(50), "ten seconds, twice: {:?}", began.elapsed());
    world.has_program("/usr/bin/apt-config", "echo 'E: Syntax error \u{1b}[2J' >&2; exit 100");
    world.check_up().assert_only("apt", "broken", &["cannot read its own configuration", "E: Syntax error %1B[2J"]);
    world.writably(|| world.removes("/usr/bin/apt-config"));
    assert_in_place(&world);
}

// ── mounts ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_package_run_is_in_order_and_what_it_leaves_is_not() {
    let world = in_place();
    world.begin();
    assert_in_place(&world);
    world.kill_rokeep();
    world.apt_dies();
    let check = world.check_up();
    check.assert_finds("mounts", "broken", &["/usr is still WRITABLE", "rokeep cleanup"]);
    check.assert_finds("state", "attention", &["left something to do: /usr", "rokeep cleanup"]);
    world.rokeep(["cleanup"]);
    assert_in_place(&world);
}

#[test]
fn what_is_held_by_hand_is_said() {
    let world = in_place();
    world.rokeep(["remount", "rw"]).assert_code(0);
    let check = world.check_up();
    check.assert_only("mounts", "attention", &["held writable by hand"]);
    assert_eq!(check.only_command(), "rokeep remount ro /usr");
    world.rokeep(["remount", "ro", "/usr"]).assert_code(0);
    assert_in_place(&world);
}

#[test]
fn a_degraded_mount_is_said() {
    let world = in_place();
    world.begin();
    let _holder = world.hold(Mapped(TOOL));
    world.dpkg_replaces(TOOL);
    world.end();
    world.check_up().assert_finds("mounts", "attention", &["/usr is degraded", "rokeep status"]);
}

#[test]
fn what_was_made_writable_by_others_is_said_if_anybody_wants_it_read_only() {
    let world = in_place();
    world.remount("rw", "/usr").expect("it can be");
    let check = world.check_up();
    check.assert_finds("fstab", "attention", &["line 1 of /etc/fstab", "rokeep remount ro /usr"]);
    check.assert_finds("mounts", "attention", &["nothing to look after"]);
    world.write(SETTINGS, b"mounts = ['/usr']\n");
    world.check_up().assert_finds("mounts", "attention", &["the settings name it", "rokeep remount ro /usr"]);
    world.remount("ro", "/usr").expect("it can be");
    assert_in_place(&world);
}

/// The same that `begin` says before it stops apt.
#[test]
fn what_can_never_be_writable_is_found_before_apt_is_stopped() {
    for (mount, says) in [
        (Mount("/opt", Squashfs, ReadOnly), "can only be read"),
        (Mount("/opt", Ext4, WriteProtected), "write-protected"),
    ] {
        // Nothing else is in place there.
        let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), mount]);
        world.check_up().assert_finds("mounts", "broken", &["/opt cannot become writable", says]);
        let begin: Run = world.hook("pre-invoke", None).assert_code(3);
        begin.assert_says(&[says]);
    }
}

#[test]
fn a_mount_without_hard_links_is_only_told_of() {
    let world =
        Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/boot", Exfat, ReadOnly)]).with_everything_in_place();
    world.write("/etc/fstab", b"/dev/usr /usr ext4 ro 0 2\n/dev/boot /boot exfat ro 0 2\n");
    let check = world.check_up();
    assert_eq!(check.wrong(), [""; 0]);
    assert!(check.findings.iter().any(|finding| finding.what.contains("/boot")), "{check:#?}");
}

#[test]
fn little_room_is_said_in_figures() {
    let world = in_place();
    world.writably(|| world.fill_but(1 << 20, "/usr"));
    world.check_up().assert_only("mounts", "attention", &["/usr has little room", " MiB free (", "inodes"]);
}

#[test]
fn errors_of_the_file_system_are_said() {
    let world = in_place();
    world.remount("rw", "/usr").expect("it can be");
    world.ext4_fails("/usr");
    // mountinfo says so since Linux 6.15 where it was writable.
    world.check_up().assert_finds("mounts", "broken", &["/usr cannot become writable", "fsck"]);
}

#[test]
fn a_store_that_is_somebody_elses_is_found() {
    let world = in_place();
    world.writably(|| world.write("/usr/.rokeep", b"mine\n"));
    world.check_up().assert_only("mounts", "broken", &["/usr/.rokeep is no directory of root's alone"]);
    world.writably(|| {
        world.removes("/usr/.rokeep");
        world.makes_directory("/usr/.rokeep");
        world.set_mode("/usr/.rokeep", 0o700);
    });
    assert_in_place(&world);
    world.makes_directory("/srv/store");
    world.set_mode("/srv/store", 0o700);
    world.bind("/srv/store", "/usr/.rokeep");
    world.check_up().assert_only("mounts", "broken", &["/usr/.rokeep is no directory of root's alone on this mount"]);
}

// ── after the next start ────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn what_will_be_writable_after_the_next_start_is_said_with_the_line() {
    let world = in_place();
    for (line, says) in [
        ("/dev/usr /usr ext4 defaults 0 2", "should read: /dev/usr /usr ext4 defaults,ro 0 2"),
        ("/dev/usr /usr ext4 rw,nodev 0 2", "should read: /dev/usr /usr ext4 nodev,ro 0 2"),
        ("/dev/usr /usr ext4 ro,rw 0 2", "both ro and rw"),
    ] {
        world.write("/etc/fstab", format!("# all\n{line}\n").as_bytes());
        world.check_up().assert_only("fstab", "attention", &["line 2 of /etc/fstab", says]);
    }
    world.write("/etc/fstab", b"");
    world.check_up().assert_finds("fstab", "attention", &["/usr is not in /etc/fstab"]);
    world.write("/etc/systemd/system/usr.mount", b"[Mount]\nWhat=/dev/usr\nOptions=nodev,ro\n");
    assert_in_place(&world);
}

#[test]
fn a_boot_that_is_not_mounted_is_said() {
    let world = in_place();
    let usr = "/dev/usr /usr ext4 ro 0 2\n";
    world.write("/etc/fstab", format!("{usr}/dev/boot /boot ext4 ro 0 2\n").as_bytes());
    world.check_up().assert_only("fstab", "attention", &["/boot is in /etc/fstab and is not mounted", "mount /boot"]);
    world.write("/etc/fstab", format!("{usr}/dev/boot /boot ext4 noauto 0 2\n").as_bytes());
    let check = world.check_up();
    check.assert_only("fstab", "attention", &["noauto", "nothing to do"]);
    assert_eq!(check.verdict, "in-place");
}

// ── settings and state ──────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn settings_that_cannot_be_used_are_named() {
    let world = in_place();
    world.write(SETTINGS, b"strict_exit = true\nmount = []\n");
    world.check_up().assert_only("settings", "broken", &["line 2: unknown field `mount`"]);
    world.write(SETTINGS, b"mounts = ['/usr', '/srv/none', \"/srv/\\u001b[2J\"]\n");
    let check = world.check_up();
    check.assert_finds("settings", "attention", &["/srv/none", "no mount point"]);
    check.assert_finds("settings", "attention", &["/srv/%1B[2J"]);
    assert_eq!(check.wrong().len(), 2, "{check:#?}");
}

#[test]
fn a_journal_or_session_that_cannot_be_used_is_named() {
    let world = in_place();
    world.begin();
    world.end();
    for text in [&b"{\"rokeep_journal\":99}\n"[..], b"nonsense\n"] {
        world.write(JOURNAL, text);
        world.set_mode(JOURNAL, 0o600);
        world.check_up().assert_only("state", "broken", &[JOURNAL, "every package run is stopped"]);
    }
    world.removes(JOURNAL);
    world.write("/run/rokeep/session.json", b"{\"format\":99}");
    world.set_mode("/run/rokeep/session.json", 0o600);
    world.check_up().assert_only("state", "broken", &["/run/rokeep/session.json", "every package run is stopped"]);
    world.removes("/run/rokeep/session.json");
    assert_in_place(&world);
}

/// The journal is on / then, which the settings leave out.
#[test]
fn a_journal_on_a_mount_that_stays_read_only_is_found() {
    let mounts = [Mount("/usr", Ext4, ReadOnly), Mount("/var/lib/rokeep", Tmpfs, ReadOnly)];
    let world = Small::with(&mounts).with_everything_in_place();
    let check = world.check_up();
    check.assert_finds(
        "state",
        "broken",
        &["/var/lib/rokeep is on /var/lib/rokeep, which is read-only and not managed"],
    );
    world.hook("pre-invoke", None);
    let writable = [mounts[0], Mount("/var/lib/rokeep", Tmpfs, Writable)];
    let control = Small::with(&writable).with_everything_in_place();
    assert_in_place(&control);
}

// ── who asks, and what came from outside ────────────────────────────────────────────────────────────────────────────

#[test]
fn who_is_not_root_is_told_what_he_could_not_see() {
    let world = in_place();
    world.begin();
    world.end();
    world.write(JOURNAL, b"");
    let run = world.rokeep_runs_under("/tool/holder", &["nobody", "/tool/rokeep", "check", "--json"]).assert_code(1);

    let check = Check::read(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout));
    let wrong = check.wrong();
    assert!(wrong.iter().all(|one| one.contains(" unknown: ")), "{wrong:#?}");
    check.assert_finds("state", "unknown", &["the journal could not be read", "Permission denied"]);
    check.assert_finds("state", "unknown", &["the session could not be read"]);
    assert!(check.findings.iter().any(|finding| finding.topic == "apt" && finding.state == "ok"), "{check:#?}");
}

/// (That every output is harmless text is looked at in every run of every scenario.)
#[test]
fn hostile_names_are_harmless() {
    let world = in_place();
    world.write(
        "/etc/apt/apt.conf.d/00x",
        "DPkg::Pre-Invoke {\"mount -o remount,rw /usr \u{1b}[2J\u{202e}\";};\n".as_bytes(),
    );
    world.apt_says("DPkg::Pre-Invoke::=mount%20-o%20remount,rw%20/usr%20%1b[2J%e2%80%ae\n");
    world.write("/etc/fstab", b"/dev/\x1b[2J /usr ext4 x\xe2\x80\xae 0 2\n");
    world.write("/etc/dpkg/dpkg.cfg.d/x", b"pre-invoke=mount -o remount,rw /usr \x1b]0;x\x07\xff\n");
    let check = world.check_up();
    check.assert_finds("apt", "broken", &["line 1 of /etc/apt/apt.conf.d/00x", "%1B[2J"]);
    check.assert_finds("fstab", "attention", &["put ro into the options of line 1"]);
    check.assert_finds("dpkg", "broken", &["%1B]0;x%07%FF"]);
}

#[test]
fn on_a_terminal_there_are_colours_and_no_line_is_too_long() {
    let world = in_place();
    world.removes("/etc/rokeep/hooks/pre-invoke");
    let painted = world.on_a_terminal(100, &[("TERM", "xterm")], &["check"]);
    assert!(painted.contains("\x1b[1;31mBROKEN") && painted.contains("\x1b[32mok"), "{painted:?}");
    let plain = world.on_a_terminal(80, &[("TERM", "dumb")], &["check"]);
    assert!(!plain.contains('\x1b'), "{plain:?}");
    let is_command = |line: &str| line.trim_start().starts_with("apt-get ");
    assert!(plain.lines().all(|line| line.chars().count() <= 80 || is_command(line)), "{plain}");
    assert_eq!(world.rokeep(["check"]).stdout, plain);
}

// ── what docs/check-json.md says ────────────────────────────────────────────────────────────────────────────────────

const PAGE: &str = include_str!("../../docs/check-json.md");
const SCHEMA: &str = include_str!("../../docs/check.schema.json");

#[test]
fn the_example_in_the_documentation_is_one() {
    let example = PAGE.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let check = Check::read(example).unwrap_or_else(|error| panic!("{error}"));
    assert!(check.findings.iter().any(|finding| finding.fix.is_some()));
}

#[test]
fn every_field_is_documented_and_no_other() {
    schema::assert_documented(SCHEMA, "check", PAGE);
}
