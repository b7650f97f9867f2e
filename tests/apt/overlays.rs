//! Packages on a mount that can never be writable: an image, with an overlay over it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::support::debian::Debian;
use crate::support::sandbox::Access::{self, ReadOnly};

const APP: &str = "/opt/app/bin/app";
const UNITS: &str = "/etc/systemd/system";
const LOWER: &str = "/var/lib/rokeep/overlay/opt/lower";

/// What is above is in memory: / is an overlay itself here, and takes no other one's files.
const ABOVE: &str = "mkdir -p /var/lib/rokeep/overlay; mount -t tmpfs -o mode=700 above /var/lib/rokeep/overlay";

/// Version 1 is on the image that is mounted at /opt, as whoever made that image installed it; versions 2 and 3 are at hand.
struct OnAnImage {
    debian: Debian,
    second: String,
    third: String,
}

fn on_an_image() -> Result<OnAnImage> {
    let [(kind, how), ..] = IMAGES;
    on_an_image_of(kind, how)
}

/// Images that can never be written to, each for a reason of its own; and how one is made.
const IMAGES: [(&str, &str); 3] = [
    ("squashfs", "mksquashfs \"$made\" \"$image\" -quiet -no-progress"),
    // It would look for the same path outside.
    ("erofs", "copy=$(mktemp -d); cp -a \"$made/.\" $copy; mkfs.erofs --quiet \"$image\" $copy; rm -r $copy"),
    // On a device that refuses writes, as mount(8) makes one where it is to be read-only.
    ("ext4", "mke2fs -q -t ext4 -d \"$made\" \"$image\" 16m"),
];

fn on_an_image_of(kind: &str, how: &str) -> Result<OnAnImage> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let build = |version: &str| {
        let app = debian.package("app", version)?.program(APP)?.text("/opt/app/version", version)?;
        let app = if version == "1" { app.file("/opt/app/only-in-1")? } else { app.file("/opt/app/new/file")? };
        app.build()
    };
    let [first, second, third] = ["1", "2", "3"].map(build);
    debian.must("dpkg", &["--install", &first?])?;
    let mut make = Command::new("sh");
    make.args(["-euc", how]).env("made", debian.outside("/opt")).env("image", debian.outside("/var/tmp/opt.image"));
    let built = make.output()?;
    ensure!(built.status.success(), "{how}: {}", String::from_utf8_lossy(&built.stderr));
    debian.must("sh", &["-euc", "rm -r /opt/*"])?;
    debian.write("/etc/fstab", &format!("/var/tmp/opt.image /opt {kind} loop,ro 0 0\n"))?;
    mounts(&debian, "mount /opt")?;
    debian.must("sh", &["-euc", ABOVE])?;
    Ok(OnAnImage { debian: debian.read_only()?, second: second?, third: third? })
}

/// Runs shell commands where loop devices can be had.
fn mounts(debian: &Debian, commands: &str) -> Result<()> {
    debian.must("sh", &["-euc", &format!("mount -t devtmpfs devtmpfs /dev; {commands}; umount /dev")]).map(drop)
}

fn install(debian: &Debian, archive: &str) -> Result<()> {
    debian.must("apt-get", &["-y", "install", archive])?;
    debian.settled().map(drop)
}

fn opt(debian: &Debian) -> Result<(String, Access)> {
    let line = debian.must("awk", &["$5 == \"/opt\"", "/proc/self/mountinfo"])?;
    let line = line.lines().last().context("/opt is not mounted")?;
    let (_, after) = line.split_once(" - ").context("a mount line")?;
    Ok((after.split(' ').next().unwrap_or_default().to_owned(), Access::of(line)))
}

/// What systemd does with a mount unit.
fn play(unit: &str) -> String {
    let value = |key: &str| format!("\"$(sed -n 's/^{key}=//p' '{UNITS}/{unit}')\"");
    let [kind, options, what, at] = ["Type", "Options", "What", "Where"].map(value);
    format!("mount -t {kind} -o {options} {what} {at}")
}

/// As the machine does when it starts, by what its units say.
fn start_again(debian: &Debian) -> Result<()> {
    debian.must("sh", &["-euc", &format!("umount /opt; umount /opt; umount {LOWER}")])?;
    mounts(debian, &format!("{}; {}", play("var-lib-rokeep-overlay-opt-lower.mount"), play("opt.mount")))
}

