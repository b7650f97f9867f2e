//! Package runs that end too soon: the watch unit ends what they began, and apt can go on later.

use std::time::Duration;

use crate::Scenario;
use crate::support::booted::{Machine, Release};
use crate::support::sandbox::Access::{ReadOnly, Writable};

const EXPECTED: &str = "read-only within 2 s; apt -f install completes";

pub const KILLED: Scenario = Scenario { name: "killed", expected: EXPECTED, play: apt_is_killed };

pub const HOOK: Scenario = Scenario { name: "hook", expected: EXPECTED, play: another_hook_fails };

pub const CTRL_C: Scenario = Scenario { name: "ctrl-c", expected: EXPECTED, play: somebody_types_ctrl_c };

/// How long the watch unit may take.
const MOMENT: Duration = Duration::from_secs(2);

/// SIGKILL for apt and all that it has started, while a postinst runs.
fn apt_is_killed(release: Release) -> String {
    let machine = with_tool(release);
    machine.sh("rm -f /run/waiting; touch /run/wait");
    machine.start("upgrade", &["apt-get", "-y", "install", "/tool/tool_2.deb"]);
    machine.wait_for("[ -e /run/waiting ]");
    machine.assert_usr(Writable);
    let took = closed_after(&machine, "systemctl kill --signal=KILL upgrade.service");
    machine.sh("rm /run/wait");
    completes(&machine);
    format!("read-only after {took:.1?}; completed")
}

/// apt then does not call Post-Invoke.
fn another_hook_fails(release: Release) -> String {
    let machine = with_tool(release);
    machine.sh("echo 'DPkg::Pre-Install-Pkgs:: \"false\";' > /etc/apt/apt.conf.d/zzz-fails");
    let took = closed_after(&machine, "! apt-get -y install /tool/tool_2.deb >/run/said 2>&1; grep false /run/said");
    machine.sh("rm /etc/apt/apt.conf.d/zzz-fails");
    completes(&machine);
    format!("read-only after {took:.1?}; completed")
}

/// At dpkg's question about a file that the administrator has changed.
fn somebody_types_ctrl_c(release: Release) -> String {
    let machine = with_tool(release);
    machine.sh("echo changed > /etc/tool.conf");
    // apt on a terminal of its own, and who types.
    machine.sh("cat > /run/person.py <<-'END'
	import os, pty, sys
	pid, terminal = pty.fork()
	if pid == 0:
	    os.environ['DEBIAN_FRONTEND'] = 'readline'
	    os.execvp('apt-get', ['apt-get', '-y', 'install', '/tool/tool_2.deb'])
	seen = b''
	while True:
	    try:
	        some = os.read(terminal, 4096)
	    except OSError:
	        break
	    seen += some
	    if b'[default=N] ?' in seen and b'default' in some:
	        print(open('/proc/self/mountinfo').read().split(' /usr ')[1].split(' - ')[0])
	        os.write(terminal, b'\\x03')
	print(seen.decode(), os.waitpid(pid, 0)[1])
	END");
    let took = closed_after(&machine, "python3 /run/person.py > /run/said; grep 'default=N' /run/said");
    let said = machine.sh("cat /run/said");
    assert!(said.starts_with("rw"), "it was to be writable then: {said}");
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
        "{act} >&2
        now() {{ read -r up _ < /proc/uptime; echo $(echo $up | tr -d .); }}
        start=$(now)
        until grep -q ' /usr ro,.* - [^ ]* [^ ]* ro' /proc/self/mountinfo && [ ! -e /run/rokeep/session.json ]; do
            [ $(($(now) - start)) -lt 6000 ] || exit 1
            sleep 0.05
        done
        echo $(($(now) - start))"
    );
    let hundredths: u64 = machine.sh(&script).trim().parse().unwrap_or_else(|why| panic!("{why}"));
    let took = Duration::from_millis(10 * hundredths);
    assert!(took <= MOMENT, "only after {took:?}");
    machine.assert_usr(ReadOnly);
    took
}

/// What a person does then, and it is as if nothing had happened.
fn completes(machine: &Machine) {
    let fix = ["-o", "Dpkg::Options::=--force-confold", "-f", "install"];
    let mut fixed = machine.apt(&fix);
    if fixed.stderr.contains("dpkg --configure -a") {
        machine.must(&["dpkg", "--force-confold", "--configure", "-a"]);
        machine.assert_usr(ReadOnly);
        fixed = machine.apt(&fix);
    }
    assert!(fixed.code == 0, "apt -f install ended with {}", fixed.code);
    machine.assert_configured();
    machine.assert_usr(ReadOnly);
    let again = machine.apt(&["-o", "Dpkg::Options::=--force-confold", "install", "/tool/tool_2.deb"]);
    assert!(again.code == 0, "apt ended with {}", again.code);
    assert!(machine.must(&["dpkg-query", "--show", "--showformat=${Version}", "tool"]) == "2");
    machine.assert_usr(ReadOnly);
    machine.sh("systemctl stop tool");
    machine.must(&["rokeep", "cleanup"]);
    machine.assert_tidy();
}
