//! The root directory that a [`Guest`](super::Guest) starts from, as its kernel unpacks it into memory.

use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::kernel::Kernel;
use crate::support::sandbox::{helper, rokeep};

/// Process 1.
const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/guest/init");

/// An archive of it, in memory.
pub fn packed(kernel: &Kernel) -> Result<File> {
    for program in [helper(), rokeep()] {
        ensure!(program.exists(), "{} is missing: cargo build --bins --examples", program.display());
    }
    let archive = File::from(memfd_create(c"root", MFdFlags::MFD_CLOEXEC)?);
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", SCRIPT])
        .env("HOLDER", helper())
        .env("ROKEEP", rokeep())
        .env("INIT", INIT)
        .env("MODULES", kernel.modules())
        .stdin(Stdio::null())
        .stdout(archive.try_clone()?)
        .status()
        .context("cannot start unshare (util-linux)")?;
    ensure!(status.success(), "it could not be packed: {status} (see stderr)");
    Ok(archive)
}

/// Writes the archive to its standard output. Nobody else sees what it mounts.
const SCRIPT: &str = r#"
exec 3>&1 >&2
mount -t tmpfs -o mode=755 tmpfs /mnt
cd /mnt
mkdir -p dev etc export image proc run sys tmp tool usr var/lib/dpkg var/lib/rokeep
for name in bin lib sbin; do ln -s usr/$name $name; done
cp "$INIT" init
cp -r "$MODULES" modules
cp /bin/busybox tool
for program in "$HOLDER" "$ROKEEP"; do strip -o tool/$(basename $program) $program; done
# So that the helper is called what it stands for.
for name in apt-get dpkg; do ln -s holder tool/$name; done

truncate -s 16M image/ext4
mkfs.ext4 -q image/ext4
# Of a size that nobody is to rely on.
truncate -s 32M image/xfs
mkfs.xfs -q --unsupported image/xfs
truncate -s 8M image/vfat
busybox mkdosfs image/vfat
mkdir -p tree/bin tree/lib tree/sbin
cp tool/holder tree/bin/tool
xorrisofs -quiet -rational-rock -o image/iso9660 tree 2>&1
mksquashfs tree image/squashfs -quiet -no-progress
rm -r tree
find . | cpio --quiet --create --format newc >&3
"#;
