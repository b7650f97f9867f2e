//! The disks of one machine. None of them has a name, so nothing of them stays behind, however this process ends.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;

use super::image::Image;
use super::{Layout, Release};
use crate::support::debian::rokeep_package;
use crate::support::emulator::name_of;
use crate::support::sandbox::helper;

/// What a machine writes, and what it is given.
pub struct Disks {
    written: Vec<File>,
    /// In place of the disk that has /usr.
    sealed: Option<File>,
    tool: File,
}

impl Disks {
    /// As the image has them, and one with the programs of the tests and the packages that they install.
    pub fn of(image: &Image, layout: Layout) -> Result<Disks> {
        let copies = layout.disks().iter().map(|name| copy_on_write(&image.file(&format!("{name}.img"))));
        Ok(Disks { written: copies.collect::<Result<_>>()?, sealed: None, tool: tool()? })
    }

    /// What the emulator has to be told.
    pub fn parts(&self) -> Vec<OsString> {
        // When its power fails, what it has not written is lost, and of what it has not flushed some, with the emulator.
        let drive = |file, rest| format!("file={},if=virtio,cache=unsafe,{rest}", name_of(file));
        let read_only = |file| drive(file, "format=raw,readonly=on");
        let mut drives: Vec<String> = self.written.iter().map(|file| drive(file, "format=qcow2")).collect();
        if let Some(sealed) = &self.sealed {
            drives[USR] = read_only(sealed);
        }
        drives.push(read_only(&self.tool));
        drives.into_iter().flat_map(|drive| ["-drive".to_owned(), drive]).map(OsString::from).collect()
    }

    /// From now on /usr is an image of what was written to it, which nobody can write to. A shell does this to it before, in
    /// its topmost directory.
    pub fn seal_usr(&mut self, release: Release, change: &str) -> Result<()> {
        let sealed = without_name()?;
        let how = if release.file_system() == "btrfs" { "loop,subvol=@usr" } else { "loop" };
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", SEAL]);
        command.env("HOW", how).env("CHANGE", change);
        command.env("USR", name_of(&self.written[USR])).env("SEALED", name_of(&sealed));
        must(&mut command)?;
        self.sealed = Some(sealed);
        Ok(())
    }
}

/// Which one has /usr.
const USR: usize = 1;

/// A disk that has what another one has, and keeps for itself what is written to it.
fn copy_on_write(disk: &Path) -> Result<File> {
    let file = without_name()?;
    let image = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"];
    let mut command = Command::new("qemu-img");
    must(command.args(image).arg(disk).arg(name_of(&file)))?;
    Ok(file)
}

/// A disk with the agent, rokeep's package, and two versions of a small one.
fn tool() -> Result<File> {
    let file = without_name()?;
    ensure!(helper().exists(), "{} is missing: cargo build --bins --examples", helper().display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", MAKE_TOOL]);
    command.env("HOLDER", helper()).env("ROKEEP", rokeep_package()?).env("DISK", name_of(&file));
    must(&mut command)?;
    Ok(file)
}

fn without_name() -> Result<File> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    fs::create_dir_all(&directory)?;
    let options = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_TMPFILE.bits()).open(&directory);
    options.with_context(|| format!("cannot make a file in {}", directory.display()))
}

fn must(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, said());
    Ok(())
}

/// Nobody else sees what it mounts, and it is gone with it.
const SEAL: &str = r#"
mount -t tmpfs tmpfs /mnt
cd /mnt
qemu-img convert -O raw "$USR" disk
mkdir usr
mount -o "$HOW" disk usr
(cd usr && eval "$CHANGE")
mksquashfs usr "$SEALED" -noappend -comp zstd -Xcompression-level 1 -quiet -no-progress
umount usr
"#;

/// Nobody else sees what it mounts. The small package has a program that does nothing, statically linked, a file of the
/// administrator's, and a postinst that waits if it is told to.
const MAKE_TOOL: &str = r#"
mount -t tmpfs -o mode=755 tmpfs /mnt
cd /mnt
mkdir disk
strip -o disk/agent "$HOLDER"
cp "$ROKEEP" disk/rokeep.deb
for version in 1 2; do
    mkdir -p package/DEBIAN package/usr/lib/tool package/etc
    cp /bin/busybox package/usr/lib/tool/sleep
    echo "version $version" > package/etc/tool.conf
    echo /etc/tool.conf > package/DEBIAN/conffiles
    cat > package/DEBIAN/control <<-END
	Package: tool
	Version: $version
	Architecture: all
	Maintainer: A Test <test@example.org>
	Description: package for a test
	END
    cat > package/DEBIAN/postinst <<-END
	#!/bin/sh
	set -e
	[ -e /run/wait ] || exit 0
	touch /run/waiting
	while [ -e /run/wait ]; do sleep 0.1; done
	END
    chmod 755 package/DEBIAN/postinst
    dpkg-deb --root-owner-group -Znone --build package disk/tool_$version.deb
    rm -r package
done
truncate -s 64M "$DISK"
mkfs.ext4 -q -L tool -d disk "$DISK"
"#;
