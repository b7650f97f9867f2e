//! The units that mount an overlay when the machine starts (systemd.mount(5)). They need mount(8), and no rokeep.
//!
//! /usr is mounted before systemd reads any unit, so that a mount unit of it would have nothing to do: a service lays the
//! overlay over it as soon as there are all local file systems, as systemd-sysext(8) does.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::{Bind, OPTIONS, Overlay, binds};
use crate::core::check::fstab::unit_name;

/// Where they are. They come before what systemd makes of /etc/fstab, which has a unit of the same name.
pub const DIRECTORY: &str = "/etc/systemd/system";

/// The first line: whose it is. A unit without it is somebody else's.
pub const MARK: &str = "# Made by \"rokeep overlay enable\", and taken away by \"rokeep overlay disable\".\n";

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its file name.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// The target that mounts it when the machine starts; none where another unit, or nothing, does.
    pub wanted_by: Option<&'static str>,
}

impl Unit {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// The link by which its target has it.
    pub fn link(&self) -> Option<PathBuf> {
        self.wanted_by.map(|target| Path::new(DIRECTORY).join(format!("{target}.wants")).join(&self.name))
    }
}

/// The units that there are to be, in the order in which they are mounted: what is below, and the overlay; or, where
/// directories are mounted one by one, those, and what is below unless /etc/fstab has it.
pub fn units(overlay: &Overlay) -> Vec<Unit> {
    if overlay.is_bound() { bound(overlay) } else { laid(overlay) }
}

/// Every unit that there may have been before it became what it is.
pub fn all(overlay: &Overlay) -> Vec<Unit> {
    laid(overlay).into_iter().chain(bound(overlay)).collect()
}

/// The one that mounts what is below an overlay, to its own place: nothing starts it but the overlay.
pub fn below_alone(overlay: &Overlay) -> Option<Unit> {
    (!overlay.is_mounted_early() && !overlay.is_bound()).then(|| below(overlay))
}

fn laid(overlay: &Overlay) -> Vec<Unit> {
    match overlay.is_mounted_early() {
        true => vec![early(overlay)],
        false => vec![below(overlay), above(overlay)],
    }
}

fn bound(overlay: &Overlay) -> Vec<Unit> {
    let is_early = overlay.is_mounted_early();
    let plain = (!overlay.below.is_in_fstab && !is_early).then(|| plain(overlay));
    let looked_at_again = is_early.then(|| looked_at_again(overlay));
    plain.into_iter().chain(overlay.binds().map(|bind| bind_unit(overlay, &bind))).chain(looked_at_again).collect()
}

fn target(overlay: &Overlay) -> &'static str {
    if comes_later(overlay) { "remote-fs.target" } else { "local-fs.target" }
}

/// Whether it waits for the network, which what is mounted early has had.
fn comes_later(overlay: &Overlay) -> bool {
    overlay.below.is_remote && !overlay.is_mounted_early()
}

/// What waits for it: its target, unless the machine is to start without it too (systemd.mount(5), `nofail`); and what
/// /etc/fstab says so of.
fn before(overlay: &Overlay) -> String {
    let target = (!overlay.below.may_fail()).then(|| format!("Before={}\n", target(overlay)));
    let others = overlay.below.options.split(',').filter_map(|option| option.strip_prefix("x-systemd.before="));
    target.into_iter().chain(others.map(|unit| format!("Before={}\n", unit_of(unit)))).collect()
}

/// The target, if what is below is mounted when the machine starts.
fn wanted_by(overlay: &Overlay) -> Option<&'static str> {
    overlay.below.is_mounted_at_the_start().then(|| target(overlay))
}

fn below(overlay: &Overlay) -> Unit {
    let lower = overlay.lower();
    Unit { name: unit_name(&lower), text: mounting_below(overlay, &lower), wanted_by: None }
}

/// What is below, where it is without an overlay.
fn plain(overlay: &Overlay) -> Unit {
    let text = mounting_below(overlay, &overlay.point) + &install(overlay);
    Unit { name: unit_name(&overlay.point), text, wanted_by: wanted_by(overlay) }
}

fn install(overlay: &Overlay) -> String {
    format!("\n[Install]\nWantedBy={}\n", target(overlay))
}