/// Without rokeep dpkg breaks the package, which it can neither unpack nor remove; with it apt is stopped before.
#[test]
fn control_dpkg_breaks_the_package_and_rokeep_stops_it() -> Result<()> {
    IMAGES.into_iter().try_for_each(|(kind, how)| stopped_and_broken(kind, how).context(kind))
}

fn stopped_and_broken(kind: &str, how: &str) -> Result<()> {
    let OnAnImage { debian, second, .. } = on_an_image_of(kind, how)?;
    let stopped = debian.apt(&["-y", "install", &second])?;
    // Of a device that refuses writes it is said first how to have it take them.
    let helps = if kind == "ext4" { "write-protected" } else { "rokeep overlay enable /opt" };
    ensure!(stopped.code == 100 && stopped.stderr.contains(helps), "{}", stopped.stderr);
    assert_eq!(debian.installed_version("app")?.as_deref(), Some("1"));
    debian.must("mv", &["/etc/dpkg/dpkg.cfg.d/rokeep", "/var/tmp/"])?;
    let broken = debian.run("dpkg", &["--install", &second])?;
    ensure!(broken.code != 0 && broken.stderr.contains("Read-only file system"), "{}", broken.stderr);
    Ok(())
}

#[test]
fn a_package_is_upgraded_while_it_runs_started_with_the_machine_and_removed() -> Result<()> {
    IMAGES.into_iter().try_for_each(|(kind, how)| upgraded_and_removed(kind, how).context(kind))
}

fn upgraded_and_removed(kind: &str, how: &str) -> Result<()> {
    let OnAnImage { debian, second, third } = on_an_image_of(kind, how)?;
    debian.must("rokeep", &["overlay", "enable", "/opt"])?;
    assert_eq!(opt(&debian)?, ("overlay".to_owned(), ReadOnly));
    install(&debian, &second)?;
    assert_eq!(opt(&debian)?, ("overlay".to_owned(), ReadOnly));
    assert_eq!(debian.must("dpkg", &["--verify", "app"])?, "");
    assert!(!debian.outside("/opt/app/only-in-1").exists() && debian.outside("/opt/app/new/file").exists());

    let running = debian.spawn(APP, &["infinity"])?;
    install(&debian, &third)?;
    assert_eq!(
        opt(&debian)?,
        ("overlay".to_owned(), ReadOnly),
        "with its file system, though {running} runs the old one"
    );
    assert_eq!(debian.status()?.mount("/opt").aliases.held, 1);
    debian.kill(running)?;
    debian.must("rokeep", &["cleanup"])?;

    start_again(&debian)?;
    assert_eq!(opt(&debian)?, ("overlay".to_owned(), ReadOnly));
    assert_eq!(debian.read("/opt/app/version")?, "3");
    assert_eq!(debian.must("dpkg", &["--verify", "app"])?, "");

    debian.must("apt-get", &["-y", "remove", "app"])?;
    assert!(!debian.outside("/opt/app").exists());
    assert!(debian.outside(LOWER).join("app/only-in-1").exists());
    assert_eq!(opt(&debian)?, ("overlay".to_owned(), ReadOnly));
    debian.must("rokeep", &["overlay", "disable", "/opt", "--discard"])?;
    assert_eq!(opt(&debian)?, (kind.to_owned(), ReadOnly));
    assert_eq!(debian.read("/opt/app/version")?, "1");
    Ok(())
}

/// What is installed stays installed, and is mounted when the machine starts.
#[test]
fn it_outlives_rokeep() -> Result<()> {
    let OnAnImage { debian, second, .. } = on_an_image()?;
    debian.must("rokeep", &["overlay", "enable", "/opt"])?;
    install(&debian, &second)?;
    debian.must("apt-get", &["-y", "purge", "rokeep"])?;
    debian.settled()?;
    start_again(&debian)?;
    assert_eq!(debian.read("/opt/app/version")?, "2");
    assert!(
        debian.outside("/var/lib/rokeep/overlay").exists() && !debian.outside("/var/lib/rokeep/journal.jsonl").exists()
    );
    Ok(())
}

