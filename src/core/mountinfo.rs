//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), read as bytes.
//!
//! Paths in it are escaped: space, tab, newline and backslash as three octal digits.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::inode::Device;
use super::mount_options::Options;
use super::mount_state::{Access, Flags};

/// One mount of one mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's id of the mount, the same that statx(2) reports as `stx_mnt_id`.
    pub id: u64,
    /// The superblock's device number; not `st_dev` on btrfs and overlayfs.
    pub device: Device,
    /// Which directory of the file system is its root.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// `ext4`, `btrfs`, …
    pub fs_type: String,
    /// What was mounted: a device, a server, a word.
    pub source: PathBuf,
    /// Whether the mount and the superblock under it are read-only.
    pub flags: Flags,
    /// The kernel refuses writes because of errors on the file system.
    pub failed: bool,
    /// What it is put together from, where it is an overlayfs.
    pub overlay: Option<Overlay>,
    /// It is a /proc that shows a process to nobody but who may trace it (proc(5), `hidepid`).
    pub hides_processes: bool,
    /// All that is said of how it and its superblock are mounted.
    pub options: Options,
}

/// The options of an overlayfs that matter (Documentation/filesystems/overlayfs.rst).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The directory that takes the writes, as it was called when it was mounted.
    pub upper: Option<PathBuf>,
    /// Whether it copies a file's metadata alone where that is enough.
    pub metacopy: bool,
}

impl Mount {
    /// Whether files on it can have a second name at all. FAT knows neither hard links nor who owns a file.
    pub fn knows_hard_links(&self) -> bool {
        !matches!(self.fs_type.as_str(), "vfat" | "msdos" | "exfat")
    }

    /// Whether this kind of file system can be read and never written.
    pub fn is_never_writable(&self) -> bool {
        matches!(self.fs_type.as_str(), "squashfs" | "erofs" | "iso9660" | "cramfs" | "romfs")
    }

    /// Whether a server has it, which may refuse what the kernel here would allow.
    pub fn has_server(&self) -> bool {
        let kind = self.fs_type.as_str();
        matches!(kind, "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "virtiofs") || kind.starts_with("fuse.")
    }

    /// Whether a write lease on a file of it is refused because somebody here has that file. Clients of NFS and SMB get one
    /// only where the server has promised them the file (fs/nfs/nfs4proc.c, nfs4_add_lease; fs/smb/client/cifsfs.c,
    /// cifs_setlease), and are refused it otherwise (EAGAIN), though nobody has it.
    pub fn gives_leases(&self) -> bool {
        !matches!(self.fs_type.as_str(), "nfs" | "nfs4" | "cifs" | "smb3")
    }

    /// Whether the kernel can forget an inode of it that has a name: what is in memory alone it cannot (`tmpfs`).
    pub fn can_be_forgotten(&self) -> bool {
        !matches!(self.fs_type.as_str(), "tmpfs" | "ramfs")
    }

    /// Whether its files may have another `st_dev` than its root: those of a btrfs subvolume, those of one layer of an
    /// overlayfs.
    pub fn has_several_devs(&self) -> bool {
        matches!(self.fs_type.as_str(), "btrfs" | "overlay")
    }

    /// What its root was called, where that has no such name any more (fs/dcache.c, dentry_path).
    pub fn deleted_root(&self) -> Option<&Path> {
        self.root.as_os_str().as_bytes().strip_suffix(b"//deleted").map(|path| Path::new(OsStr::from_bytes(path)))
    }

    /// Where something is that is called this in the file system's own tree, if it can be seen through this mount.
    pub fn path_outside(&self, inside: &Path) -> Option<PathBuf> {
        let below = inside.strip_prefix(&self.root).ok()?;
        Some(if below.as_os_str().is_empty() { self.point.clone() } else { self.point.join(below) })
    }

    /// Where a path below the mount point is in the file system, relative to its topmost directory.
    pub fn path_inside(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.point).ok()?;
        Some(self.root.strip_prefix("/").ok()?.join(below))
    }
}

/// Every mount in the text; lines that are not of the documented form are left out.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(mount).collect()
}

