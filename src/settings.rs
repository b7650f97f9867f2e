//! `/etc/rokeep/config.toml`, optional.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::core::message;
use crate::core::paths::ListedPath;
use crate::overlay::Wanted;
use crate::pins::Look;
use crate::sys::files::Root;

/// Where the settings are.
pub const PATH: &str = "/etc/rokeep/config.toml";

/// Without settings, those of these that are mount points and read-only when apt starts.
pub const DEFAULT_MOUNTS: [&str; 5] = ["/", "/usr", "/boot", "/boot/efi", "/opt"];

/// What an administrator may decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The mount points to manage instead of [`DEFAULT_MOUNTS`].
    mounts: Option<Vec<PathBuf>>,
    /// What goes for one mount alone, by mount point.
    managed: BTreeMap<PathBuf, OneMount>,
    /// Post-Invoke exits 1, and so fails the apt run, if a mount could not go back to read-only.
    pub strict_exit: bool,
    /// How closely every cleanup looks, the one at the end of a package run too: `"usual"` or `"deep"`.
    pub cleanup: Look,
}

/// What goes for one mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OneMount {
    mode: Mode,
    upper: Option<PathBuf>,
    mask: Vec<PathBuf>,
}

/// How a mount becomes writable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Itself.
    #[default]
    Remount,
    /// It never does: an overlay is laid over it, and that does.
    Overlay,
}

impl Settings {
    /// Reads the settings; without the file, the defaults.
    ///
    /// # Errors
    /// Where the file cannot be read, names an unknown setting, or a mount that is not an absolute path.
    pub fn load(root: &Root) -> Result<Settings> {
        let path = root.path(PATH);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Settings::parse(&text).with_context(|| format!("the settings in {} are wrong", path.display()))
    }

    /// The mount points to look at. One that is not mounted, or writable when apt starts, is left alone.
    pub fn mounts(&self) -> Vec<PathBuf> {
        self.mounts.clone().unwrap_or_else(|| DEFAULT_MOUNTS.map(PathBuf::from).into())
    }

    /// Whether an administrator named this mount: then it is meant to be read-only between package runs.
    pub fn names(&self, mount: &Path) -> bool {
        self.mounts.as_ref().is_some_and(|named| named.iter().any(|point| point == mount))
    }

    /// The mounts that are to have an overlay.
    pub fn overlays(&self) -> impl Iterator<Item = Wanted<'_>> {
        let overlays = self.managed.iter().filter(|(_, one)| one.mode == Mode::Overlay);
        overlays.map(|(point, one)| Wanted { point, place: one.upper.as_deref(), masks: &one.mask })
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// See [`Settings::load`].
    pub fn parse(text: &str) -> Result<Settings> {
        let mut settings: Settings = toml::from_str(text).map_err(|error| in_one_line(&error, text))?;
        if let Some(mounts) = &mut settings.mounts {
            ensure!(!mounts.is_empty(), "\"mounts\" names none; remove the line for the defaults");
            for mount in mounts {
                *mount = absolute(mount)?;
            }
        }
        let mut each = BTreeMap::new();
        for (mount, mut one) in settings.managed {
            let others = [("upper", one.upper.is_some()), ("mask", !one.mask.is_empty())];
            if let Some((name, _)) = others.iter().find(|(_, is_set)| one.mode != Mode::Overlay && *is_set) {
                bail!("{}: \"{name}\" is for mode = \"overlay\"", message::path(&mount));
            }
            if let Some(name) = one.mask.iter().find(|name| !is_name(name)) {
                bail!("{}: {} is no name in its root directory", message::path(&mount), message::path(name));
            }
            one.upper = one.upper.as_deref().map(absolute).transpose()?;
            each.insert(absolute(&mount)?, one);
        }
        settings.managed = each;
        Ok(settings)
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    plain(path).with_context(|| format!("{} is not an absolute path", message::path(path)))
}

/// Its own form is a drawing of several lines, which a log cannot show; and a key may have anything in it.
fn in_one_line(error: &toml::de::Error, text: &str) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let said = message::text(error.message());
    match before.map(|before| before.matches('\n').count() + 1) {
        Some(line) => anyhow!("line {line}: {said}"),
        None => anyhow!(said),
    }
}

