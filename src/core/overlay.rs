//! Overlay mode: a mount that can never be writable, and what is installed on it all the same.
//!
//! An overlayfs lies over the mount. *Below* it is what is mounted there; *above* it is a directory of another file system,
//! which takes what is written (Documentation/filesystems/overlayfs.rst calls them lower and upper layer).
#![forbid(unsafe_code)]

pub mod binds;
pub mod diff;
pub mod layers;
pub mod seen;
pub mod shown;
pub mod units;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::check::fstab::Entry;
use super::message;
use super::mountinfo::{self, Mount};

/// Where overlays are written down, what is below each can be reached, and, unless another place is named, what is above
/// it is kept.
pub const HOME: &str = "/var/lib/rokeep/overlay";

/// The version of a record's form.
pub const FORMAT: u32 = 1;

/// What is on none of its layers is made, and a directory that is renamed leads to the one below. The kernel's defaults
/// depend on how it was built, and what is above must be read as it was written.
pub const OPTIONS: [(&str, &str); 3] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "on")];

/// fsconfig(2) takes no longer value (fs/fsopen.c).
const LONGEST_VALUE: usize = 255;

/// An overlay: over which mount, and where what is above it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// [`FORMAT`].
    pub format: u32,
    /// The mount point.
    #[serde(with = "super::text::path_as_text")]
    pub point: PathBuf,
    /// The directory that has what is above.
    #[serde(with = "super::text::path_as_text")]
    pub place: PathBuf,
    /// What is mounted there without it, as it is mounted when the machine starts.
    pub below: Below,
    /// Names in the mount's root directory that a new directory above hides, as nothing was installed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "super::text::paths_as_text")]
    pub masks: Vec<PathBuf>,
    /// Directories, from the mount point, that are mounted one by one over what is below, in place of the overlay.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "super::text::paths_as_text")]
    pub bound: Vec<PathBuf>,
    /// Directories, from the mount point, in whose place copies of what is seen there are being put.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "super::text::paths_as_text")]
    pub exchanged: Vec<PathBuf>,
    /// It goes with the next start of the machine, or went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires: Option<Retires>,
}

/// Which start of the machine is the last that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retires {
    /// That (random(4), `boot_id`).
    pub after: String,
    /// What is above goes, too.
    pub discards: bool,
}

/// What is below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Below {
    /// A device, an image, a server.
    #[serde(with = "super::text::path_as_text")]
    pub source: PathBuf,
    /// `squashfs`, `nfs4`, …
    pub fs_type: String,
    /// Separated by commas.
    pub options: String,
    /// Those of `nosuid`, `nodev`, `noexec`, `nosymfollow` that it is mounted with: what lies over it is so too.
    pub flags: Vec<String>,
    /// Of which kind it was when it got its overlay; /etc/fstab may leave that open.
    pub mounted_type: String,
    /// Which directory of its file system was mounted.
    #[serde(with = "super::text::path_as_text")]
    pub mounted_root: PathBuf,
    /// It comes over a network, and so later.
    pub is_remote: bool,
    /// /etc/fstab has it.
    pub is_in_fstab: bool,
}

