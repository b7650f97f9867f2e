//! A Debian root with upgrades waiting, made once and kept in `target/worlds/`.
//!
//! Making one needs the network and most of a minute; using one needs neither. It is never written to after it was
//! made: who uses it lays an overlay over `root` and copies `usr.img`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::kept::{Kept, last_lines, remove};

/// What the root is made of.
const PACKAGES: &str = "openssh-server,cron,nginx,php-fpm,bind9,rsyslog,postgresql,python3,perl,procps,\
    ca-certificates,mount,iproute2,curl,git,gnupg,libglib2.0-bin,libxml2-utils,locales,openssl,rsync,shared-mime-info,\
    sudo,unattended-upgrades,wget,xz-utils,aptitude,dbus,packagekit,packagekit-tools";

/// A finished Debian root. As long as this value lives, nobody replaces it.
pub struct Base(Kept);

/// A package of the root and the version that waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The package's name.
    pub package: String,
    /// The version it has in the root.
    pub from: String,
    /// The version that lies in `/var/cache/apt/archives`.
    pub to: String,
}

/// The apt sources of a Debian release, one a line, and the settings to reach them, both as this machine has them.
pub fn sources(suite: &str) -> Result<(String, String)> {
    let recipe = Recipe::for_this_machine(suite)?;
    Ok((recipe.sources(), recipe.apt_settings))
}

impl Base {
    /// The root of this Debian release, by its code name. Makes it first if there is none that is of this week.
    pub fn of(suite: &str) -> Result<Base> {
        let recipe = Recipe::for_this_machine(suite)?;
        Ok(Base(Kept::of(suite, &recipe.text(), |partial| recipe.make(partial))?))
    }

    /// The root directory; what belongs below /usr is not in it. Beside it are `usr.img`, an ext4 image of that, and
    /// `scratch`, an empty directory to mount something on.
    pub fn root(&self) -> PathBuf {
        self.0.directory().join("root")
    }

    /// The upgrades that wait: downloaded, not installed.
    pub fn upgrades(&self) -> Result<Vec<Upgrade>> {
        read_upgrades(&self.0.directory().join("upgrades"))
    }
}

/// The upgrades that were written down when a root was made: package, version, version that waits.
pub fn read_upgrades(list: &Path) -> Result<Vec<Upgrade>> {
    let list = fs::read_to_string(list)?;
    list.lines().map(|line| parse_upgrade(line).with_context(|| format!("not an upgrade: {line}"))).collect()
}

fn parse_upgrade(line: &str) -> Option<Upgrade> {
    let mut words = line.split(' ').map(str::to_owned);
    Some(Upgrade { package: words.next()?, from: words.next()?, to: words.next()? })
}