/// With systemd to read the units: what is below comes first, and takes the overlay along when it goes.
#[test]
fn systemd_mounts_both() -> Result<()> {
    let debian = Debian::bookworm_with_systemd()?.with_rokeep()?;
    debian.must("sh", &["-euc", ABOVE])?;
    let below =
        "mkdir /srv/below; mount -t tmpfs below /srv/below; mkdir /srv/below/app; echo 1 > /srv/below/app/version";
    debian.must("sh", &["-euc", &format!("{below}; mount --bind -o ro /srv/below /opt")])?;
    debian.write("/etc/fstab", "/srv/below /opt none bind,ro 0 0\n")?;
    let debian = debian.read_only()?;
    debian.must("rokeep", &["overlay", "enable", "/opt"])?;
    // systemd acts a moment later on what it has read.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(opt(&debian)?, ("overlay".to_owned(), ReadOnly));
    let app = debian.package("app", "2")?.text("/opt/app/version", "2")?.build()?;
    install(&debian, &app)?;
    debian.must("systemd-analyze", &["verify", "--man=no", &format!("{UNITS}/opt.mount")])?;
    assert_eq!(debian.state_of("opt.mount")?, "active");
    let lower = "var-lib-rokeep-overlay-opt-lower.mount";
    assert_eq!(debian.state_of(lower)?, "active");

    debian.must("sh", &["-euc", &format!("umount /opt; umount /opt; umount {LOWER}")])?;
    debian.service("needs-opt", "/usr/bin/sleep infinity", "\n[Unit]\nRequiresMountsFor=/opt/app")?;
    assert_eq!((debian.state_of("opt.mount")?, debian.state_of(lower)?), ("active".to_owned(), "active".to_owned()));
    assert_eq!(opt(&debian)?, ("overlay".to_owned(), ReadOnly));
    assert_eq!(debian.read("/opt/app/version")?, "2");
    debian.must("rokeep", &["overlay", "disable", "/opt"])?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(debian.read("/opt/app/version")?.trim(), "1", "what is below is there, and stays");
    debian.must("rokeep", &["overlay", "enable", "/opt"])?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(debian.read("/opt/app/version")?, "2");
    debian.must("systemctl", &["stop", "needs-opt", lower])?;
    assert_ne!(debian.state_of("opt.mount")?, "active");
    Ok(())
}

/// The same of what is mounted without an overlay: each after what it is mounted over.
#[test]
fn systemd_mounts_directories_by_themselves() -> Result<()> {
    let debian = Debian::bookworm_with_systemd()?.with_rokeep()?;
    debian.must("sh", &["-euc", ABOVE])?;
    let below = "mkdir /srv/below; mount -t tmpfs below /srv/below; mkdir /srv/below/app /srv/below/beside";
    debian.must("sh", &["-euc", &format!("{below}; mount --bind -o ro /srv/below /opt")])?;
    debian.write("/etc/fstab", "/srv/below /opt none bind,ro,nosuid 0 0\n")?;
    let debian = debian.read_only()?;
    debian.must("rokeep", &["overlay", "enable", "/opt", "--mask", "app"])?;
    install(&debian, &debian.package("app", "2")?.text("/opt/app/version", "2")?.build()?)?;
    debian.must("rokeep", &["overlay", "bind", "/opt"])?;
    // systemd acts a moment later on what it has read.
    std::thread::sleep(Duration::from_secs(2));
    let options = |point: &str| debian.must("findmnt", &["--noheadings", "--output", "OPTIONS", "--mountpoint", point]);
    let states = || Ok::<_, anyhow::Error>((debian.state_of("opt.mount")?, debian.state_of("opt-app.mount")?));
    let active = ("active".to_owned(), "active".to_owned());
    assert_eq!((states()?, debian.read("/opt/app/version")?), (active.clone(), "2".to_owned()));
    let by_rokeep = options("/opt/app")?;
    debian.must("systemd-analyze", &["verify", "--man=no", &format!("{UNITS}/opt-app.mount")])?;

    debian.must("sh", &["-euc", "umount /opt/app; umount /opt"])?;
    debian.service("needs-app", "/usr/bin/sleep infinity", "\n[Unit]\nRequiresMountsFor=/opt/app/bin")?;
    assert_eq!((states()?, debian.read("/opt/app/version")?), (active, "2".to_owned()));
    assert_eq!(options("/opt/app")?, by_rokeep);
    ensure!(by_rokeep.starts_with("ro,nosuid,"), "{by_rokeep}");
    debian.must("systemctl", &["stop", "needs-app"])?;
    debian.must("rokeep", &["overlay", "status"])?;

    debian.must("rokeep", &["overlay", "enable", "/opt"])?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((opt(&debian)?.0, debian.read("/opt/app/version")?), ("overlay".to_owned(), "2".to_owned()));

    debian.must("rokeep", &["overlay", "enable", "/usr"])?;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fs_of_usr(&debian)?, "overlayfs");
    debian.must("systemd-analyze", &["verify", "--man=no", &format!("{UNITS}/rokeep-overlay-usr.service")])?;
    // Whoever starts a service asks for all that the machine starts with.
    let mounts =
        || debian.must("sh", &["-euc", "grep -E ' (/usr|/var/lib/rokeep/overlay/usr/lower) ' /proc/self/mountinfo"]);
    let before = mounts()?;
    debian.must("systemctl", &["start", "needs-app", "rokeep-overlay-usr"])?;
    assert_eq!(mounts()?, before, "once is enough");
    Ok(())
}