fn mounting_below(overlay: &Overlay, at: &Path) -> String {
    let (point, below) = (overlay.point.display(), &overlay.below);
    let options = below.options_in_a_unit();
    format!(
        "{MARK}\
         [Unit]\n\
         Description=What is below the overlay on {point}\n\
         Documentation=man:rokeep(8)\n\
         {}{}\
         \n\
         [Mount]\n\
         What={}\n\
         Where={}\n\
         Type={}\n\
         Options={options}\n\
         {}",
        before(overlay),
        needs(&options),
        below.source.display(),
        at.display(),
        below.fs_type,
        timeout(&options),
    )
}

/// How long its mount(8) may take; of several the last counts. systemd reads that in /etc/fstab, and not in a unit.
fn timeout(options: &str) -> String {
    let said = options.split(',').rev().find_map(|option| option.strip_prefix("x-systemd.mount-timeout="));
    said.map_or_else(String::new, |time| format!("TimeoutSec={time}\n"))
}

fn bind_unit(overlay: &Overlay, bind: &Bind) -> Unit {
    let how = how(overlay);
    // Not those of the mount that it is on.
    let otherwise = [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")].map(|(no, yes)| {
        let is_set = overlay.below.flags.iter().any(|flag| flag == no);
        (!is_set).then(|| yes.to_owned())
    });
    let flags = overlay.below.flags.iter().cloned().chain(otherwise.into_iter().flatten());
    let words = ["bind".to_owned(), "ro".to_owned()].into_iter().chain(flags);
    let text = format!(
        "{MARK}\
         [Unit]\n\
         Description={}, as it was installed\n\
         Documentation=man:rokeep(8)\n\
         {}{}\
         RequiresMountsFor={} {}\n\
         \n\
         [Mount]\n\
         What={}\n\
         Where={}\n\
         Type=none\n\
         Options={}\n",
        bind.to.display(),
        before(overlay),
        if overlay.is_mounted_early() { as_early(overlay, bind) } else { String::new() },
        overlay.point.display(),
        bind.from.display(),
        bind.from.display(),
        bind.to.display(),
        words.chain(how).collect::<Vec<_>>().join(","),
    );
    Unit { name: unit_name(&bind.to), text: text + &install(overlay), wanted_by: wanted_by(overlay) }
}

/// Like /usr itself it is not for a machine that goes down to unmount, as nobody could let go of it. And a program is there only
/// once what it needs is: mount(8) has to be able to mount the next one.
fn as_early(overlay: &Overlay, bind: &Bind) -> String {
    let libraries = overlay.bound.iter().filter(|path| binds::has_libraries(path));
    let before = libraries.map(|path| overlay.point.join(path)).take_while(|path| *path != bind.to);
    let before: String =
        before.map(|path| unit_name(&path)).map(|unit| format!("Requires={unit}\nAfter={unit}\n")).collect();
    format!("DefaultDependencies=no\n{before}")
}

/// What the options say of other units: systemd reads that in /etc/fstab, and not in a unit (systemd.mount(5), fstab).
fn needs(options: &str) -> String {
    let lines = |option: &str| {
        let (key, value) = option.strip_prefix("x-systemd.")?.split_once('=')?;
        match key {
            "requires" => Some(format!("Requires={0}\nAfter={0}\n", unit_of(value))),
            "after" => Some(format!("After={}\n", unit_of(value))),
            "requires-mounts-for" => Some(format!("RequiresMountsFor={value}\n")),
            _ => None,
        }
    };
    options.split(',').filter_map(lines).collect()
}

/// A path stands for its mount, or its device; what has no kind is a mount (unit_name_mangle_with_suffix).
fn unit_of(value: &str) -> String {
    let name = |path: &str| unit_name(&Path::new(path).components().collect::<PathBuf>());
    match (value.starts_with("/dev/"), value.starts_with('/')) {
        (true, _) => {
            let name = name(value);
            format!("{}.device", name.strip_suffix(".mount").unwrap_or(&name))
        }
        (false, true) => name(value),
        (false, false) if !value.contains('.') => format!("{value}.mount"),
        (false, false) => value.to_owned(),
    }
}

