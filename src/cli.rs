//! Arguments to command to exit code.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::FromArgMatches;
use serde::Serialize;

use rokeep::arguments::{self, Arguments, Command, Form, Hook, Overlay, Remount};
use rokeep::by_hand::{self, Lasting};
use rokeep::core::apt_stream;
use rokeep::core::check::Verdict;
use rokeep::core::check::text::text as checked_as_text;
use rokeep::core::columns::{shown, shown_json};
use rokeep::core::message::Outcome;
use rokeep::core::status::metrics::metrics;
use rokeep::core::status::text::text;
use rokeep::overlay::{Bound, Keep, Wanted};
use rokeep::pins::Look;
use rokeep::plan::lists;
use rokeep::session::AtTheEnd;
use rokeep::settings::Settings;
use rokeep::sys::announced::Announced;
use rokeep::sys::files::Root;
use rokeep::sys::kernel;
use rokeep::sys::lock::StillHeld;
use rokeep::sys::log::{Priority, log};
use rokeep::sys::terminal;
use rokeep::{announce, check, dpkg, leaving, overlay, preview, protect, recover, release, report, session, watch};

/// Reads the command line. One that is wrong ends the process: with words that repeat some of it, harmlessly.
pub fn read() -> Arguments {
    let read = arguments::definition().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    read.unwrap_or_else(|error| {
        if error.use_stderr() {
            let text = error.render().to_string();
            text.lines().for_each(|line| drop(writeln!(io::stderr(), "{}", shown(line))));
            std::process::exit(error.exit_code());
        }
        error.exit()
    })
}

/// Runs the command and answers the process's exit code.
pub fn run(arguments: &Arguments) -> ExitCode {
    let done = Root::system().context("cannot open /").and_then(|root| {
        let code = perform(&root, &arguments.command);
        if may_finish(&arguments.command, &code) {
            if let Err(error) = leaving::finish(&root) {
                log(&root, Priority::Error, &format!("{error:#}"));
            }
        }
        code
    });
    done.unwrap_or_else(|error| {
        let user = if nix::unistd::geteuid().is_root() { "" } else { " (rokeep needs to be root)" };
        say(&format!("{error:#}{user}"));
        if let Ok(root) = Root::system() {
            log(&root, Priority::Error, &format!("{error:#}"));
        }
        ExitCode::from(3)
    })
}

/// Not who only looks, nor who has waited for another rokeep in vain.
fn may_finish(command: &Command, done: &Result<ExitCode>) -> bool {
    let looks = matches!(
        command,
        Command::Status { .. }
            | Command::Check { .. }
            | Command::Plan { .. }
            | Command::Overlay { to: Overlay::Status { .. } | Overlay::Diff { .. } }
    );
    !looks && !done.as_ref().is_err_and(|why| why.is::<StillHeld>())
}

fn perform(root: &Root, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Status { form } => show_status(root, form),
        Command::Check { json } => show_check(root, *json),
        Command::Cleanup { deep, json } => {
            let look = if *deep { Look::Deep } else { Look::Usual };
            let cleaned = closing(root, recover::clean_up(root, look))?;
            let attention_needed = !cleaned.problems.is_empty();
            let code = tell(root, cleaned)?;
            let status = if *json { show_status(root, &Form { json: true, prometheus: false })? } else { code };
            Ok(if attention_needed { code } else { status })
        }
        Command::Plan { things, json } => show_plan(root, things, *json),
        Command::Run { mounts, command } => {
            let status = by_hand::run(root, mounts, command, |outcome| drop(tell(root, outcome)))?;
            Ok(ExitCode::from(status))
        }
        Command::Remount { to: Remount::Rw { mounts, time } } => {
            tell(root, by_hand::open(root, mounts, time.map_or(Lasting::UntilClosed, Lasting::For))?)
        }
        Command::Remount { to: Remount::Ro { mounts } } => tell(root, closing(root, by_hand::close(root, mounts))?),
        Command::Overlay { to } => change_overlays(root, to),
        Command::Release => tell(root, closing(root, release::release(root))?),
        Command::Recover => tell(root, closing(root, recover::recover_and_search(root))?),
        Command::Leave => tell(root, leaving::prepare(root)?),
        Command::Watch { pid, detach } => {
            if *detach {
                watch::detach()?;
            }
            // What it could not put back is in the log, and the timer's to retry: only its own failure is one.
            let watched = watch::watch(root, *pid, |outcome| drop(tell(root, outcome)));
            if let Err(why) = &watched {
                log(root, Priority::Error, &format!("{why:#}"));
                watch::go_on_as_successor(root, *pid);
            }
            closing(root, watched)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Hook { name: Hook::PreInvoke } => tell(root, session::begin(root)?),
        Command::Hook { name: Hook::PreInstallPkgs } => tell(root, protect::protect(root, announcement()?)?),
        Command::Hook { name: Hook::PostInvoke } => post_invoke(root),
        Command::Hook { name: Hook::DpkgPreInvoke } => dpkg_pre_invoke(root),
        Command::Hook { name: Hook::DpkgPostInvoke } => Ok(dpkg_post_invoke(root)),
    }
}