/// What is above does not fit: dpkg rolls the package back, and the overlay is closed.
#[test]
fn what_is_above_is_full() -> Result<()> {
    let OnAnImage { debian, second, .. } = on_an_image()?;
    debian.must("sh", &["-euc", "mkdir /srv/small; mount -t tmpfs -o mode=755,size=20m small /srv/small"])?;
    debian.must("rokeep", &["overlay", "enable", "/opt", "--upper", "/srv/small/opt"])?;
    let large = debian.package("app", "4")?.program(APP)?.text("/opt/app/large", &"x".repeat(30 << 20))?.build()?;
    let full = debian.apt(&["-y", "install", &large])?;
    let said = full.stdout + &full.stderr;
    ensure!(full.code == 100 && said.contains("No space left on device"), "{said}");
    debian.settled()?;
    assert_eq!(opt(&debian)?, ("overlay".to_owned(), ReadOnly));
    assert_eq!(debian.installed_version("app")?.as_deref(), Some("1"));
    assert_eq!(debian.must("dpkg", &["--verify", "app"])?, "");
    install(&debian, &second)?;
    assert_eq!(debian.installed_version("app")?.as_deref(), Some("2"));
    Ok(())
}

/// The image may be changed by its owner from then on; what was installed in place of his is mounted by itself.
#[test]
fn a_package_lives_on_without_the_overlay() -> Result<()> {
    let OnAnImage { debian, second, third } = on_an_image()?;
    debian.must("rokeep", &["overlay", "enable", "/opt", "--mask", "app"])?;
    install(&debian, &second)?;
    let diff = debian.must("rokeep", &["overlay", "diff", "/opt"])?;
    ensure!(diff.contains("\napp (") && diff.contains("  covered    /opt/app\n"), "{diff}");
    debian.must("rokeep", &["overlay", "bind", "/opt"])?;
    assert_eq!(opt(&debian)?, ("squashfs".to_owned(), ReadOnly));
    assert_eq!(debian.must("dpkg", &["--verify", "app"])?, "");

    let running = debian.spawn(APP, &["infinity"])?;
    install(&debian, &third)?;
    assert_eq!(debian.read("/opt/app/version")?, "3");
    let writes = debian.run("touch", &["/opt/app/x"])?;
    ensure!(writes.stderr.contains("Read-only file system"), "{}", writes.stderr);
    debian.kill(running)?;
    debian.must("rokeep", &["cleanup"])?;

    let elsewhere = debian.package("elsewhere", "1")?.file("/opt/elsewhere/file")?.build()?;
    let stopped = debian.apt(&["-y", "install", &elsewhere])?;
    ensure!(
        stopped.code == 100 && stopped.stderr.contains("of elsewhere is to be written or removed"),
        "{}",
        stopped.stderr
    );
    assert_eq!(debian.installed_version("elsewhere")?, None);

    // dpkg would break off at the directory, which is a mount point on what cannot be written to.
    let stopped = debian.apt(&["-y", "remove", "app"])?;
    ensure!(stopped.code == 100 && stopped.stderr.contains("/opt/app of app is to be written"), "{}", stopped.stderr);
    assert_eq!(debian.installed_version("app")?.as_deref(), Some("3"));

    debian.must("sh", &["-euc", "umount /opt/app; umount /opt"])?;
    mounts(&debian, &format!("mount /opt; {}", play("opt-app.mount")))?;
    assert_eq!(debian.must("dpkg", &["--verify", "app"])?, "");
    debian.must("rokeep", &["overlay", "status"])?;

    debian.must("rokeep", &["overlay", "enable", "/opt"])?;
    assert_eq!((opt(&debian)?.0, debian.read("/opt/app/version")?), ("overlay".to_owned(), "3".to_owned()));
    install(&debian, &elsewhere)?;
    let listed = debian.run("rokeep", &["overlay", "bind", "/opt"])?;
    ensure!(listed.code == 3 && listed.stdout.contains("/opt/elsewhere  is not below"), "{listed:?}");
    debian.must("apt-get", &["-y", "remove", "app"])?;
    assert!(!debian.outside("/opt/app").exists());
    Ok(())
}

