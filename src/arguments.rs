//! What can be said on the command line. The manual page and the completions are made from this, too (man/generate.rs).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use crate::core::duration;
use crate::settings;

/// Keeps read-only file systems read-only across apt and dpkg, without a reboot.
///
/// apt and dpkg call it by themselves: there is nothing to do before or after a package run. If a message says that something
/// is held, kept or degraded, begin with "rokeep status".
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show each mount's state, who holds what, and what frees it
    ///
    /// Changes nothing. A file that was replaced while somebody used it is held: it keeps a second name, an alias, in .rokeep at
    /// the top of the mount, and takes its space on disk until it is let go. That is no problem. "degraded" is one: nothing
    /// can be written through the mount, but its file system could not become read-only yet.
    #[command(after_help = EXIT_CODES_OF_STATUS)]
    Status {
        /// For whom.
        #[command(flatten)]
        form: Form,
    },
    /// Say whether everything is in place, and what to do where it is not
    ///
    /// Looks at the program, its hooks, what apt and dpkg were told and by whom else, units, kernel, mounts, /etc/fstab, and what
    /// rokeep remembers. Changes nothing. Each line is "ok", "attention" (it works, and there is something to know or to do),
    /// "BROKEN", or "unknown" where it could not be seen, as by who is not root.
    #[command(after_help = EXIT_CODES_OF_CHECK)]
    Check {
        /// Print one JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// Drop aliases that nobody needs any more, and close what is still open
    ///
    /// What a timer does every ten minutes, at once: a mount that is degraded, or that a package run left writable, goes back
    /// to read-only if that is possible by now. What is still in use stays, and is said.
    ///
    /// Some things in the kernel keep a file in use and no process shows it: a Landlock rule, a uprobe, a fanotify event that
    /// nobody has read. If a mount ends degraded and nobody can be named, use --deep: it keeps the aliases of such files. What
    /// has lost its alias already can only be waited for. cleanup = "deep" in /etc/rokeep/config.toml has every cleanup look
    /// so.
    Cleanup {
        /// Ask the kernel, too, what it has in use
        ///
        /// It has to drop the dentry and inode caches of the whole machine, which is slower until they have filled again.
        /// Needs Linux 5.19. Tells nothing of files on a tmpfs, which stay.
        #[arg(long)]
        deep: bool,
        /// Print the status afterwards as one JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show what a package run would protect, why, and how many bytes
    ///
    /// Changes nothing. The bytes are what the files take on disk, which they would go on taking while they are in use.
    /// Without arguments it reads standard input: what apt tells a Pre-Install-Pkgs hook, in version 3 of that protocol.
    #[command(after_help = EXAMPLES_OF_PLAN)]
    Plan {
        /// Installed packages that would be replaced or removed, and archives that would be installed
        #[arg(value_name = "PACKAGE|FILE.deb", value_hint = ValueHint::FilePath)]
        things: Vec<PathBuf>,
        /// Print one JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// Run a command with the mounts writable, and close them after it
    ///
    /// For what changes files without apt: dpkg-reconfigure, locale-gen, make install. What is in use when it begins is
    /// protected. What comes into use and is replaced while it runs is not, and may leave a mount degraded for a while.
    ///
    /// The command has the terminal and every signal to itself. What it leaves running in the background finds the mounts
    /// read-only. If rokeep is killed meanwhile, the mounts go back when the command has ended.
    #[command(after_help = EXIT_CODES_OF_RUN, after_long_help = format!("{EXAMPLES_OF_RUN}\n\n{EXIT_CODES_OF_RUN}"))]
    Run {
        /// Only these mount points, managed or not; without any, each managed mount that is read-only
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_before_command))]
        mounts: Vec<PathBuf>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandName)]
        command: Vec<OsString>,
    },
    /// Make mounts writable for a while, or read-only again, by hand
    Remount {
        /// Which way.
        #[command(subcommand)]
        to: Remount,
    },
    /// Install packages on a mount that can never be writable, by an overlay
    ///
    /// For a squashfs, erofs or iso image, a write-protected device, an export that is read-only on its server. An overlayfs is
    /// laid over the mount; what packages write is kept on another file system, and the overlay is opened and closed like any
    /// mount. docs/overlay.md says what that can do and what it cannot.
    Overlay {
        /// What to do.
        #[command(subcommand)]
        to: Overlay,
    },
    /// Drop every alias that may go, before rokeep is removed
    ///
    /// Also those of files that a package run was to replace and did not, and those that are in no journal. What was
    /// replaced and is still in use has to stay. Refused while a package run is on, or a mount is held by hand.
    #[command(after_help = EXIT_CODES_OF_RELEASE)]
    Release,
    /// Finish what an interrupted package run left, and search for aliases
    ///
    /// If a package run was killed, the mounts go back, as with the next package run or start of the machine. Then every file
    /// of the managed mounts is looked at: aliases that are in no journal, because it was lost or came back from a backup,
    /// are written down again. "rokeep cleanup" drops those of them that nobody needs.
    Recover,
    /// What the package's maintainer script calls before dpkg removes the package
    #[command(hide = true)]
    Leave,
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
        #[arg(value_name = "PID")]
        pid: i32,
        /// Go on in the background, away from the terminal
        #[arg(long)]
        detach: bool,
    },
}