/// Every mount of one of these file systems; the lines of others are hardly looked at.
pub fn parse_some(text: &[u8], devices: &HashSet<Device>) -> Vec<Mount> {
    let is_one = |line: &&[u8]| {
        let field = line.split(|b| *b == b' ').nth(2);
        field.and_then(device).is_some_and(|device| devices.contains(&device))
    };
    text.split(|b| *b == b'\n').filter(is_one).filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let id = number(fields.next()?)?;
    let _parent = fields.next()?;
    let device = device(fields.next()?)?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let mount_options = fields.next()?;
    let mount_access = access(mount_options)?;
    // Optional fields, as many as there are, up to a lone hyphen.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    let superblock_options = fields.next()?;
    let failed = has_failed(superblock_options);
    let superblock_access = if failed { Access::ReadOnly } else { access(superblock_options)? };
    let flags = Flags { mount: mount_access, superblock: superblock_access };
    let overlay = (fs_type == "overlay").then(|| overlay(superblock_options));
    let hides_processes = fs_type == "proc" && hides_processes(superblock_options);
    let options = Options { mount: mount_options.to_vec(), superblock: superblock_options.to_vec() };
    Some(Mount { id, device, root, point, fs_type, source, flags, failed, overlay, hides_processes, options })
}

fn overlay(options: &[u8]) -> Overlay {
    let mut options = options.split(|b| *b == b',');
    let upper = options.clone().find_map(|option| option.strip_prefix(b"upperdir=")).map(unescape);
    Overlay { upper, metacopy: options.any(|option| option == b"metacopy=on") }
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<Device> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// Both option lists begin with `ro` or `rw`.
fn access(options: &[u8]) -> Option<Access> {
    match options.split(|b| *b == b',').next()? {
        b"ro" => Some(Access::ReadOnly),
        b"rw" => Some(Access::Writable),
        _ => None,
    }
}

/// The kernel refuses writes because of errors, though it may go on calling the superblock `rw` (ext4 since Linux 6.15).
fn has_failed(superblock_options: &[u8]) -> bool {
    superblock_options.split(|b| *b == b',').any(|option| option == b"emergency_ro")
}

/// By number until Linux 5.7, by name since. `noaccess` shows them, and nothing of what they have.
fn hides_processes(superblock_options: &[u8]) -> bool {
    let mut options = superblock_options.split(|b| *b == b',').filter_map(|option| option.strip_prefix(b"hidepid="));
    options.any(|how| !matches!(how, b"0" | b"off"))
}

/// A path as the kernel escapes it, here and in `/proc/swaps` and `/proc/PID/fdinfo` (fs/seq_file.c, seq_file_path).
pub fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| tail.split_at_checked(3)).flatten();
        match escaped.and_then(|(digits, after)| Some((octal(digits)?, after))) {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    if !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_line_with_and_without_optional_fields() {
        let mounts = parse(
            b"29 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n\
              31 29 254:2 /@usr /usr ro,nodev,relatime shared:2 master:3 - btrfs /dev/vda2 rw,subvol=/@usr\n\
              32 29 0:30 / /opt ro - tmpfs opt ro\n",
        );
        let seen: Vec<_> = mounts.iter().map(|m| (m.id, m.point.to_str().unwrap(), m.flags)).collect();
        let (ro, rw) = (Access::ReadOnly, Access::Writable);
        assert_eq!(
            seen,
            [
                (29, "/", Flags { mount: rw, superblock: rw }),
                (31, "/usr", Flags { mount: ro, superblock: rw }),
                (32, "/opt", Flags { mount: ro, superblock: ro }),
            ]
        );
        assert_eq!(mounts[1].device, Device { major: 254, minor: 2 });
    }

    #[test]
    fn only_fat_knows_no_hard_links() {
        let mounts = parse(b"1 1 8:1 / /boot/efi ro - vfat /dev/x ro\n2 1 8:2 / /usr ro - ext4 /dev/y ro\n");
        assert_eq!(mounts.iter().map(Mount::knows_hard_links).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_lease_of_a_server_says_nothing_of_who_is_here() {
        let mounts = parse(b"1 1 0:30 / /usr ro - nfs4 s:/usr ro\n2 1 8:2 / /opt ro - ext4 /dev/y ro\n");
        assert_eq!(mounts.iter().map(Mount::gives_leases).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_file_system_that_failed_is_not_writable() {
        let mounts = parse(b"1 1 8:1 / /usr rw - ext4 /dev/x rw,errors=remount-ro,emergency_ro\n");
        assert_eq!(mounts[0].flags, Flags { mount: Access::Writable, superblock: Access::ReadOnly });
        assert!(mounts[0].failed);
    }

    #[test]
    fn where_an_overlay_writes() {
        let mounts = parse(
            b"1 1 0:40 / /usr ro - overlay usr rw,lowerdir=/l,upperdir=/up\\040per\\054x,workdir=/w,metacopy=on\n\
              2 1 0:41 / /opt ro - overlay opt ro,lowerdir=/l:/m\n\
              3 1 0:40 /share /srv/x ro - overlay usr rw,upperdir=/u\n",
        );
        let overlay = |upper: Option<&str>, metacopy| Some(Overlay { upper: upper.map(PathBuf::from), metacopy });
        assert_eq!(mounts[0].overlay, overlay(Some("/up per,x"), true));
        assert_eq!(mounts[1].overlay, overlay(None, false));
        assert_eq!(mounts[2].path_inside(Path::new("/srv/x/doc/a")), Some("share/doc/a".into()));
        assert_eq!(mounts[0].path_inside(Path::new("/usr")), Some(PathBuf::new()));
        assert_eq!(mounts[0].path_inside(Path::new("/opt/a")), None);
    }

    #[test]
    fn a_root_that_is_gone_says_so() {
        let mounts = parse(
            b"1 1 8:1 /bin/tool//deleted /srv/tool ro - ext4 /dev/x ro\n\
              2 1 8:1 /bin/tool /srv/tool ro - ext4 /dev/x ro\n\
              3 1 8:1 /lib /usr/lib ro - ext4 /dev/x ro\n",
        );
        let deleted: Vec<_> = mounts.iter().map(Mount::deleted_root).collect();
        assert_eq!(deleted, [Some(Path::new("/bin/tool")), None, None]);
        assert_eq!(mounts[2].path_outside(Path::new("/lib/x.so")), Some("/usr/lib/x.so".into()));
        assert_eq!(mounts[2].path_outside(Path::new("/lib")), Some("/usr/lib".into()));
        assert_eq!(mounts[2].path_outside(Path::new("/bin/tool")), None);
    }

    #[test]
    fn only_what_is_asked_for() {
        let text = b"1 1 8:1 / / rw - ext4 /dev/x rw\n2 1 0:5 / /proc rw - proc proc rw\nx\n";
        let devices = HashSet::from([Device { major: 8, minor: 1 }]);
        assert_eq!(parse_some(text, &devices), parse(text)[..1]);
    }

    #[test]
    fn a_proc_that_hides_processes() {
        for (options, hides) in [
            ("rw", false),
            ("rw,hidepid=off", false),
            ("rw,hidepid=0,gid=4", false),
            ("rw,gid=4,hidepid=invisible", true),
            ("rw,hidepid=2", true),
            ("rw,hidepid=noaccess", true),
            ("rw,hidepid=ptraceable,subset=pid", true),
        ] {
            let mounts = parse(format!("1 1 0:5 / /proc rw - proc proc {options}\n").as_bytes());
            assert_eq!(mounts[0].hides_processes, hides, "{options}");
        }
        assert!(!parse(b"1 1 0:5 / /x rw - tmpfs x rw,hidepid=2\n")[0].hides_processes);
    }

    #[test]
    fn names_are_bytes() {
        let mounts = parse(b"1 1 8:1 / /a\\040b\\011\\012\\134\xff rw - ext4 /dev/x ro\n");
        assert_eq!(mounts[0].point.as_os_str(), OsStr::from_bytes(b"/a b\t\n\\\xff"));
    }

    #[test]
    fn a_backslash_that_escapes_nothing_is_itself() {
        assert_eq!(unescape(b"/a\\9").as_os_str(), OsStr::from_bytes(b"/a\\9"));
        assert_eq!(unescape(b"/a\\").as_os_str(), OsStr::from_bytes(b"/a\\"));
    }

    #[test]
    fn nonsense_is_left_out() {
        assert_eq!(parse(b"\nx\n1 2 3\n1 1 8:1 / / rw no separator\n"), []);
    }
}