// ── /usr ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const USR_LOWER: &str = "/var/lib/rokeep/overlay/usr/lower";

/// /usr is an image, with everything that is installed; what it was made of is still there under it, as what an initramfs
/// has is there before /usr is.
fn usr_is_an_image() -> Result<Debian> {
    let debian = Debian::bookworm()?.with_rokeep()?.read_only()?;
    let image = debian.outside("/var/tmp/usr.squashfs");
    let built = Command::new("mksquashfs")
        .arg(debian.outside("/usr"))
        .arg(&image)
        .args(["-comp", "lz4", "-quiet", "-no-progress"])
        .output()?;
    ensure!(built.status.success(), "mksquashfs: {}", String::from_utf8_lossy(&built.stderr));
    debian.write("/etc/fstab", "/var/tmp/usr.squashfs /usr squashfs loop,ro 0 0\n")?;
    mounts(&debian, "mount /usr")?;
    debian.must("sh", &["-euc", ABOVE])?;
    Ok(debian)
}

fn fs_of_usr(debian: &Debian) -> Result<String> {
    Ok(debian.must("stat", &["--file-system", "--format=%T", "/usr"])?.trim().to_owned())
}

/// Nothing of what was mounted is left; then what is in /etc/fstab, and what the service says.
fn start_usr_again(debian: &Debian) -> Result<()> {
    debian.stop_everything()?;
    // Lazily, as it is what umount(8) itself is on.
    debian.must("sh", &["-euc", &format!("umount -l /usr; umount -l /usr; umount {USR_LOWER}")])?;
    mounts(debian, "mount /usr")?;
    let service = debian.read(&format!("{UNITS}/rokeep-overlay-usr.service"))?;
    let commands: Vec<&str> = service.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
    ensure!(commands.len() == 2, "{service}");
    debian.must("sh", &["-euc", &commands.join("; ")]).map(drop)
}

#[test]
fn usr_itself_can_be_an_image() -> Result<()> {
    let debian = usr_is_an_image()?;
    let stopped = debian.apt(&["-y", "dist-upgrade"])?;
    ensure!(stopped.code == 100 && stopped.stderr.contains("rokeep overlay enable /usr"), "{}", stopped.stderr);

    debian.must("rokeep", &["overlay", "enable", "/usr"])?;
    assert_eq!((fs_of_usr(&debian)?, debian.usr()?), ("overlayfs".to_owned(), ReadOnly));
    let run = debian.apt(&["-y", "dist-upgrade"])?;
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(debian.settled()?.usr()?, ReadOnly);
    everything_is_there(&debian)?;

    start_usr_again(&debian)?;
    assert_eq!((fs_of_usr(&debian)?, debian.usr()?), ("overlayfs".to_owned(), ReadOnly));
    everything_is_there(&debian)?;
    debian.must("rokeep", &["overlay", "status"])?;
    let diff = debian.must("rokeep", &["overlay", "diff", "/usr"])?;
    for upgrade in debian.upgrades()? {
        // A package may have no file of its own, or none in /usr.
        let has_files = debian.must("dpkg", &["--listfiles", &upgrade.package])?;
        let is_file = |path: &&str| path.starts_with("/usr/") && debian.outside(path).is_file();
        let has_one = has_files.lines().any(|path| is_file(&path));
        let named = diff.lines().any(|line| line.split([' ', ':']).next() == Some(&upgrade.package));
        ensure!(named || !has_one, "{}: {diff}", upgrade.package);
    }

    let before = debian.must("cat", &["/proc/self/mountinfo"])?;
    let listed = debian.run("rokeep", &["overlay", "bind", "/usr"])?;
    ensure!(listed.code == 3 && listed.stdout.lines().count() > 100, "{listed:?}");
    ensure!(listed.stdout.contains("  replaced, in a directory that has more from below\n"), "{}", listed.stdout);
    assert_eq!(debian.must("cat", &["/proc/self/mountinfo"])?, before);
    let suggested = listed.stdout.lines().find_map(|line| line.split_once(" --copy ")).context("no way on is said")?;
    let suggested = suggested.1.split_once('"').context("a command")?.0;
    lives_on_without_the_overlay(&debian, &suggested.split(' ').collect::<Vec<_>>())
}

