//! The units that mount an overlay when the machine starts (systemd.mount(5)). They need mount(8), and no rokeep.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::{OPTIONS, Overlay};
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
}

impl Unit {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }
}

/// What is below, and the overlay; in the order in which they are mounted.
pub fn units(overlay: &Overlay) -> [Unit; 2] {
    [below(overlay), above(overlay)]
}

/// The link by which the machine mounts it when it starts; it is there if what is below is mounted then.
pub fn wanted(overlay: &Overlay) -> PathBuf {
    let target = target(overlay);
    Path::new(DIRECTORY).join(format!("{target}.wants")).join(unit_name(&overlay.point))
}

fn target(overlay: &Overlay) -> &'static str {
    if overlay.below.is_remote { "remote-fs.target" } else { "local-fs.target" }
}

fn below(overlay: &Overlay) -> Unit {
    let (point, lower, below) = (overlay.point.display(), overlay.lower(), &overlay.below);
    let text = format!(
        "{MARK}\
         [Unit]\n\
         Description=What is below the overlay on {point}\n\
         Documentation=man:rokeep(8)\n\
         Before={}\n\
         \n\
         [Mount]\n\
         What={}\n\
         Where={}\n\
         Type={}\n\
         Options={}\n",
        target(overlay),
        below.source.display(),
        lower.display(),
        below.fs_type,
        below.options,
    );
    Unit { name: unit_name(&lower), text }
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
         Before={}\n\
         RequiresMountsFor={}\n\
         \n\
         [Mount]\n\
         What=rokeep\n\
         Where={point}\n\
         Type=overlay\n\
         Options={}\n\
         \n\
         [Install]\n\
         WantedBy={}\n",
        target(overlay),
        overlay.place.display(),
        options(overlay),
        target(overlay),
    );
    Unit { name: unit_name(&overlay.point), text }
}

/// As mount(8) takes them.
pub fn options(overlay: &Overlay) -> String {
    let layers = overlay.layers().map(|(name, path)| format!("{name}={}", path.display()));
    let more = OPTIONS.map(|(name, value)| format!("{name}={value}"));
    let network = overlay.below.is_remote.then(|| "_netdev".to_owned());
    let flags = overlay.below.flags.iter().cloned();
    ["ro".to_owned()].into_iter().chain(flags).chain(layers).chain(more).chain(network).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{IMAGE, opt};
    use super::*;

    #[test]
    fn an_image_below() {
        let overlay = opt(IMAGE, "/srv/opt.squashfs /opt squashfs loop,ro\n", None).unwrap();
        let [below, above] = units(&overlay);
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
        assert_eq!(wanted(&overlay), Path::new("/etc/systemd/system/local-fs.target.wants/opt.mount"));
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
        let [below, above] = units(&overlay);
        assert_eq!(below.name, "var-lib-rokeep-overlay-srv\\x2dmy\\x3d2dapp-lower.mount");
        assert_eq!(above.name, "srv-my\\x2dapp.mount");
        assert!(below.text.contains("Before=remote-fs.target\n") && above.text.contains("WantedBy=remote-fs.target\n"));
        assert!(above.text.contains(",upperdir=/srv/above/upper,") && above.text.contains(",_netdev\n"));
        assert_eq!(wanted(&overlay), Path::new("/etc/systemd/system/remote-fs.target.wants/srv-my\\x2dapp.mount"));
    }
}