fn above(overlay: &Overlay) -> Unit {
    let (point, lower) = (overlay.point.display(), unit_name(&overlay.lower()));
    let text = format!(
        "{MARK}\
         [Unit]\n\
         Description={point}, with what was installed on it\n\
         Documentation=man:rokeep(8)\n\
         BindsTo={lower}\n\
         After={lower}\n\
         {}\
         RequiresMountsFor={}\n\
         \n\
         [Mount]\n\
         What=rokeep\n\
         Where={point}\n\
         Type=overlay\n\
         Options={}\n",
        before(overlay),
        overlay.place.display(),
        options(overlay),
    );
    Unit { name: unit_name(&overlay.point), text: text + &install(overlay), wanted_by: wanted_by(overlay) }
}

/// What is mounted already gets its place below, and the overlay comes over it; once, as whoever starts a service later starts
/// this, too. The module for it may be above alone, as a kernel is that was installed there.
fn early(overlay: &Overlay) -> Unit {
    let (point, lower, upper) = (overlay.point.display(), overlay.lower(), overlay.upper());
    let (lower, upper) = (lower.display(), upper.display());
    let text = format!(
        "{}\
         RequiresMountsFor={point} {lower} {}\n\
         ConditionPathIsMountPoint={point}\n\
         ConditionPathIsMountPoint=!{lower}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStartPre=-/bin/sh -c 'modprobe --quiet overlay || modprobe --dirname {upper} overlay'\n\
         ExecStart=/bin/mount --bind --make-private {point} {lower}\n\
         ExecStart=/bin/mount -t overlay -o {} rokeep {point}\n\
         ExecStartPost=-/bin/systemctl daemon-reload\n\
         {}",
        before_what_starts(overlay),
        overlay.place.display(),
        options(overlay),
        look_again(overlay),
    );
    service(overlay, text)
}

/// Where directories are mounted one by one in place of the overlay, only this is left for the service. It is for the start of
/// the machine: whoever starts a service later, or since they were mounted, starts this, too.
fn looked_at_again(overlay: &Overlay) -> Unit {
    let mounts = overlay.binds().map(|bind| unit_name(&bind.to));
    // Without one of them the others are there all the same.
    let mounts: String = mounts.map(|unit| format!("Wants={unit}\nAfter={unit}\n")).collect();
    let text = format!(
        "{}\
         {mounts}\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecCondition=/bin/sh -c 'systemctl is-system-running | grep --quiet --word-regexp -e initializing -e starting'\n\
         ExecStart=-/bin/systemctl daemon-reload\n\
         {}",
        before_what_starts(overlay),
        look_again(overlay),
    );
    service(overlay, text)
}

fn service(overlay: &Overlay, text: String) -> Unit {
    let name = format!("rokeep-overlay-{}", unit_name(&overlay.point).replace(".mount", ".service"));
    Unit { name, text, wanted_by: Some("sysinit.target") }
}

fn before_what_starts(overlay: &Overlay) -> String {
    format!(
        "{MARK}\
         [Unit]\n\
         Description={}, with what was installed on it\n\
         Documentation=man:rokeep(8)\n\
         DefaultDependencies=no\n\
         Conflicts=shutdown.target\n\
         After=local-fs.target\n\
         Before=systemd-tmpfiles-setup.service sysinit.target shutdown.target\n",
        overlay.point.display()
    )
}

/// systemd has read the units of what is below by then, and asked for those that are to be started, udev has looked at the
/// devices with its rules and modules, and what is set once at each start was set by what is below.
fn look_again(overlay: &Overlay) -> String {
    let upper = overlay.upper();
    let upper = upper.display();
    format!(
        "ExecStartPost=-/bin/sh -c '{ASK_AGAIN}'\n\
         ExecStartPost=-/bin/systemctl --no-block try-restart {SET_ONCE}\n\
         ExecStartPost=-/bin/sh -c 'if test -e {upper}/lib/udev || test -e {upper}/lib/modules/$$(uname -r); \
         then {SEE_DEVICES_AGAIN}; fi'\n\
         \n\
         [Install]\n\
         WantedBy=sysinit.target\n"
    )
}

/// While the machine starts, has what it starts for be asked for again: also what is above alone. `$$` is systemd's `$`.
const ASK_AGAIN: &str = "aim=$$(systemctl show --property=Id --value default.target); \
     systemctl list-jobs --no-legend \"$$aim\" | grep --quiet . && systemctl --no-block start \"$$aim\"";

/// udev has looked at all devices by then, with the rules and modules that are below.
const SEE_DEVICES_AGAIN: &str = "udevadm control --reload; udevadm trigger --action=add";