/// For whom something is printed; a person, unless one of these is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Form {
    /// Print one JSON object, for programs
    #[arg(long)]
    pub json: bool,
    /// Print metrics, for Prometheus
    ///
    /// As node_exporter's textfile collector reads them; docs/monitoring.md says what there is.
    #[arg(long)]
    pub prometheus: bool,
}

/// Which way.
#[derive(Debug, Subcommand)]
pub enum Remount {
    /// Make mounts writable, until "rokeep remount ro" or a reboot
    ///
    /// They are then held by hand: no package run, cleanup or timer closes them, and "rokeep status" says so and exits 1. What
    /// is in use now is protected, so that they can go back. Say it again with another --for, and the last one counts.
    #[command(after_help = EXAMPLES_OF_RW)]
    Rw {
        /// Only these mount points, managed or not; without any, each managed mount that is read-only
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_point))]
        mounts: Vec<PathBuf>,
        /// Go back after this time: 90s, 30m, 2h, 1h30m, at most 7d
        ///
        /// The units are d, h, m and s: days, hours, minutes and seconds. If a package run is on when the time has come, the
        /// mounts go back when that is done.
        #[arg(long = "for", value_name = "TIME", value_hint = ValueHint::Other, value_parser = duration::parse)]
        time: Option<Duration>,
    },
    /// Make mounts read-only again, and say what is in the way if that fails
    ///
    /// Refused while a package run or "rokeep run" is on: they close the mounts themselves.
    Ro {
        /// Only these mount points, managed or not; without any, each one that is writable because of rokeep
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_point))]
        mounts: Vec<PathBuf>,
    },
}

/// What to do with overlays.
#[derive(Debug, Subcommand)]
pub enum Overlay {
    /// Lay one over a mount, now and at each start of the machine
    ///
    /// Nothing changes where there can be none; it is said why. What is kept of an earlier overlay is there again. mode =
    /// "overlay" in /etc/rokeep/config.toml has the next package run do the same.
    ///
    /// Where what is below has changed, that is taken as it is: an overlay that may have been over it meanwhile is laid anew,
    /// unless somebody uses it; one that the machine has laid afterwards stays.
    Enable {
        /// The mount point
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_point))]
        mount: PathBuf,
        /// Keep what is written here, in a directory of a local file system that stays writable
        ///
        /// Without it that is a directory in /var/lib/rokeep/overlay.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(directory))]
        upper: Option<PathBuf>,
        /// Hide these names in the mount's root directory, before anything is installed
        ///
        /// For what would be in the way of what is to be installed, or cannot be read through an overlay. It comes back with
        /// "rokeep overlay reset" of that name.
        #[arg(long, value_name = "NAME", num_args = 1.., value_parser = PathBufValueParser::new().try_map(name))]
        mask: Vec<PathBuf>,
    },
    /// Take one away, so that what is below is seen again
    ///
    /// Refused while somebody uses it; it is said who. dpkg goes on counting the packages as installed that were. One that was
    /// interrupted is finished by the next.
    Disable {
        /// The mount point
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_point))]
        mount: PathBuf,
        /// Remove what was written, too
        #[arg(long)]
        discard: bool,
        /// Not now, but when the machine starts next
        ///
        /// For one that is always in use, as that of /usr. Until then apt and dpkg are stopped.
        #[arg(long)]
        at_next_start: bool,
    },
    /// Show what is above one: what it adds, replaces and hides, by package
    Diff {
        /// The mount point
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_point))]
        mount: PathBuf,
        /// Print one JSON object, for programs
        #[arg(long)]
        json: bool,
    },
    /// Discard what is above one, or some of it: what is below is seen again
    ///
    /// What was hidden with --mask is hidden again, unless it is what is named. Refused while somebody uses the overlay.
    Reset {
        /// The mount point
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_point))]
        mount: PathBuf,
        /// Only this, from the mount point; a directory with all that is in it
        #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
        paths: Vec<PathBuf>,
        /// Remove it: without this it is only said how much would be lost
        #[arg(long)]
        discard: bool,
    },
    /// Mount directories that live above one by one, without the overlay
    ///
    /// For what is below and changes, or cannot be read through an overlay. What cannot be had so is listed, and nothing is
    /// done. "rokeep overlay enable" goes back.
    Bind {
        /// The mount point
        #[arg(value_name = "MOUNT", value_hint = ValueHint::DirPath,
            value_parser = PathBufValueParser::new().try_map(mount_point))]
        mount: PathBuf,
        /// First copy above what else is seen in these directories, so that they live there
        ///
        /// For directories that packages have only written into. What becomes of them below is not seen any more. They need
        /// as much room as they show; those that are mounted already may be given more beside them.
        #[arg(long, value_name = "DIR", num_args = 1.., value_hint = ValueHint::DirPath)]
        copy: Vec<PathBuf>,
    },
    /// Show each overlay, and how much is kept of it
    Status {
        /// Print one JSON object, for programs
        #[arg(long)]
        json: bool,
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

/// The definition as people see it: the commands in groups.
pub fn definition() -> clap::Command {
    let definition = Arguments::command();
    let (heading, literal) = (definition.get_styles().get_header(), definition.get_styles().get_literal());
    let line = |name: &&str| {
        let about = definition.find_subcommand(name).and_then(clap::Command::get_about).unwrap_or_default();
        format!("  {literal}{name:<8}{literal:#} {about}\n")
    };
    let group = |(title, names): &(&str, &[&str])| {
        format!("{heading}{title}:{heading:#}\n{}\n", names.iter().map(line).collect::<String>())
    };
    let groups: String = GROUPS.iter().map(group).collect();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{heading}Options:{heading:#}\n{{options}}{{after-help}}"
    );
    definition.help_template(template)
}

/// In the order in which a person needs them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("To see what is going on", &["status", "check", "plan"]),
    ("To put right what was left", &["cleanup", "recover"]),
    ("To change files without apt", &["run", "remount"]),
    ("For what can never be writable", &["overlay"]),
    ("To take rokeep away", &["release"]),
];

