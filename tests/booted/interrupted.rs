//! Package runs that end too soon: the watch unit ends what they began, and apt can go on later.

use std::time::Duration;

use crate::Scenario;
use crate::support::booted::{Machine, Release};
use crate::support::sandbox::Access::Writable;

const EXPECTED: &str = "read-only within 2 s; apt -f install completes";

pub const KILLED: Scenario = Scenario { name: "killed", expected: EXPECTED, play: all_of_it_is_killed };

pub const ORPHAN: Scenario = Scenario {
    name: "orphan",
    expected: "writable until dpkg ends, read-only within 2 s then; apt -f install completes",
    play: apt_alone_is_killed,
};

pub const HOOK: Scenario = Scenario { name: "hook", expected: EXPECTED, play: another_hook_fails };

pub const CTRL_C: Scenario = Scenario { name: "ctrl-c", expected: EXPECTED, play: somebody_types_ctrl_c };

/// How long the watch unit may take, by the clock of the machine.
const LIMIT: Duration = Duration::from_secs(2);

/// SIGKILL for apt and all that it has started, while a postinst runs.
fn all_of_it_is_killed(release: Release) -> String {
    let machine = with_tool(release);
    machine.upgrade_tool_half_way();
    let took = closed_after(&machine, "kill -KILL $(cat /sys/fs/cgroup/system.slice/upgrade.service/cgroup.procs)");
    machine.sh("rm /run/wait");
    the_watch_unit_did_it(&machine);
    completes(&machine);
    format!("read-only after {took:.1?}; completed")
}

/// dpkg goes on without it, and must not find /usr read-only in the middle.
fn apt_alone_is_killed(release: Release) -> String {
    let machine = with_tool(release);
    let apt = machine.upgrade_tool_half_way();
    machine.sh(&format!("kill -KILL {apt}; sleep 5"));
    machine.assert_usr(Writable);
    let took = closed_after(&machine, "rm /run/wait; while pgrep -x dpkg; do sleep 0.05; done");
    the_watch_unit_did_it(&machine);
    completes(&machine);
    format!("writable as long as dpkg went on, read-only {took:.1?} after; completed")
}

/// It has said so, and apt's own hook could not.
fn the_watch_unit_did_it(machine: &Machine) {
    let by_unit = "journalctl --quiet --boot --output=json-pretty ROKEEP_STATE=read-only | grep rokeep-watch@";
    machine.sh(by_unit);
}

/// apt then does not call Post-Invoke.
fn another_hook_fails(release: Release) -> String {
    let machine = with_tool(release);
    machine.sh("echo 'DPkg::Pre-Install-Pkgs:: \"false\";' > /etc/apt/apt.conf.d/zzz-fails");
    let took = closed_after(&machine, "if apt-get -y install /tool/tool_2.deb >/run/said 2>&1; then exit 1; fi");
    machine.sh("grep false /run/said");
    machine.sh("rm /etc/apt/apt.conf.d/zzz-fails");
    completes(&machine);
    format!("read-only after {took:.1?}; completed")
}

/// At the question of another package's hook. While dpkg itself asks, apt has its terminal pass on no Ctrl-C.
fn somebody_types_ctrl_c(release: Release) -> String {
    let machine = with_tool(release);
    machine.sh("cat > /etc/apt/apt.conf.d/zzz-asks <<-'END'
	DPkg::Pre-Install-Pkgs:: \"printf Continue? > /dev/tty; read answer < /dev/tty\";
	END");
    // apt on a terminal of its own, and who types.
    machine.sh("cat > /run/person.py <<-'END'
	import os, pty
	pid, terminal = pty.fork()
	if pid == 0:
	    os.execvp('apt-get', ['apt-get', '-y', 'install', '/tool/tool_2.deb'])
	seen, typed = b'', False
	while True:
	    try:
	        seen += os.read(terminal, 4096)
	    except OSError:
	        break
	    if b'Continue?' in seen and not typed:
	        typed = True
	        print(open('/proc/self/mountinfo').read().split(' /usr ')[1].split(' - ')[0])
	        os.write(terminal, b'\x03')
	print(seen.decode(), os.waitpid(pid, 0)[1])
	END");
    let took = closed_after(&machine, "python3 /run/person.py > /run/said");
    let said = machine.sh("cat /run/said");
    assert!(said.starts_with("rw") && said.contains("Continue?"), "it was to ask while /usr is writable: {said}");
    machine.sh("rm /etc/apt/apt.conf.d/zzz-asks");
    the_watch_unit_did_it(&machine);
    completes(&machine);
    format!("read-only after {took:.1?}; completed")
}

fn with_tool(release: Release) -> Machine {
    let machine = Machine::boot(release);
    machine.install_rokeep();
    machine.install_tool();
    machine
}

/// How long /usr takes to be read-only and the session to be closed, after this was done.
fn closed_after(machine: &Machine, act: &str) -> Duration {
    // On the machine's own clock, in hundredths of a second: what asks is slow as well. It has one processor, and who looks all
    // the time takes that from who works.
    let script = format!(
        "now() {{ read -r up _ < /proc/uptime; echo $(echo $up | tr -d .); }}
        {{ {act}; }} >&2
        start=$(now)
        until grep -q ' /usr ro,.* - [^ ]* [^ ]* ro' /proc/self/mountinfo && [ ! -e /run/rokeep/session.json ]; do
            [ $(($(now) - start)) -lt 6000 ] || exit 1
            sleep 0.05
        done
        echo $(($(now) - start))"
    );
    let hundredths: u64 = machine.sh(&script).trim().parse().unwrap_or_else(|why| panic!("{why}"));
    let took = Duration::from_millis(10 * hundredths);
    assert!(took <= LIMIT, "only after {took:?}");
    machine.assert_read_only();
    took
}

fn completes(machine: &Machine) {
    let fix = ["-o", "Dpkg::Options::=--force-confold", "-f", "install"];
    let mut fixed = machine.apt(&fix);
    if fixed.stderr.contains("dpkg --configure -a") {
        machine.must(&["dpkg", "--force-confold", "--configure", "-a"]);
        machine.assert_read_only();
        fixed = machine.apt(&fix);
    }
    assert!(fixed.code == 0, "apt -f install ended with {}", fixed.code);
    machine.assert_configured();
    machine.assert_read_only();
    let again = machine.apt(&["-o", "Dpkg::Options::=--force-confold", "install", "/tool/tool_2.deb"]);
    assert!(again.code == 0, "apt ended with {}", again.code);
    assert!(machine.version("tool") == "2");
    machine.assert_read_only();
    machine.sh("systemctl stop tool");
    machine.must(&["rokeep", "cleanup"]);
    machine.assert_tidy();
}
