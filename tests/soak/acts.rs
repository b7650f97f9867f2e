//! What maintainer scripts are told to do besides their work: to fail, to kill who called them, to start somebody who uses
//! a file. So all of that happens at the same instruction of dpkg each time, whatever else the machine does.

use std::fmt;

use anyhow::Result;

use crate::support::debian::Debian;

/// Where every script asks.
pub const PATH: &str = "/etc/soak/act";

/// Where it is told, a line each; and where holders that were started so write who they are.
const TOLD: &str = "/run/soak/acts";
pub const HOLDERS: &str = "/run/soak/holders";

/// Only where this is are holders started.
const MAY_HOLD: &str = "/etc/soak/may-hold";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Whose script, by its name.
    pub package: &'static str,
    pub script: &'static str,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Fail,
    /// The dpkg that called it.
    KillDpkg,
    /// The apt that called that; where there is none, dpkg.
    KillApt,
    /// Whoever watches, apt and dpkg: as if the power failed.
    KillAll,
    /// A holder takes a file into a state.
    Hold(&'static str, &'static str),
    /// Another kind of holder, which writes a file of no package.
    Write,
}

/// What is written to.
pub const LOG: &str = "/usr/share/soak-log";

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Fail => f.write_str("fail"),
            What::KillDpkg => f.write_str("kill-dpkg"),
            What::KillApt => f.write_str("kill-apt"),
            What::KillAll => f.write_str("kill-all"),
            What::Hold(state, path) => write!(f, "hold {state} {path}"),
            What::Write => write!(f, "hold writing {LOG}"),
        }
    }
}

/// Makes a system ready for that.
pub fn install(debian: &Debian) -> Result<()> {
    debian.write_script(PATH, SCRIPT)?;
    debian.must("mkdir", &["-p", "/run/soak/holders"])?;
    debian.must("mkfifo", &["/run/soak/forever"])?;
    Ok(())
}

/// Has holders started there too.
pub fn permit_holders(debian: &Debian) -> Result<()> {
    debian.write(MAY_HOLD, "")
}

/// Tells the scripts, until they are told something else.
pub fn tell(debian: &Debian, acts: &[Act]) -> Result<()> {
    let lines: String = acts.iter().map(|act| format!("{} {} {}\n", act.package, act.script, act.what)).collect();
    debian.write(TOLD, &lines)
}

pub const SCRIPT: &str = r#"#!/bin/sh
# PACKAGE SCRIPT DPKG: what a maintainer script does besides its work.
package=$1 script=$2 dpkg=$3
parent_of() { sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$1/stat"; }
kill_and_wait() {
    kill -KILL "$1" 2>/dev/null
    # A killed process that nobody has waited for yet has no descriptors.
    while [ -e "/proc/$1/fd/0" ]; do sleep 0.01; done
}
kill_apt() {
    apt=$(parent_of "$dpkg")
    case $(cat "/proc/$apt/comm") in apt-get) kill_and_wait "$apt";; *) kill_and_wait "$dpkg";; esac
}
[ -e /run/soak/acts ] || exit 0
while read -r of in what state file; do
    [ "$of $in" = "$package $script" ] || continue
    # What a script does when its dpkg is dead finds /usr closed, or not yet: docs/limits.md. So it ends with that.
    case $what in
    fail) exit 1;;
    kill-dpkg) kill_and_wait "$dpkg"; exit 1;;
    kill-apt) kill_apt; [ -e "/proc/$dpkg/fd/0" ] || exit 1;;
    kill-all)
        for one in $(pidof rokeep); do kill_and_wait "$one"; done
        kill_apt
        kill_and_wait "$dpkg"
        exit 1;;
    hold)
        [ "$state" != writing ] || : >>"$file"
        [ -e /etc/soak/may-hold ] && [ -e "$file" ] || continue
        setsid sh -c 'exec /tool/holder "$@" <>/run/soak/forever >"/run/soak/holders/$$" 2>&1' sh "$state" "$file" &
        until grep -q -e ready -e Error "/run/soak/holders/$!" 2>/dev/null; do sleep 0.01; done
        echo "$state $file" >>"/run/soak/holders/$!";;
    esac
done </run/soak/acts
exit 0
"#;