/// Stops the making of a root that is under way in this process, and removes what there is of it. For a program that
/// is about to end in the middle.
pub fn abandon() {
    let Some(making) = MAKING.lock().ok().and_then(|mut making| making.take()) else { return };
    let _ = kill(making.pid, Signal::SIGKILL);
    // Its processes end a moment later than it does, and may write until then.
    let until = Instant::now() + Duration::from_secs(10);
    while remove(&making.directory).is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Making {
    pid: Pid,
    directory: PathBuf,
}

static MAKING: Mutex<Option<Making>> = Mutex::new(None);

/// All that decides how a root comes out.
struct Recipe {
    suite: String,
    mirrors: Mirrors,
    apt_settings: String,
}

impl Recipe {
    fn for_this_machine(suite: &str) -> Result<Recipe> {
        let uris = output_of(Command::new("apt-get").args(["--print-uris", "update"]))?;
        let dump = output_of(Command::new("apt-config").arg("dump"))?;
        Ok(Recipe {
            suite: suite.to_owned(),
            mirrors: Mirrors::of(&uris).context("this machine's apt knows no Debian archive")?,
            apt_settings: settings_about_downloads(&dump),
        })
    }

    fn make(&self, partial: &Path) -> Result<()> {
        eprintln!("making a Debian root in {} (about a minute) …", partial.display());
        fs::write(partial.join("apt.conf"), &self.apt_settings)?;
        fs::write(partial.join("sources.list"), self.sources())?;
        // A process and mount namespace that dies with this process takes mounts and half-done work along.
        let making = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-euc", SCRIPT])
            .env("SUITE", &self.suite)
            .env("PACKAGES", PACKAGES)
            .current_dir(partial)
            .stdin(Stdio::null())
            .stdout(File::create(partial.join("log"))?)
            .stderr(File::options().append(true).open(partial.join("log"))?)
            .spawn()
            .context("cannot start setpriv and unshare (util-linux)")?;
        let pid = Pid::from_raw(making.id().try_into()?);
        *MAKING.lock().expect("nothing panics while it holds this") =
            Some(Making { pid, directory: partial.to_owned() });
        let status = making.wait_with_output()?.status;
        if MAKING.lock().expect("nothing panics while it holds this").take().is_none() {
            // Somebody abandoned it and is about to end this process.
            std::thread::sleep(Duration::MAX);
        }
        if !status.success() {
            bail!("it ended with {status}:\n{}", last_lines(&partial.join("log"), 20));
        }
        ensure!(fs::metadata(partial.join("upgrades"))?.len() > 0, "no upgrades are waiting for it");
        Ok(())
    }

    fn text(&self) -> String {
        format!("{}\n{PACKAGES}\n{}{}{SCRIPT}", self.suite, self.sources(), self.apt_settings)
    }

    /// One-line-style apt sources; the first is the release as it once came out, the others are what happened since.
    fn sources(&self) -> String {
        let Recipe { suite, mirrors: Mirrors { archive, security }, .. } = self;
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        format!(
            "deb {key} {archive} {suite} main\n\
             deb {key} {archive} {suite}-updates main\n\
             deb {key} {security} {suite}-security main\n"
        )
    }
}

/// Runs in the directory that the root is made in.
const SCRIPT: &str = r#"
mmdebstrap --mode=root --variant=minbase --format=directory --include="$PACKAGES" --aptopt="$PWD/apt.conf" \
    "$SUITE" root "$(head -n 1 sources.list)"

# Services are started by whoever uses this, not by the packages' own scripts.
printf '#!/bin/sh\nexit 101\n' > root/usr/sbin/policy-rc.d
chmod 755 root/usr/sbin/policy-rc.d

cp sources.list root/etc/apt/sources.list
mount -t proc proc root/proc
touch root/etc/resolv.conf
mount --bind /etc/resolv.conf root/etc/resolv.conf
in_root() {
    chroot root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        http_proxy="${http_proxy-}" https_proxy="${https_proxy-}" "$@"
}
in_root apt-get update
in_root apt-get -y --download-only dist-upgrade
in_root apt-get -s dist-upgrade > simulated
sed -n 's/^Inst \([^ ]*\) \[\([^]]*\)\] (\([^ ]*\) .*/\1 \2 \3/p' simulated > upgrades
umount root/etc/resolv.conf root/proc

mkfs.ext4 -q -L usr -d root/usr usr.img 3G
rm -r root/usr
mkdir root/usr scratch
"#;

/// Where this machine gets Debian from.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    archive: String,
    security: String,
}

impl Mirrors {
    /// From what `apt-get --print-uris update` says, `'URI/dists/SUITE/InRelease' …`; apt has read the sources in
    /// whatever format they are. A machine that names no security archive gets that from the same place.
    fn of(uris: &str) -> Option<Mirrors> {
        let releases = || {
            uris.lines().filter_map(|line| line.split('\'').nth(1)?.strip_suffix("/InRelease")?.split_once("/dists/"))
        };
        let is_security = |suite: &str| suite.ends_with("-security") || suite.ends_with("/updates");
        let of_suite =
            |wanted: &dyn Fn(&str) -> bool| releases().find(|(_, suite)| wanted(suite)).map(|(uri, _)| uri.to_owned());
        let archive = of_suite(&|suite| DEBIAN.contains(&suite))?;
        let security = of_suite(&is_security).unwrap_or_else(|| archive.clone());
        Some(Mirrors { archive, security })
    }
}

/// Names that Debian's own archive goes by, and nobody else's.
const DEBIAN: &[&str] = &[
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "sid",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
];

/// The lines of `apt-config dump` without which this machine could not download.
fn settings_about_downloads(dump: &str) -> String {
    let about_downloads = ["Acquire::Check-Valid-Until", "Acquire::http", "Acquire::https", "Acquire::Retries"];
    let wanted = |line: &&str| about_downloads.iter().any(|name| line.starts_with(name)) && !line.ends_with("\"\";");
    dump.lines().filter(wanted).flat_map(|line| [line, "\n"]).collect()
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