impl Overlay {
    /// An overlay over this mount; what is above goes to `place`, or to where it goes if nobody says.
    ///
    /// # Errors
    /// Where a name cannot be passed on to the kernel and to systemd.
    pub fn new(mount: &Mount, place: Option<&Path>, entry: Option<&Entry>) -> Result<Overlay, Unfit> {
        let point = mount.point.clone();
        if point == Path::new("/") {
            return Err(Unfit::Early(point));
        }
        if entry.is_none() && mount.root != Path::new("/") {
            return Err(Unfit::Part(point));
        }
        let place = place.map_or_else(|| home(&point), Path::to_owned);
        let below = Below::of(mount, entry);
        let [masks, bound, exchanged] = [const { Vec::new() }; 3];
        let overlay = Overlay { format: FORMAT, below, point, place, masks, bound, exchanged, retires: None };
        let is_rokeeps = ["/var/lib/rokeep", "/run/rokeep"].iter().any(|dir| overlay.place.starts_with(dir));
        if is_rokeeps && !overlay.is_in_its_usual_place() {
            return Err(Unfit::Ours(overlay.place));
        }
        let Below { source, fs_type, options, .. } = &overlay.below;
        let layers = [&overlay.point, &overlay.place].into_iter().filter(|path| !is_plain(path, b""));
        let unit = [source.as_path(), Path::new(fs_type), Path::new(options)];
        let unit = unit.into_iter().filter(|path| !is_plain(path, b":,"));
        if let Some(odd) = layers.map(PathBuf::as_path).chain(unit).next() {
            return Err(Unfit::Odd(odd.to_owned()));
        }
        match overlay.layers().into_iter().find(|(_, path)| path.as_os_str().len() > LONGEST_VALUE) {
            Some((_, long)) => Err(Unfit::Long(long)),
            None => Ok(overlay),
        }
    }

    /// Where what is below can be reached, also while the overlay covers it.
    pub fn lower(&self) -> PathBuf {
        home(&self.point).join("lower")
    }

    /// What is above.
    pub fn upper(&self) -> PathBuf {
        self.place.join("upper")
    }

    /// Where overlayfs prepares what goes above.
    pub fn work(&self) -> PathBuf {
        self.place.join("work")
    }

    /// The layers, by the names of the options that overlayfs takes them by.
    pub fn layers(&self) -> [(&'static str, PathBuf); 3] {
        [("lowerdir", self.lower()), ("upperdir", self.upper()), ("workdir", self.work())]
    }

    /// Whether directories of what is above are mounted one by one, and there is no overlay.
    pub fn is_bound(&self) -> bool {
        !self.bound.is_empty()
    }

    /// The same, as an overlay.
    pub fn unbound(&self) -> Overlay {
        Overlay { bound: Vec::new(), ..self.clone() }
    }

    /// The same, and no start of the machine is its last.
    pub fn that_stays(&self) -> Overlay {
        Overlay { retires: None, ..self.clone() }
    }

    /// As [`is_mounted_early`], of its mount point.
    pub fn is_mounted_early(&self) -> bool {
        is_mounted_early(&self.point)
    }

    /// Those directories: where each is above, and where it is mounted.
    pub fn binds(&self) -> impl Iterator<Item = Bind> + use<'_> {
        self.bound.iter().map(|path| Bind { from: self.upper().join(path), to: self.point.join(path) })
    }

    /// The topmost directory with a path, from the mount point, in which none is that is mounted by itself.
    pub fn could_be_bound_for(&self, path: &Path) -> Option<PathBuf> {
        let path = path.strip_prefix(&self.point).ok()?;
        let is_free = |directory: &&Path| !self.bound.iter().any(|bound| bound.starts_with(directory));
        let free = path.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty()).take_while(is_free);
        free.last().filter(|directory| binds::can_be_mounted(directory)).map(Path::to_owned)
    }

    /// One of these names that it does not hide.
    pub fn not_masked<'a>(&self, masks: &'a [PathBuf]) -> Option<&'a Path> {
        masks.iter().find(|name| !self.masks.contains(name)).map(PathBuf::as_path)
    }

    /// Where it is written down.
    pub fn record(&self) -> PathBuf {
        record(&self.point)
    }

    /// Whether it is this that is mounted.
    pub fn is(&self, mount: &Mount) -> bool {
        mount.point == self.point && self.has_what_is_above(mount)
    }

    /// Whether it is an overlay with the same above it, wherever.
    pub fn has_what_is_above(&self, mount: &Mount) -> bool {
        mount.overlay.as_ref().and_then(|overlay| overlay.upper.as_deref()) == Some(&self.upper())
    }

    /// Whether what is above one of two would be in what is above the other.
    pub fn shares_its_place(&self, other: &Overlay) -> bool {
        self.place.starts_with(&other.place) || other.place.starts_with(&self.place)
    }

    /// Whether nobody has chosen the place.
    pub fn is_in_its_usual_place(&self) -> bool {
        self.place == home(&self.point)
    }
}