/// The directories of /usr are mounted by themselves, with all that is seen in them.
fn lives_on_without_the_overlay(debian: &Debian, copied: &[&str]) -> Result<()> {
    ensure!(copied.contains(&"lib") && copied.contains(&"share"), "{copied:?}");
    // Whoever lets go of /usr cannot be there.
    debian.stop_everything()?;
    debian.must("cp", &["/usr/sbin/rokeep", "/var/tmp/rokeep"])?;
    debian.must("/var/tmp/rokeep", &[&["overlay", "bind", "/usr", "--copy"], copied].concat())?;
    let is_so = || -> Result<()> {
        assert_eq!((fs_of_usr(debian)?, debian.usr()?), ("squashfs".to_owned(), ReadOnly));
        for name in copied {
            let options = debian.must("findmnt", &["-n", "-o", "OPTIONS", "--mountpoint", &format!("/usr/{name}")])?;
            ensure!(options.starts_with("ro,"), "{name}: {options}");
        }
        debian.must("rokeep", &["overlay", "status"])?;
        everything_is_there(debian)
    };
    is_so()?;

    let version =
        |version| debian.package("app", version)?.program("/usr/lib/app")?.text("/usr/share/app", version)?.build();
    install(debian, &version("1")?)?;
    let running = debian.spawn("/usr/lib/app", &["infinity"])?;
    install(debian, &version("2")?)?;
    is_so()?;
    assert_eq!(debian.status()?.mount("/usr/lib").aliases.held, 1);
    debian.kill(running)?;
    debian.must("rokeep", &["cleanup"])?;
    let elsewhere = debian.package("elsewhere", "1")?.file("/usr/games/elsewhere")?.build()?;
    let stopped = debian.apt(&["-y", "install", &elsewhere])?;
    let says = "\"rokeep overlay bind /usr --copy games\"";
    ensure!(stopped.code == 100 && stopped.stderr.contains(says), "{}", stopped.stderr);
    debian.must("rokeep", &["overlay", "bind", "/usr", "--copy", "games"])?;
    install(debian, &elsewhere)?;

    debian.stop_everything()?;
    let units = debian.must("sh", &["-euc", &format!("cd {UNITS}; echo usr-*.mount")])?;
    let again: Vec<String> = units.split_whitespace().map(play).collect();
    ensure!(again.len() > copied.len(), "{units}");
    let points = format!("$(sed -n 's/^Where=//p' {UNITS}/usr-*.mount)");
    debian.must("sh", &["-euc", &format!("umount -l {points}; umount -l /usr")])?;
    mounts(debian, "mount /usr")?;
    debian.must("sh", &["-euc", &again.join("; ")])?;
    is_so()?;
    assert_eq!(debian.must("dpkg", &["--verify", "app", "elsewhere"])?, "");
    Ok(())
}

fn everything_is_there(debian: &Debian) -> Result<()> {
    let upgrades = debian.upgrades()?;
    assert!(upgrades.len() > 30, "{upgrades:?}");
    for upgrade in &upgrades {
        assert_eq!(debian.installed_version(&upgrade.package)?.as_ref(), Some(&upgrade.to), "{}", upgrade.package);
    }
    let verified = debian.run("dpkg", &["--verify"])?.stdout;
    let wrong: Vec<&str> = verified.lines().filter(|line| line.contains(" /usr/")).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}