/// As mountinfo spells it.
fn mount_point(name: PathBuf) -> Result<PathBuf, &'static str> {
    settings::plain(&name).ok_or("a mount point is an absolute path")
}

fn name(name: PathBuf) -> Result<PathBuf, &'static str> {
    if settings::is_name(&name) { Ok(name) } else { Err("only names in the mount's root directory can be hidden") }
}

fn directory(name: PathBuf) -> Result<PathBuf, &'static str> {
    settings::plain(&name).ok_or("a directory is an absolute path here")
}

fn mount_before_command(name: PathBuf) -> Result<PathBuf, &'static str> {
    settings::plain(&name).ok_or("a mount point is an absolute path, and a command comes after \"--\"")
}

const EXAMPLES: &str = "\
Examples:
  rokeep status                           who holds what, what frees it
  rokeep cleanup                          try again, at once
  rokeep run -- dpkg-reconfigure locales  with the mounts writable
  rokeep remount rw /usr --for 30m        writable for half an hour";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something needs attention: a mount is degraded, or writable
     without a package run; \"rokeep status\" says what to do
  2  wrong usage
  3  could not do it; the message says why, what state the mounts are
     in, and the next step

\"rokeep help COMMAND\" says more about a command, \"man rokeep\" about all of it.";

const EXIT_CODES_OF_STATUS: &str = "\
Exit codes:
  0  nothing needs attention, though files may be held
  1  something does: a mount is degraded, or writable without a
     package run
  3  could not find out";

const EXIT_CODES_OF_CHECK: &str = "\
Exit codes:
  0  nobody has anything to do
  1  somebody has, or something could not be seen
  3  could not look";

const EXAMPLES_OF_PLAN: &str = "\
Examples:
  rokeep plan libc6 openssl           if these were replaced or removed
  rokeep plan ./tool_2.0_amd64.deb    if this were installed";

const EXAMPLES_OF_RUN: &str = "\
Examples:
  rokeep run -- make install
  rokeep run /opt -- ./install.sh     only /opt becomes writable";

const EXIT_CODES_OF_RUN: &str = "\
Exit codes:
  the command's own, or
  1      with strict_exit = true in /etc/rokeep/config.toml: the
         command returned 0, but a mount could not go back
  3      the mounts could not become writable; nothing was started
  126    the command cannot be run
  127    there is no such command
  128+n  signal n ended the command: 137 is SIGKILL, 143 is SIGTERM";

const EXAMPLES_OF_RW: &str = "\
Examples:
  rokeep remount rw /usr --for 30m    writable for half an hour
  rokeep remount rw                   until \"rokeep remount ro\"";

const EXIT_CODES_OF_RELEASE: &str = "\
Exit codes:
  0  nothing of rokeep is left on the mounts
  1  something has to stay; it is said for whom
  3  could not do it, or it was refused";
