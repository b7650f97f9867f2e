//! What everything stands on is replaced: systemd, the C library, the kernel.

use crate::Scenario;
use crate::support::booted::{Machine, Release};

pub const SYSTEMD: Scenario = Scenario {
    name: "systemd",
    expected: "read-only; process 1 is named with daemon-reexec, and holds nothing after it",
    play: what_process_1_runs_is_replaced,
};

pub const KERNEL: Scenario = Scenario {
    name: "kernel",
    expected: "/usr and /boot read-only, the new initramfs in place",
    play: a_kernel_is_installed,
};

/// Libraries of process 1 whose packages do not have it executed anew.
const LIBRARIES: [&str; 2] = ["libmount1", "libcap2"];

fn what_process_1_runs_is_replaced(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();

    machine.package_run(&[&["apt-get", "-y", "--reinstall", "install"], &LIBRARIES[..]].concat());
    machine.assert_read_only();
    let (held, command) = held_by_process_1(&machine);
    assert!(command.contains("systemctl daemon-reexec"), "{command}");
    let (first, _) = machine.follow_what_status_says();

    machine.package_run(&["apt-get", "-y", "--reinstall", "install", "libc6", "systemd"]);
    machine.assert_read_only();
    let (second, commands) = machine.follow_what_status_says();
    format!(
        "process 1 held {held} of {first} files, none after daemon-reexec; libc and systemd: {second} files, none after \
         {commands} commands"
    )
}

/// How many files it holds, and what to type.
fn held_by_process_1(machine: &Machine) -> (usize, String) {
    machine.run(&["rokeep", "status"]);
    let status = machine.status();
    let is_it = |pid: Option<u32>| pid == Some(1);
    let held: Vec<_> = status.held.iter().filter(|held| held.holders.iter().any(|holder| is_it(holder.pid))).collect();
    let holder = held.first().and_then(|held| held.holders.iter().find(|holder| is_it(holder.pid)));
    let group = status.group(holder.unwrap_or_else(|| panic!("process 1 holds nothing: {status:#?}")));
    (held.len(), group.remedy.command.clone().unwrap_or_default())
}

/// The one that waits; or else the one that runs, once more.
fn a_kernel_is_installed(release: Release) -> String {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.sh("apt-mark unhold linux-image-cloud-amd64");
    let is_new = machine.sh("apt-get --simulate install linux-image-cloud-amd64 | grep -c ^Inst || true").trim() != "0";
    let running = format!("linux-image-{}", machine.sh("uname -r").trim());
    let package = if is_new { "linux-image-cloud-amd64" } else { &running };
    let marked = machine.sh("touch /run/before; ls /boot | wc -l");

    machine.package_run(&["apt-get", "-y", "--no-install-recommends", "--reinstall", "install", package]);

    machine.assert_read_only();
    machine.assert_configured();
    machine.sh("find /boot -name 'initrd.img-*' -newer /run/before | grep .");
    machine.follow_what_status_says();
    let files = machine.sh("ls /boot | wc -l");
    format!("{package}: /boot had {} files, has {}", marked.trim(), files.trim())
}