/// What reads modules-load.d, sysctl.d and binfmt.d, and is done before there is an overlay.
const SET_ONCE: &str = "systemd-modules-load.service systemd-sysctl.service systemd-binfmt.service";

/// What systemd takes of the options, and mount(8) leaves alone: when it comes, and whether the machine does without.
fn how(overlay: &Overlay) -> impl Iterator<Item = String> {
    let network = comes_later(overlay).then(|| "_netdev".to_owned());
    let may_fail = overlay.below.may_fail().then(|| "nofail".to_owned());
    network.into_iter().chain(may_fail)
}

/// As mount(8) takes them.
pub fn options(overlay: &Overlay) -> String {
    let layers = overlay.layers().map(|(name, path)| format!("{name}={}", path.display()));
    let more = OPTIONS.map(|(name, value)| format!("{name}={value}"));
    let how = how(overlay);
    let flags = overlay.below.flags.iter().cloned();
    ["ro".to_owned()].into_iter().chain(flags).chain(layers).chain(more).chain(how).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{IMAGE, opt};
    use super::*;

    #[test]
    fn an_image_below() {
        let overlay = opt(IMAGE, "/srv/opt.squashfs /opt squashfs loop,ro\n", None).unwrap();
        let [below, above] = laid(&overlay).try_into().unwrap();
        assert_eq!(below.name, "var-lib-rokeep-overlay-opt-lower.mount");
        assert_eq!(above.name, "opt.mount");
        for line in [
            "What=/srv/opt.squashfs",
            "Where=/var/lib/rokeep/overlay/opt/lower",
            "Type=squashfs",
            "Options=loop,ro",
            "Before=local-fs.target",
        ] {
            assert!(below.text.lines().any(|found| found == line), "{line}: {}", below.text);
        }
        for line in [
            "BindsTo=var-lib-rokeep-overlay-opt-lower.mount",
            "After=var-lib-rokeep-overlay-opt-lower.mount",
            "RequiresMountsFor=/var/lib/rokeep/overlay/opt",
            "Where=/opt",
            "Options=ro,lowerdir=/var/lib/rokeep/overlay/opt/lower,upperdir=/var/lib/rokeep/overlay/opt/upper,\
             workdir=/var/lib/rokeep/overlay/opt/work,index=off,metacopy=off,redirect_dir=on",
            "WantedBy=local-fs.target",
        ] {
            assert!(above.text.lines().any(|found| found == line), "{line}: {}", above.text);
        }
        assert_eq!(
            (below.link(), above.link()),
            (None, Some("/etc/systemd/system/local-fs.target.wants/opt.mount".into()))
        );
    }

    #[test]
    fn what_files_may_not_do() {
        let overlay = opt(IMAGE, "/srv/opt.squashfs /opt squashfs loop,ro,nosuid,nodev\n", None).unwrap();
        assert!(options(&overlay).starts_with("ro,nosuid,nodev,lowerdir="), "{}", options(&overlay));
    }

    #[test]
    fn what_comes_over_a_network_comes_later() {
        let line = "1 1 0:30 / /srv/my-app ro - nfs4 server:/app ro\n";
        let overlay = opt(line, "", Some("/srv/above")).unwrap();
        let [below, above] = laid(&overlay).try_into().unwrap();
        assert_eq!(below.name, "var-lib-rokeep-overlay-srv\\x2dmy\\x3d2dapp-lower.mount");
        assert_eq!(above.name, "srv-my\\x2dapp.mount");
        assert!(below.text.contains("Before=remote-fs.target\n") && above.text.contains("WantedBy=remote-fs.target\n"));
        assert!(above.text.contains(",upperdir=/srv/above/upper,") && above.text.contains(",_netdev\n"));
        assert_eq!(above.link(), Some("/etc/systemd/system/remote-fs.target.wants/srv-my\\x2dapp.mount".into()));
    }

    #[test]
    fn what_fstab_says_of_other_units_goes_for_what_is_below() {
        let line = "1 1 0:30 / /opt ro - nfs4 server:/opt ro\n";
        let options = "ro,x-systemd.requires=vpn.service,x-systemd.after=/srv/,x-systemd.requires=/dev/sdb,x-systemd.automount,\
                       x-systemd.before=backup.service,x-systemd.requires-mounts-for=/srv/key";
        let overlay = opt(line, &format!("server:/opt /opt nfs4 {options} 0 0\n"), None).unwrap();
        let [below, above] = laid(&overlay).try_into().unwrap();
        let said: Vec<&str> = below.text.lines().skip_while(|line| !line.starts_with("Before=")).collect();
        let expected = [
            "Before=backup.service",
            "Requires=vpn.service",
            "After=vpn.service",
            "After=srv.mount",
            "Requires=dev-sdb.device",
            "After=dev-sdb.device",
            "RequiresMountsFor=/srv/key",
            "",
        ];
        assert_eq!(said.get(..expected.len()), Some(&expected[..]), "{}", below.text);
        assert!(!above.text.contains("vpn.service"), "it comes after what is below: {}", above.text);
        assert!(above.text.contains("Before=backup.service\n"), "{}", above.text);
        assert_eq!(
            (above.link(), above.text.contains("Before=remote-fs.target\n")),
            (None, false),
            "it has an automount"
        );
        assert_eq!(
            ["/dev/disk/by-label/my.mount1", "/dev/my.mount", "vpn"].map(unit_of),
            ["dev-disk-by\\x2dlabel-my.mount1.device", "dev-my.mount.device", "vpn.mount"]
        );
    }

    #[test]
    fn how_long_fstab_says_to_wait_is_waited() {
        let table =
            "/srv/opt.squashfs /opt squashfs loop,ro,x-systemd.mount-timeout=5,x-systemd.mount-timeout=2min 0 0\n";
        let mut overlay = opt(IMAGE, table, None).unwrap();
        let [below, above] = laid(&overlay).try_into().unwrap();
        assert!(below.text.ends_with("TimeoutSec=2min\n"), "{}", below.text);
        assert!(!above.text.contains("TimeoutSec="), "{}", above.text);
        overlay.below.options = "loop,ro".to_owned();
        assert!(!laid(&overlay)[0].text.contains("TimeoutSec="));
    }

    /// As systemd-fstab-generator has it: systemd waits for the server, and nobody for systemd.
    #[test]
    fn an_export_in_the_background_is_waited_for_by_systemd_alone() {
        let line = "1 1 0:30 / /opt ro - nfs4 server:/opt ro\n";
        let units = |options: &str| {
            let overlay = opt(line, &format!("server:/opt /opt nfs {options} 0 0\n"), None).unwrap();
            <[Unit; 2]>::try_from(laid(&overlay)).unwrap()
        };
        let [below, above] = units("ro,bg");
        let options = "Options=x-systemd.mount-timeout=infinity,retry=10000,nofail,ro,bg,fg\nTimeoutSec=infinity\n";
        assert!(below.text.ends_with(options), "{}", below.text);
        assert!(above.text.contains(",nofail\n"), "{}", above.text);
        assert!(![&below, &above].iter().any(|unit| unit.text.contains("Before=")), "{}", above.text);
        // What /etc/fstab says itself comes last, and counts.
        let [below, _] = units("ro,bg,x-systemd.mount-timeout=1h,retry=3");
        assert!(
            below.text.ends_with("nofail,ro,bg,x-systemd.mount-timeout=1h,retry=3,fg\nTimeoutSec=1h\n"),
            "{}",
            below.text
        );
        for options in ["ro,bg,fg", "ro", "ro,bg,x-systemd.automount"] {
            let [below, _] = units(options);
            assert!(below.text.ends_with(&format!("Options={options}\n")), "{}", below.text);
        }
    }

    #[test]
    fn the_machine_starts_without_what_may_fail() {
        let mut overlay = opt(IMAGE, "/srv/opt.squashfs /opt squashfs loop,ro,nofail 0 0\n", None).unwrap();
        let [below, above] = laid(&overlay).try_into().unwrap();
        overlay.bound = vec!["app".into()];
        for unit in [below, above, bound(&overlay).remove(0)] {
            assert!(!unit.text.contains("Before=") && unit.text.contains(",nofail"), "{}", unit.text);
        }
    }

    #[test]
    fn what_is_mounted_before_systemd_is_laid_over_by_a_service() {
        let line = IMAGE.replace("/opt", "/usr");
        let overlay = opt(&line, "/dev/vdb /usr squashfs ro 0 0\n", None).unwrap();
        let [service] = units(&overlay).try_into().unwrap();
        assert_eq!(service.name, "rokeep-overlay-usr.service");
        for line in [
            "ExecStart=/bin/mount --bind --make-private /usr /var/lib/rokeep/overlay/usr/lower",
            "After=local-fs.target",
            "Before=systemd-tmpfiles-setup.service sysinit.target shutdown.target",
            "RequiresMountsFor=/usr /var/lib/rokeep/overlay/usr/lower /var/lib/rokeep/overlay/usr",
            "ConditionPathIsMountPoint=!/var/lib/rokeep/overlay/usr/lower",
            "ExecStartPre=-/bin/sh -c 'modprobe --quiet overlay || modprobe --dirname /var/lib/rokeep/overlay/usr/upper overlay'",
            "ExecStartPost=-/bin/sh -c 'if test -e /var/lib/rokeep/overlay/usr/upper/lib/udev || \
             test -e /var/lib/rokeep/overlay/usr/upper/lib/modules/$$(uname -r); \
             then udevadm control --reload; udevadm trigger --action=add; fi'",
            "ExecStartPost=-/bin/systemctl --no-block try-restart systemd-modules-load.service systemd-sysctl.service \
             systemd-binfmt.service",
        ] {
            assert!(service.text.lines().any(|found| found == line), "{line}: {}", service.text);
        }
        let link = "/etc/systemd/system/sysinit.target.wants/rokeep-overlay-usr.service";
        assert_eq!(service.link(), Some(link.into()));
    }

    #[test]
    fn what_starts_is_looked_for_again_where_directories_of_usr_are_mounted() {
        let mut overlay = opt(&IMAGE.replace("/opt", "/usr"), "/dev/vdb /usr squashfs ro 0 0\n", None).unwrap();
        overlay.bound = vec!["lib".into(), "bin".into()];
        overlay.below.is_remote = true;
        let [lib, bin, service] = units(&overlay).try_into().unwrap();
        assert_eq!((&bin.name[..], &service.name[..]), ("usr-bin.mount", "rokeep-overlay-usr.service"));
        let says = |unit: &Unit, line: &str| unit.text.lines().any(|found| found == line);
        for unit in [&lib, &bin] {
            for line in ["Before=local-fs.target", "DefaultDependencies=no", "Options=bind,ro,suid,dev,exec"] {
                assert!(says(unit, line), "{line}: {}", unit.text);
            }
        }
        for line in ["Requires=usr-lib.mount", "After=usr-lib.mount"] {
            assert!(says(&bin, line) && !says(&lib, line), "{line}: {}", bin.text);
        }
        for line in [
            "After=local-fs.target",
            "Before=systemd-tmpfiles-setup.service sysinit.target shutdown.target",
            "Wants=usr-lib.mount",
            "After=usr-bin.mount",
            "ExecStart=-/bin/systemctl daemon-reload",
        ] {
            assert!(service.text.lines().any(|found| found == line), "{line}: {}", service.text);
        }
        assert!(!service.text.contains("/bin/mount"), "{}", service.text);
        let laid = units(&overlay.unbound()).remove(0);
        let posts = |unit: &Unit| unit.text.lines().filter(|line| line.starts_with("ExecStartPost=")).count();
        assert_eq!((posts(&laid), posts(&service)), (4, 3), "{}", service.text);
    }

    #[test]
    fn directories_one_by_one() {
        let mut overlay = opt("1 1 0:30 / /opt ro,nosuid - nfs4 server:/opt ro\n", "", None).unwrap();
        overlay.bound = vec!["my-app".into()];
        let all = units(&overlay);
        let [plain, bind] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((&plain.name[..], &bind.name[..]), ("opt.mount", "opt-my\\x2dapp.mount"));
        for line in [
            "What=/var/lib/rokeep/overlay/opt/upper/my-app",
            "Where=/opt/my-app",
            "Options=bind,ro,nosuid,dev,exec,_netdev",
            "RequiresMountsFor=/opt /var/lib/rokeep/overlay/opt/upper/my-app",
            "WantedBy=remote-fs.target",
        ] {
            assert!(bind.text.lines().any(|found| found == line), "{line}: {}", bind.text);
        }
        assert!(plain.text.contains("Where=/opt\n") && plain.text.contains("WantedBy=remote-fs.target\n"));
        overlay.below.is_in_fstab = true;
        assert_eq!(units(&overlay), std::slice::from_ref(bind));
        assert_eq!(super::all(&overlay).len(), 3);
    }
}
