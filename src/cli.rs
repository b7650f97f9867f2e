//! Arguments to command to exit code.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use rokeep::by_hand::{self, Lasting};
use rokeep::core::apt_stream;
use rokeep::core::check::Verdict;
use rokeep::core::check::text::text as checked_as_text;
use rokeep::core::columns::{shown, shown_json};
use rokeep::core::duration;
use rokeep::core::message::Outcome;
use rokeep::core::status::text::text;
use rokeep::pins::Look;
use rokeep::plan::lists;
use rokeep::session::AtTheEnd;
use rokeep::settings::{self, Settings};
use rokeep::sys::announced::Announced;
use rokeep::sys::files::Root;
use rokeep::sys::kernel;
use rokeep::sys::log::{Priority, log};
use rokeep::sys::terminal;
use rokeep::{announce, check, dpkg, preview, protect, recover, release, report, session, watch};

/// Keeps read-only file systems read-only across apt and dpkg, without a reboot.
///
/// The hooks of apt and dpkg do the work; there is nothing to call by hand. When something is held, "rokeep status" says by whom and
/// what frees it.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 something needs attention; 2 wrong usage; 3 could not do it.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show each managed mount, its aliases, who holds what and what frees it
    Status {
        /// For programs: one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say whether everything is in place: hooks, units, kernel, mounts; and what to do where it is not. Changes nothing
    ///
    /// Each line is "ok", "attention" (it works, and there is something to do or to know), "BROKEN", or "unknown" where it
    /// could not be seen, as by who is not root. Exits with 0 where nobody has anything to do.
    Check {
        /// For programs: one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Drop the aliases that nobody needs any more, and put back what could not be put back before
    ///
    /// Who holds a file is asked of /proc and the like. None of that shows a Landlock rule, a uprobe or a fanotify event that
    /// nobody has read, which keep a replaced file in use as well; once its alias is gone the mount ends degraded, and nobody
    /// can be named. "--deep" keeps such files; what has lost its alias already can only be waited for. Where that happens
    /// again and again, have every cleanup look so: cleanup = "deep" in /etc/rokeep/config.toml.
    Cleanup {
        /// Ask the kernel too, before anything is dropped, what it has in use
        ///
        /// It is told to forget everything that nobody uses: the dentry and inode caches of the whole machine are dropped,
        /// and it is slower until they have filled again. Needs Linux 5.19. Tells nothing of files on tmpfs, which stay.
        #[arg(long)]
        deep: bool,
        /// Show the status afterwards as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show what would get an alias, why, and how many bytes it would keep alive; changes nothing
    ///
    /// Without arguments it reads what apt tells a Pre-Install-Pkgs hook, in protocol version 3, from standard input.
    Plan {
        /// Packages that would be removed or replaced, and archives that would be installed
        #[arg(value_name = "PACKAGE|FILE.deb")]
        things: Vec<PathBuf>,
        /// For programs: one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have the mounts writable while a command runs, and put them back when it has ended
    ///
    /// For what changes them without apt: dpkg-reconfigure locales, locale-gen, make install. What is in use when it begins is
    /// protected; what comes into use and is replaced while it runs is not. The command has the terminal and every signal
    /// to itself. If rokeep is killed meanwhile, the mounts go back when the command has ended; what the command leaves
    /// running in the background finds them read-only.
    ///
    /// The exit status is the command's, or 128 and the number of the signal that ended it; 127 where it was not found, 126
    /// where it cannot be run, 3 where the mounts could not become writable and it was not started. A mount that could not go
    /// back is said, and changes the status from 0 to 1 only with strict_exit = true in /etc/rokeep/config.toml.
    Run {
        /// Only these mount points, managed or not; otherwise every managed mount that is read-only
        #[arg(value_name = "MOUNT", value_parser = PathBufValueParser::new().try_map(mount_before_command))]
        mounts: Vec<PathBuf>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Make mounts writable for a while, or put them back, by hand
    Remount {
        #[command(subcommand)]
        to: Remount,
    },
    /// Drop every alias but those of replaced files that somebody uses: before rokeep is removed
    ///
    /// Also those of files that a package run was to replace and did not, and of what is in no journal. Exits with 1 where
    /// something has to stay, and says for whom.
    Release,
    /// Finish whatever an interrupted package run left
    ///
    /// Then looks at every file of the managed mounts: aliases that are in no journal, as it was lost or came back from a
    /// backup, are written down again. "rokeep cleanup" drops those that nobody needs.
    Recover,
    /// What apt and dpkg call
    #[command(hide = true)]
    Hook {
        /// Which hook
        name: Hook,
    },
    /// Wait until a package manager has ended, then end its session if it did not; and until mounts are held by hand no more
    #[command(hide = true)]
    Watch {
        /// Its process id
        pid: i32,
        /// Go on in the background, away from the terminal
        #[arg(long)]
        detach: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Remount {
    /// Make mounts writable, until "rokeep remount ro" or the next start of the machine
    ///
    /// They are then held by hand: no package run, cleanup or timer puts them back, and "rokeep status" says so. Of what is
    /// in use now everything is protected, so that they can go back. Again with another --for, it lasts as long as the last
    /// one says.
    Rw {
        /// These mount points, managed or not; otherwise every managed mount that is read-only
        #[arg(value_name = "MOUNT", value_parser = PathBufValueParser::new().try_map(mount_point))]
        mounts: Vec<PathBuf>,
        /// Go back after so long: 90s, 30m, 2h, 1h30m, at most 7d. While a package run is on, when that is done
        #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
        time: Option<Duration>,
    },
    /// Put mounts back to read-only, and say what is in the way if that is not possible
    ///
    /// Not while a package run or "rokeep run" is on.
    Ro {
        /// These mount points, managed or not; otherwise every one that is writable because of rokeep
        #[arg(value_name = "MOUNT", value_parser = PathBufValueParser::new().try_map(mount_point))]
        mounts: Vec<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hook {
    PreInvoke,
    PreInstallPkgs,
    PostInvoke,
    DpkgPreInvoke,
    DpkgPostInvoke,
}

impl Cli {
    /// Reads the command line. One that is wrong ends the process: with words that repeat some of it, harmlessly.
    pub fn read() -> Cli {
        Cli::try_parse().unwrap_or_else(|error| {
            if error.use_stderr() {
                let text = error.render().to_string();
                text.lines().for_each(|line| drop(writeln!(io::stderr(), "{}", shown(line))));
                std::process::exit(error.exit_code());
            }
            error.exit()
        })
    }
}

/// Runs the command and answers the process's exit code.
pub fn run(cli: &Cli) -> ExitCode {
    let done = Root::system().context("cannot open /").and_then(|root| perform(&root, &cli.command));
    done.unwrap_or_else(|error| {
        let user = if nix::unistd::geteuid().is_root() { "" } else { " (rokeep needs to be root)" };
        say(&format!("{error:#}{user}"));
        if let Ok(root) = Root::system() {
            log(&root, Priority::Error, &format!("{error:#}"));
        }
        ExitCode::from(3)
    })
}

fn perform(root: &Root, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Status { json } => show_status(root, *json),
        Command::Check { json } => show_check(root, *json),
        Command::Cleanup { deep, json } => {
            let look = if *deep { Look::Deep } else { Look::Usual };
            let cleaned = closing(root, recover::clean_up(root, look))?;
            let attention_needed = !cleaned.problems.is_empty();
            let code = tell(root, cleaned)?;
            let status = if *json { show_status(root, true)? } else { code };
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
        Command::Release => tell(root, closing(root, release::release(root))?),
        Command::Recover => tell(root, closing(root, recover::recover_and_search(root))?),
        Command::Watch { pid, detach } => {
            if *detach {
                watch::detach()?;
            }
            // What it could not put back is in the log, and the timer's to retry: only its own failure is one.
            let watched = watch::watch(root, *pid, |outcome| drop(tell(root, outcome)));
            if let Err(why) = &watched {
                watch::go_on_as_installed(root, *pid, why);
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

fn show_status(root: &Root, json: bool) -> Result<ExitCode> {
    let status = report::status(root)?;
    let output = io::stdout();
    let text = match json {
        true => shown_json(&serde_json::to_string_pretty(&status)?) + "\n",
        false => text(&status, terminal::look(&output)),
    };
    // A reader that stopped reading has seen enough.
    let _ = output.lock().write_all(text.as_bytes());
    Ok(attention(!status.problems.is_empty()))
}

fn show_check(root: &Root, json: bool) -> Result<ExitCode> {
    let checked = check::check(root)?;
    let output = io::stdout();
    let text = match json {
        true => shown_json(&serde_json::to_string_pretty(&checked)?) + "\n",
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
    let text =
        if json { shown_json(&serde_json::to_string_pretty(&preview)?) + "\n" } else { preview::as_text(&preview) };
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
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

/// As mountinfo spells it.
fn mount_point(name: PathBuf) -> Result<PathBuf, &'static str> {
    settings::plain(&name).ok_or("a mount point is an absolute path")
}

fn mount_before_command(name: PathBuf) -> Result<PathBuf, &'static str> {
    settings::plain(&name).ok_or("a mount point is an absolute path, and a command comes after \"--\"")
}

fn attention(needed: bool) -> ExitCode {
    ExitCode::from(u8::from(needed))
}

/// A closed or broken terminal must not end us here: what was said is in the log too.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "rokeep: {}", shown(line));
}
