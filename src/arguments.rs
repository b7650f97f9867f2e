//! What can be said on the command line. The manual page and the completions are made from this, too (man/generate.rs).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use crate::core::duration;
use crate::settings;

/// Keeps read-only file systems read-only across apt and dpkg, without a reboot.
///
/// The hooks of apt and dpkg do the work; there is nothing to call by hand. When something is held, "rokeep status" says by whom and
/// what frees it.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 something needs attention; 2 wrong usage; 3 could not do it.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show each managed mount, its aliases, who holds what and what frees it
    Status {
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
        /// Which way.
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

/// Which way.
#[derive(Debug, Subcommand)]
pub enum Remount {
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

/// The moments at which apt and dpkg call.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Hook {
    /// apt: before the first dpkg
    PreInvoke,
    /// apt: before dpkg unpacks or removes, with the list of what it will do
    PreInstallPkgs,
    /// apt: after the last dpkg
    PostInvoke,
    /// dpkg: before it does anything
    DpkgPreInvoke,
    /// dpkg: when it is done
    DpkgPostInvoke,
}

/// As mountinfo spells it.
fn mount_point(name: PathBuf) -> Result<PathBuf, &'static str> {
    settings::plain(&name).ok_or("a mount point is an absolute path")
}

fn mount_before_command(name: PathBuf) -> Result<PathBuf, &'static str> {
    settings::plain(&name).ok_or("a mount point is an absolute path, and a command comes after \"--\"")
}