/// A directory above that is mounted by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where it is.
    pub from: PathBuf,
    /// Where it is mounted: a directory of what is below.
    pub to: PathBuf,
}

/// Whether what is there is mounted before systemd reads any unit (initramfs-tools(7), `mountroot`), and is always in use.
pub fn is_mounted_early(point: &Path) -> bool {
    point == Path::new("/usr")
}

/// Where the overlay over a mount point is written down.
pub fn record(point: &Path) -> PathBuf {
    home(point).join("overlay.json")
}

/// The directory in [`HOME`] for a mount point.
pub fn home(point: &Path) -> PathBuf {
    Path::new(HOME).join(in_a_name(point))
}

/// A path as one name, of no other path: `/srv/my-app` is `srv-my=2dapp`.
pub fn in_a_name(path: &Path) -> String {
    use std::fmt::Write;
    let path = path.as_os_str().as_bytes();
    let mut name = String::new();
    for byte in path.strip_prefix(b"/").unwrap_or(path) {
        match byte {
            b'/' => name.push('-'),
            b'-' | b'=' => drop(write!(name, "={byte:02x}")),
            byte => name.push(char::from(*byte)),
        }
    }
    name
}

/// Reads what was written down.
///
/// # Errors
/// Another format, or what is no overlay, in words.
pub fn parse(text: &[u8]) -> Result<Overlay, String> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let damaged = |error: serde_json::Error| format!("it is damaged ({})", message::text(&error.to_string()));
    match serde_json::from_slice(text).map_err(damaged)? {
        Versioned { format: FORMAT } => serde_json::from_slice(text).map_err(damaged),
        Versioned { format } => Err(format!("it is of format {format}, and this rokeep knows format {FORMAT}")),
    }
}

/// Why there can be no overlay of that name.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has a character that means something else to overlayfs or to systemd.
    Odd(PathBuf),
    /// It has more bytes than the kernel takes.
    Long(PathBuf),
    /// It is mounted before anything could lay an overlay over it.
    Early(PathBuf),
    /// What rokeep remembers is there, and goes with it.
    Ours(PathBuf),
    /// A directory of a file system, and nobody has written down which.
    Part(PathBuf),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Odd(path) => write!(
                f,
                "{} has a character in it that means something else to overlayfs or to systemd: only ASCII letters, digits, \
                 and none of , : \\ % \" ' $ ; and spaces can be there",
                message::path(path)
            ),
            Unfit::Early(path) => write!(
                f,
                "{} is mounted before anything could lay an overlay over it, and would be without when the machine has started",
                message::path(path)
            ),
            Unfit::Ours(path) => {
                write!(
                    f,
                    "{} is where rokeep keeps what goes when it is purged: name another place",
                    message::path(path)
                )
            }
            Unfit::Part(path) => write!(
                f,
                "only a directory of its file system is mounted at {0}, and /etc/fstab does not say which: put {0} there first",
                message::path(path)
            ),
            Unfit::Long(path) => {
                write!(f, "{} is longer than the {LONGEST_VALUE} bytes that the kernel takes", message::path(path))
            }
        }
    }
}

impl std::error::Error for Unfit {}

/// Nothing in it separates anything: neither in the options of a mount, nor in a unit. But for these, where they may.
fn is_plain(path: &Path, may: &[u8]) -> bool {
    const MEANS_SOMETHING: &[u8] = b":,\\%\"'$;";
    let plain = |byte: &u8| byte.is_ascii_graphic() && (!MEANS_SOMETHING.contains(byte) || may.contains(byte));
    path.as_os_str().as_bytes().iter().all(plain)
}

/// The flags of a mount that say what its files may do.
const FLAGS: [&str; 4] = ["nosuid", "nodev", "noexec", "nosymfollow"];