/// Whether it is the name of something in a directory.
pub fn is_name(path: &Path) -> bool {
    let mut parts = path.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if *name == *path.as_os_str())
}

/// A mount point as mountinfo spells it; `None` for what is no absolute path without `.` and `..`.
pub fn plain(mount: &Path) -> Option<PathBuf> {
    if mount == Path::new("/") {
        return Some(mount.to_owned());
    }
    ListedPath::parse(mount.as_os_str().as_encoded_bytes()).map(|path| path.full().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_unit_looks_for_a_store_on_each_default_mount() {
        let unit = include_str!("../systemd/rokeep-boot.service");
        // FAT has no hard links, and no store.
        for mount in DEFAULT_MOUNTS.iter().filter(|mount| **mount != "/boot/efi") {
            let line = format!("ConditionPathExists=|{}/.rokeep", mount.trim_end_matches('/'));
            assert!(unit.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let settings = Settings::parse("strict_exit = true\n").unwrap();
        assert_eq!(settings, Settings { strict_exit: true, ..Settings::default() });
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        assert_eq!(Settings::parse("cleanup = 'deep'").unwrap().cleanup, Look::Deep);
    }

    #[test]
    fn mounts_are_spelled_as_the_kernel_does() {
        assert_eq!(Settings::parse("mounts = ['/usr/', '/']").unwrap().mounts(), [PathBuf::from("/usr"), "/".into()]);
    }

    #[test]
    fn a_mount_may_have_an_overlay() {
        let text = "[managed.'/opt/']\nmode = 'overlay'\n[managed.'/srv/app']\nmode = 'overlay'\nupper = '/data/app'\nmask = ['old']\n\
                    [managed.'/usr']\nmode = 'remount'\n";
        let settings = Settings::parse(text).unwrap();
        let overlays: Vec<_> =
            settings.overlays().map(|wanted| (wanted.point, wanted.place, wanted.masks.to_vec())).collect();
        let app = (Path::new("/srv/app"), Some(Path::new("/data/app")), vec!["old".into()]);
        assert_eq!(overlays, [(Path::new("/opt"), None, vec![]), app]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, says) in [
            ("mount = ['/usr']", "unknown field `mount`"),
            ("mounts = ['usr']", "usr is not an absolute path"),
            ("mounts = [\"u\\tsr\"]", "u%09sr is not an absolute path"),
            ("mounts = []", "names none"),
            ("mounts = ['/usr/../opt']", "not an absolute path"),
            ("strict_exit = 'yes'", "invalid type"),
            ("[managed.opt]", "opt is not an absolute path"),
            ("[managed.'/opt']\nmode = 'over'", "line 2: unknown variant `over`"),
            ("[managed.'/opt']\nmode = 'overlay'\nupper = 'data'", "data is not an absolute path"),
            ("[managed.'/opt']\nupper = '/data'", "/opt: \"upper\" is for mode = \"overlay\""),
            ("[managed.'/opt']\nmask = ['a']", "/opt: \"mask\" is for mode = \"overlay\""),
            ("[managed.'/opt']\nmode = 'overlay'\nmask = ['a/b']", "/opt: a/b is no name in its root directory"),
            ("[managed.'/opt']\nmode = 'overlay'\nmask = ['..']", "/opt: .. is no name in its root directory"),
            ("cleanup = 'shallow'", "unknown variant `shallow`"),
            ("strict_exit = true\nmount = []", "line 2: unknown field `mount`"),
            ("\"mo\\nunts\" = []", "line 1: unknown field `mo%0Aunts`"),
        ] {
            let error = format!("{:#}", Settings::parse(text).unwrap_err());
            assert!(error.contains(says) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
