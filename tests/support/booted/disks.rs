//! The disks of one machine. None of them has a name, so nothing of them stays behind, however this process ends.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;

use super::Layout;
use super::image::Image;
use crate::support::debian::rokeep_package;
use crate::support::emulator::name_of;
use crate::support::sandbox::helper;

/// What a machine writes, and what it is given.
pub struct Disks {
    written: Vec<File>,
    tool: File,
}

impl Disks {
    /// As the image has them, and one with the programs of the tests and the packages that they install.
    pub fn of(image: &Image, layout: Layout) -> Result<Disks> {
        let copies = layout.disks().iter().map(|name| copy_on_write(&image.file(&format!("{name}.img"))));
        Ok(Disks { written: copies.collect::<Result<_>>()?, tool: tool()? })
    }

    /// What the emulator has to be told.
    pub fn parts(&self) -> Vec<OsString> {
        // When its power fails, what it has not written is lost, and of what it has not flushed some, with the emulator.
        let drive = |file, rest| format!("file={},if=virtio,cache=unsafe,{rest}", name_of(file));
        let written = self.written.iter().map(|file| drive(file, "format=qcow2"));
        let drives = written.chain([drive(&self.tool, "format=raw,readonly=on")]);
        drives.flat_map(|drive| ["-drive".to_owned(), drive]).map(OsString::from).collect()
    }
}

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