/// What systemd orders after the network, `_netdev` apart (src/basic/mountpoint-util.c, fstype_is_network).
const NETWORK: [&str; 17] = [
    "afs",
    "ceph",
    "cifs",
    "smb3",
    "smbfs",
    "sshfs",
    "ncpfs",
    "ncp",
    "nfs",
    "nfs4",
    "gfs",
    "gfs2",
    "glusterfs",
    "pvfs2",
    "ocfs2",
    "lustre",
    "davfs",
];

/// Whether the machine mounts it only once it has a network.
pub fn comes_over_a_network(fs_type: &str, options: &str) -> bool {
    NETWORK.contains(&fs_type.strip_prefix("fuse.").unwrap_or(fs_type))
        || options.split(',').any(|word| word == "_netdev")
}

impl Below {
    /// Whether a mount can be this, as far as what lasts tells: a device may have another number after the next start.
    pub fn can_be(&self, mount: &Mount) -> bool {
        (&self.mounted_type, &self.mounted_root) == (&mount.fs_type, &mount.root)
    }

    /// Whether the machine mounts it when it starts.
    pub fn is_mounted_at_the_start(&self) -> bool {
        !self.options.split(',').any(|option| ["noauto", "x-systemd.automount"].contains(&option))
    }

    /// Whether the machine is to start without it too.
    pub fn may_fail(&self) -> bool {
        let has_it = self.options.split(',').any(|option| ["nofail", "x-systemd.automount"].contains(&option));
        has_it || self.is_in_the_background()
    }

    /// Its options as systemd has them in a unit. A mount.nfs that goes on in the background is nothing that a unit could wait
    /// for: it stays in front, for as long as it would have tried there, and nobody waits for the unit (systemd.mount(5),
    /// fstab). What /etc/fstab says of that itself comes later, and counts.
    pub fn options_in_a_unit(&self) -> String {
        match self.is_in_the_background() {
            true => format!("x-systemd.mount-timeout=infinity,retry=10000,nofail,{},fg", self.options),
            false => self.options.clone(),
        }
    }

    /// nfs(5), `bg`. An automount waits for it anyway.
    fn is_in_the_background(&self) -> bool {
        let words = || self.options.split(',');
        let last = words().rfind(|word| ["bg", "fg"].contains(word));
        let is_automounted = words().any(|word| word == "x-systemd.automount");
        ["nfs", "nfs4"].contains(&&*self.fs_type) && last == Some("bg") && !is_automounted
    }

    /// By /etc/fstab, if that has it: there the device has its lasting name. Otherwise by what is mounted now.
    fn of(mount: &Mount, entry: Option<&Entry>) -> Below {
        let field =
            |number: usize| entry.and_then(|entry| entry.fields.get(number)).map(|field| mountinfo::unescape(field));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let source = field(0).map_or_else(|| mount.source.clone(), |source| device(&source));
        let fs_type = field(2).map_or_else(|| mount.fs_type.clone(), text);
        let options = field(3).map_or_else(|| "ro".to_owned(), text);
        let is_remote = [&fs_type, &mount.fs_type].iter().any(|kind| comes_over_a_network(kind, &options));
        let mounted = String::from_utf8_lossy(&mount.options.mount);
        let has = |flag: &&str| mounted.split(',').chain(options.split(',')).any(|word| word == *flag);
        let flags = FLAGS.into_iter().filter(has).map(str::to_owned).collect();
        let (mounted_type, mounted_root) = (mount.fs_type.clone(), mount.root.clone());
        Below { source, fs_type, options, flags, mounted_type, mounted_root, is_remote, is_in_fstab: entry.is_some() }
    }
}

