//! What the mounts of a small world are made of.

use FileSystem::{
    Btrfs, Erofs, Exfat, Ext4, Ext4OfFewFiles, Inhabited, MixedBtrfs, Overlay, OverlayOutOfSight, Squashfs, Subvolume,
    Tmpfs, TmpfsOf, Xfs,
};

/// What a mount is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4 on a loop device.
    Ext4,
    /// The same, with room for few files.
    Ext4OfFewFiles,
    /// xfs on a loop device.
    Xfs,
    /// btrfs on a loop device.
    Btrfs,
    /// A small btrfs, whose names take their room from the same pool as its data.
    MixedBtrfs,
    /// Memory.
    Tmpfs,
    /// Memory, with these options.
    TmpfsOf(&'static str),
    /// A subvolume of the one btrfs that all the mounts of this kind in a world share, as `/usr` beside `/home`.
    Subvolume(&'static str),
    /// overlayfs with these options: memory over a read-only ext4 in which [`LOWER`] are.
    Overlay(&'static str),
    /// The same, but the directories that the mount table names cannot be found under these names: it was mounted before
    /// the root directory was what it is, as an initramfs does.
    OverlayOutOfSight,
    /// exFAT on a loop device, by way of FUSE: it knows neither hard links nor modes.
    Exfat,
    /// squashfs on a loop device, which nobody can write.
    Squashfs,
    /// The same, with something of somebody's in each directory ([`THEIRS`]).
    Inhabited,
    /// erofs on a loop device, which nobody can write.
    Erofs,
}

/// The files that are in the lower layer of an overlay from the beginning: programs that can run.
pub const LOWER: [&str; 2] = ["/usr/bin/lower", "/usr/bin/second"];

/// What is in each directory of an [`FileSystem::Inhabited`].
pub const THEIRS: &str = "theirs";

impl FileSystem {
    /// Every one on which a file can have a second name, each as most people have it.
    pub const ALL: [FileSystem; 5] = [Ext4, Xfs, Btrfs, Tmpfs, Overlay("")];

    /// Shell that makes the one with this number and mounts it. What holds its data is below `image`.
    pub(super) fn make_and_mount(self, number: usize, directory: &str) -> String {
        let image = FileSystem::image(number);
        let (size, mkfs) = match self {
            Ext4 | Ext4OfFewFiles | Xfs | Btrfs | MixedBtrfs => self.on_a_device(),
            Tmpfs => return format!("mount -t tmpfs -o size=64M,mode=755 tmpfs {directory}\n"),
            TmpfsOf(options) => return format!("mount -t tmpfs -o {options},mode=755 tmpfs {directory}\n"),
            Subvolume(name) => return subvolume(name, directory),
            Overlay(options) => return overlay(&image, options, "chroot . /image/holder", "", directory),
            OverlayOutOfSight => return overlay(&image, "", "image/holder", "$ROOT", directory),
            Exfat => return exfat(&image, directory),
            Squashfs => return finished(&image, MKSQUASHFS, directory),
            Inhabited => {
                let make =
                    format!("for name in bin sbin lib; do echo theirs > $made/$name/{THEIRS}; done\n{MKSQUASHFS}");
                return finished(&image, &make, directory);
            }
            Erofs => return finished(&image, "mkfs.erofs --quiet $image $made", directory),
        };
        format!("truncate -s {size} {image}\n{mkfs} {image} >/dev/null\nmount -o loop {image} {directory}\n")
    }

    /// It is an image of what there was when it was made, and never writable.
    pub(super) fn is_finished(self) -> bool {
        matches!(self, Squashfs | Inhabited | Erofs)
    }

    /// How large the smallest is, and what makes it.
    pub(super) fn on_a_device(self) -> (&'static str, &'static str) {
        match self {
            Ext4 => ("64M", "mkfs.ext4 -q -e remount-ro"),
            Ext4OfFewFiles => ("64M", "mkfs.ext4 -q -e remount-ro -N 1000"),
            Xfs => ("300M", "mkfs.xfs -q"),
            Btrfs => ("128M", "mkfs.btrfs -q"),
            MixedBtrfs => ("48M", "mkfs.btrfs -q --mixed"),
            other => panic!("{other:?} is not on a device"),
        }
    }

    /// The file of a file system on a loop device.
    pub(super) fn image(number: usize) -> String {
        format!("image/{number}")
    }
}

const MKSQUASHFS: &str = "mksquashfs $made $image -quiet -no-progress";

/// `make` makes the image of a directory that is complete.
fn finished(image: &str, make: &str, directory: &str) -> String {
    format!(
        "made={image}.made; image={image}\nmkdir -p $made/bin $made/sbin $made/lib\n{make} >/dev/null\n\
         mount -o loop,ro $image {directory}\n"
    )
}

fn subvolume(name: &str, directory: &str) -> String {
    let image = "image/subvolumes";
    format!(
        "if [ ! -e {image} ]; then truncate -s 128M {image}; mkfs.btrfs -q {image} >/dev/null; mkdir image/all; fi\n\
         mount -o loop {image} image/all\nbtrfs -q subvolume create image/all/{name}\numount image/all\n\
         mount -o loop,subvol={name} {image} {directory}\n"
    )
}

/// `helper` is what mounts it, and `root` what its root directory is called there: mountinfo repeats the names that it
/// was given.
fn overlay(image: &str, options: &str, helper: &str, root: &str, directory: &str) -> String {
    let more = if options.is_empty() { String::new() } else { format!(",{options}") };
    let programs = LOWER.map(|path| path.trim_start_matches("/usr/")).map(|name| format!("cp \"$HOLDER\" low/{name}"));
    format!(
        "cp -u \"$HOLDER\" image/holder\nmkdir {image}.lower {image}.memory\n\
         truncate -s 64M {image}\nmkfs.ext4 -q {image}\nmount -o loop {image} {image}.lower\n\
         (cd {image}.lower; mkdir low; mkdir low/bin low/sbin low/lib)\n(cd {image}.lower; {})\n\
         mount -o remount,ro {image}.lower\n\
         mount -t tmpfs -o size=64M,mode=755 memory {image}.memory\nmkdir {image}.memory/upper {image}.memory/work\n\
         {helper} mount overlay overlay \
         \"lowerdir={root}/{image}.lower/low,upperdir={root}/{image}.memory/upper,workdir={root}/{image}.memory/work{more}\" \
         {root}/{directory}\n",
        programs.join("; ")
    )
}

/// Not `-o loop`: the device has to go with the sandbox, and the server knows nothing of that.
fn exfat(image: &str, directory: &str) -> String {
    format!(
        "truncate -s 32M {image}\nmkfs.exfat {image} >/dev/null\ndevice=$(losetup --find --show {image})\n\
         mount.exfat-fuse $device {directory} >/dev/null\nlosetup --detach $device\n"
    )
}