fn change_overlays(root: &Root, to: &Overlay) -> Result<ExitCode> {
    match to {
        Overlay::Enable { mount, upper, mask } => {
            tell(root, overlay::enable(root, Wanted { point: mount, place: upper.as_deref(), masks: mask })?)
        }
        Overlay::Disable { mount, discard, at_next_start: true } => {
            tell(root, overlay::retire(root, mount, keep(*discard))?)
        }
        Overlay::Disable { mount, discard, .. } => tell(root, overlay::disable(root, mount, keep(*discard))?),
        Overlay::Reset { mount, paths, discard } => tell(root, overlay::reset(root, mount, paths, keep(*discard))?),
        Overlay::Bind { mount, copy } => match overlay::bind(root, mount, copy)? {
            Bound::Done(outcome) => tell(root, outcome),
            Bound::InTheWay(text) => {
                let _ = io::stdout().write_all(text.as_bytes());
                Ok(ExitCode::from(3))
            }
        },
        Overlay::Diff { mount, json } => {
            let diff = overlay::diff(root, mount)?;
            let text = if *json { as_json(&diff)? } else { diff.text() };
            let _ = io::stdout().write_all(text.as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Overlay::Status { json } => {
            let overlays = overlay::status(root)?;
            let text = if *json { as_json(&overlays)? } else { overlays.text() };
            let _ = io::stdout().write_all(text.as_bytes());
            Ok(attention(overlays.need_attention()))
        }
    }
}

fn closing<T>(root: &Root, done: Result<T>) -> Result<T> {
    done.map_err(|why| session::say_what_is_open(root, why))
}

/// After dpkg has run, nothing we do fails the package run, unless the administrator wants to know it that way.
fn post_invoke(root: &Root) -> Result<ExitCode> {
    kernel::ignore_terminal_signals();
    let strict = Settings::load(root).is_ok_and(|settings| settings.strict_exit);
    // The convention of Debian's wiki page "ReadonlyRoot": test ${NO_APT_REMOUNT:-no} = yes
    let is_asked = std::env::var_os("NO_APT_REMOUNT").is_some_and(|value| value == "yes");
    let mounts = if is_asked { AtTheEnd::LeaveWritable } else { AtTheEnd::PutBack };
    let ended = session::end(root, mounts).unwrap_or_else(|error| still_open(&error));
    let code = tell(root, ended)?;
    Ok(if strict { code } else { ExitCode::SUCCESS })
}

fn still_open(error: &anyhow::Error) -> Outcome {
    Outcome { problems: vec![session::say_what_may_be_open(error)], ..Outcome::default() }
}

/// dpkg breaks off if this fails, and has done nothing yet.
fn dpkg_pre_invoke(root: &Root) -> Result<ExitCode> {
    if !dpkg_changes_this_system() {
        return Ok(ExitCode::SUCCESS);
    }
    let action = std::env::var_os("DPKG_HOOK_ACTION").unwrap_or_default();
    let _ = tell(root, dpkg::begin(root, action.as_encoded_bytes())?);
    Ok(ExitCode::SUCCESS)
}

/// dpkg would call a good run a failure if this failed.
fn dpkg_post_invoke(root: &Root) -> ExitCode {
    if !dpkg_changes_this_system() {
        return ExitCode::SUCCESS;
    }
    kernel::ignore_terminal_signals();
    let ended = dpkg::end(root).unwrap_or_else(|error| still_open(&error));
    let _ = tell(root, ended);
    ExitCode::SUCCESS
}

/// Not where it works on another system's files (`dpkg --root`) or with another database, nor for somebody who may change
/// nothing (`dpkg --no-act`). dpkg tells its hooks where, whether its command line or its environment said so.
fn dpkg_changes_this_system() -> bool {
    let is = |name, here: &[&str]| {
        std::env::var_os(name).is_none_or(|path| here.iter().any(|here| Path::new(&path) == Path::new(here)))
    };
    is("DPKG_ROOT", &["", "/"]) && is("DPKG_ADMINDIR", &[lists::DPKG]) && nix::unistd::geteuid().is_root()
}

/// Where apt describes the package run: `APT_HOOK_INFO_FD` (apt.conf(5)), standard input where apt is too old for it.
fn announcement() -> Result<Announced> {
    let fd = match std::env::var("APT_HOOK_INFO_FD") {
        Ok(number) => number.parse().with_context(|| format!("APT_HOOK_INFO_FD is {number:?}, not a number"))?,
        Err(_) => 0,
    };
    let fd = kernel::inherited(fd).with_context(|| format!("apt has not opened descriptor {fd}"))?;
    Ok(std::fs::File::from(fd).into())
}

fn show_status(root: &Root, form: &Form) -> Result<ExitCode> {
    let status = report::status(root)?;
    let output = io::stdout();
    let text = match form {
        Form { json: true, .. } => as_json(&status)?,
        Form { prometheus: true, .. } => metrics(&status),
        Form { json: false, prometheus: false } => text(&status, terminal::look(&output)),
    };
    // A reader that stopped reading has seen enough.
    let _ = output.lock().write_all(text.as_bytes());
    Ok(attention(!status.problems.is_empty()))
}

fn show_check(root: &Root, json: bool) -> Result<ExitCode> {
    let checked = check::check(root)?;
    let output = io::stdout();
    let text = match json {
        true => as_json(&checked)?,
        false => checked_as_text(&checked, terminal::look(&output)),
    };
    let _ = output.lock().write_all(text.as_bytes());
    Ok(attention(checked.verdict != Verdict::InPlace))
}

fn show_plan(root: &Root, things: &[PathBuf], json: bool) -> Result<ExitCode> {
    let stream = match things {
        [] if io::stdin().is_terminal() => {
            say("plan needs packages, archives, or apt's announcement on standard input; see \"rokeep plan --help\"");
            return Ok(ExitCode::from(2));
        }
        [] => {
            let mut announcement = Vec::new();
            io::stdin().read_to_end(&mut announcement).context("cannot read standard input")?;
            apt_stream::parse(&announcement)?
        }
        things => announce::announce(root, things)?,
    };
    let preview = preview::preview(root, &stream)?;
    let text = if json { as_json(&preview)? } else { preview::as_text(&preview) };
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn keep(discard: bool) -> Keep {
    if discard { Keep::Nothing } else { Keep::WhatIsAbove }
}

fn as_json(answer: &impl Serialize) -> Result<String> {
    Ok(shown_json(&serde_json::to_string_pretty(answer)?) + "\n")
}

fn tell(root: &Root, outcome: Outcome) -> Result<ExitCode> {
    for (lines, priority) in [(&outcome.notes, Priority::Info), (&outcome.problems, Priority::Error)] {
        for line in lines {
            say(line);
            if !outcome.logged.contains(line) {
                log(root, priority, line);
            }
        }
    }
    Ok(attention(!outcome.problems.is_empty()))
}

fn attention(needed: bool) -> ExitCode {
    ExitCode::from(u8::from(needed))
}

/// A closed or broken terminal must not end us here: what was said is in the log too.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "rokeep: {}", shown(line));
}