/// What fstab(5) calls by a tag has a name in /dev, which systemd waits for.
fn device(source: &Path) -> PathBuf {
    const TAGS: [(&str, &str); 4] = [
        ("UUID=", "/dev/disk/by-uuid"),
        ("LABEL=", "/dev/disk/by-label"),
        ("PARTUUID=", "/dev/disk/by-partuuid"),
        ("PARTLABEL=", "/dev/disk/by-partlabel"),
    ];
    let bytes = source.as_os_str().as_bytes();
    let tagged = TAGS.into_iter().find_map(|(tag, dir)| Some((dir, bytes.strip_prefix(tag.as_bytes())?)));
    match tagged {
        Some((dir, name)) => {
            Path::new(dir).join(OsStr::from_bytes(name.trim_ascii_start()).to_string_lossy().trim_matches('"'))
        }
        None => source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::fstab;

    pub(super) fn opt(line: &str, table: &str, place: Option<&str>) -> Result<Overlay, Unfit> {
        let mount = mountinfo::parse(line.as_bytes()).remove(0);
        let table = fstab::parse(table.as_bytes());
        let entry = table.iter().find(|entry| entry.point == mount.point);
        Overlay::new(&mount, place.map(Path::new), entry)
    }

    pub(super) const IMAGE: &str = "1 1 7:0 / /opt ro,relatime - squashfs /dev/loop0 ro,errors=continue\n";

    #[test]
    fn each_mount_point_has_a_place_of_its_own() {
        let names =
            ["/opt", "/srv/my-app", "/srv-my/app", "/srv/my/app", "/srv=/app"].map(|point| home(Path::new(point)));
        let expected = ["opt", "srv-my=2dapp", "srv=2dmy-app", "srv-my-app", "srv=3d-app"];
        assert_eq!(names, expected.map(|name| Path::new(HOME).join(name)));
    }

    #[test]
    fn what_is_below_has_the_name_that_lasts() {
        let below = |table| opt(IMAGE, table, None).unwrap().below;
        let found = below("UUID=12-ab /opt squashfs ro,nofail 0 0\n");
        assert_eq!(found.source, Path::new("/dev/disk/by-uuid/12-ab"));
        assert_eq!((&found.options[..], found.is_remote, found.is_in_fstab), ("ro,nofail", false, true));
        let found = below("/srv/opt.squashfs /opt auto loop,ro,_netdev\n");
        assert_eq!((&found.source, &found.fs_type[..], found.is_remote), (&"/srv/opt.squashfs".into(), "auto", true));
        let found = below("/dev/sda1 /srv ext4 ro\n");
        assert_eq!((found.source, found.is_in_fstab), ("/dev/loop0".into(), false));
    }

    #[test]
    fn a_server_is_reached_over_a_network() {
        let overlay = opt("1 1 0:30 / /opt ro - nfs4 server:/opt ro,vers=4.2\n", "", None).unwrap();
        assert!(overlay.below.is_remote);
        assert_eq!(overlay.below.source, Path::new("server:/opt"));
    }

    #[test]
    fn what_systemd_takes_for_local_is() {
        for (line, table, remote) in [
            ("1 1 0:30 / /opt ro - 9p host ro\n", "", false),
            ("1 1 0:30 / /opt ro - fuse.sshfs host:/opt ro\n", "", true),
            (IMAGE, "/dev/sdb1 /opt squashfs ro,_netdev\n", true),
        ] {
            assert_eq!(opt(line, table, None).unwrap().below.is_remote, remote, "{line}");
        }
    }

    #[test]
    fn what_files_may_not_do_below_they_may_not_do_above() {
        let flags = |line, table| opt(line, table, None).unwrap().below.flags;
        assert_eq!(flags("1 1 7:0 / /opt ro,nosuid,nodev,noatime - squashfs /dev/loop0 ro\n", ""), ["nosuid", "nodev"]);
        assert_eq!(flags(IMAGE, "/srv/image /opt squashfs loop,ro,noexec\n"), ["noexec"]);
    }

    #[test]
    fn what_cannot_be_mounted_again_as_it_is_gets_none() {
        let bind = "1 1 8:1 /srv/app /opt ro - ext4 /dev/sda1 rw\n";
        assert!(opt(bind, "", None).unwrap_err().to_string().contains("put /opt there first"));
        let overlay = opt(bind, "/srv/app /opt none bind,ro\n", None).unwrap();
        assert!(overlay.below.can_be(&mountinfo::parse(bind.as_bytes())[0]));
        assert!(!overlay.below.can_be(&mountinfo::parse(IMAGE.as_bytes())[0]));
        let root = IMAGE.replace("/opt", "/");
        assert!(opt(&root, "", None).unwrap_err().to_string().contains("before anything could lay an overlay over it"));
    }

    #[test]
    fn two_overlays_share_no_place() {
        let at = |place| opt(IMAGE, "", Some(place)).unwrap();
        assert!(at("/data/x").shares_its_place(&at("/data/x")) && at("/data/x/y").shares_its_place(&at("/data/x")));
        assert!(!at("/data/x").shares_its_place(&at("/data/xy")));
        assert!(opt(IMAGE, "", None).unwrap().is_in_its_usual_place() && !at("/data/x").is_in_its_usual_place());
    }

    #[test]
    fn what_would_mean_something_else_is_refused() {
        for (line, place, says) in [
            (IMAGE, Some("/srv/a:b"), "/srv/a:b has a character"),
            (IMAGE, Some("/srv/a,b"), "/srv/a,b has a character"),
            (IMAGE, Some("/srv/a b"), "/srv/a b has a character"),
            ("1 1 7:0 / /o\\040pt ro - squashfs /dev/loop0 ro\n", None, "/o pt has a character"),
            ("1 1 7:0 / /opt ro - squashfs /srv/a\\134b ro\n", None, "has a character"),
            (IMAGE, Some("/var/lib/rokeep/data"), "goes when it is purged"),
            (IMAGE, Some("/var/lib/rokeep/overlay"), "goes when it is purged"),
            (IMAGE, Some("/srv/%h"), "/srv/%25h has a character"),
        ] {
            let error = opt(line, "", place).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let error = opt(IMAGE, "/dev/sda1 /opt squashfs ro,x-note=\\012What=/etc\n", None).unwrap_err().to_string();
        assert!(error.contains("has a character"), "{error}");
        assert!(opt(IMAGE, "/dev/disk/by-path/pci-0000:00 /opt squashfs ro\n", None).is_ok());
        let long = format!("/srv/{}", "x".repeat(250));
        assert!(opt(IMAGE, "", Some(&long)).unwrap_err().to_string().contains("longer than the 255 bytes"));
    }

    #[test]
    fn it_is_told_from_other_overlays_by_what_is_above() {
        let overlay = opt(IMAGE, "", None).unwrap();
        let mounted = |point, upper| {
            let line = format!("2 1 0:40 / {point} ro - overlay rokeep ro,lowerdir=/l,upperdir={upper},workdir=/w\n");
            mountinfo::parse(line.as_bytes()).remove(0)
        };
        assert!(overlay.is(&mounted("/opt", "/var/lib/rokeep/overlay/opt/upper")));
        assert!(!overlay.is(&mounted("/opt", "/srv/upper")));
        assert!(!overlay.is(&mounted("/srv", "/var/lib/rokeep/overlay/opt/upper")));
        assert!(!overlay.is(&mountinfo::parse(IMAGE.as_bytes())[0]));
    }

    #[test]
    fn what_else_could_be_mounted_covers_nothing_that_is() {
        let mut overlay = opt(IMAGE, "", None).unwrap();
        overlay.bound = vec!["lib".into(), "share/doc".into()];
        for (path, directory) in [
            ("/opt/games/x/y", Some("games")),
            ("/opt/share/games/x", Some("share/games")),
            ("/opt/share/x", None),
            ("/opt/x", None),
            ("/opt/a b/x", None),
        ] {
            assert_eq!(overlay.could_be_bound_for(Path::new(path)), directory.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn it_reads_back_what_it_wrote() {
        let overlay = opt(IMAGE, "", Some("/srv/above")).unwrap();
        let text = serde_json::to_vec(&overlay).unwrap();
        assert_eq!(parse(&text), Ok(overlay));
        assert!(parse(b"{\"format\":2}").unwrap_err().contains("format 2"));
        let error = parse(b"{\"format\":1,\"a\\nb\":1}").unwrap_err();
        assert!(error.contains("damaged") && !error.contains('\n'), "{error}");
    }
}
