//! A kernel of Debian's and the modules that a [`Guest`](super::Guest) needs, downloaded once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::support::debian::base;
use crate::support::kept::{Kept, last_lines};

/// The flavour without drivers for real hardware: a third of the size, and the same file systems.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// What is not built into every one of them. What these need comes with them.
const MODULES: &str = "virtio_pci virtio_console loop xfs vfat nls_cp437 nls_ascii isofs squashfs overlay nfsv4 nfsd";

/// A kernel that can be started.
pub struct Kernel(Kept);

impl Kernel {
    /// That of this Debian release, in its newest version.
    pub fn of(suite: &str) -> Result<Kernel> {
        let (sources, settings) = base::sources(suite)?;
        let recipe = format!("{PACKAGE}\n{MODULES}\n{sources}{settings}{SCRIPT}");
        Ok(Kernel(Kept::of(&format!("kernel-{suite}"), &recipe, |partial| make(partial, &sources, &settings))?))
    }

    /// What a boot loader loads.
    pub fn image(&self) -> PathBuf {
        self.0.directory().join("vmlinuz")
    }

    /// A directory of its modules, in the order in which they can be loaded.
    pub fn modules(&self) -> PathBuf {
        self.0.directory().join("modules")
    }
}

fn make(partial: &Path, sources: &str, settings: &str) -> Result<()> {
    fs::write(partial.join("sources.list"), sources)?;
    fs::write(partial.join("apt.conf"), settings)?;
    let log = File::create(partial.join("log"))?;
    let status = Command::new("sh")
        .args(["-euc", SCRIPT])
        .env("PACKAGE", PACKAGE)
        .env("MODULES", MODULES)
        .current_dir(partial)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .context("cannot start sh")?;
    if !status.success() {
        bail!("it ended with {status}:\n{}", last_lines(&partial.join("log"), 20));
    }
    Ok(())
}

/// Runs in the directory that the kernel is to be in.
const SCRIPT: &str = r#"
# An apt of its own, which knows of nothing else.
mkdir -p apt/lists/partial apt/archives/partial tree
: > apt/status
cat >> apt.conf <<-END
	APT::Architecture "amd64"; APT::Architectures "amd64"; APT::Sandbox::User "root"; Acquire::Languages "none";
	Dir::State "$PWD/apt"; Dir::State::status "$PWD/apt/status"; Dir::Cache "$PWD/apt";
	Dir::Etc::main "/dev/null"; Dir::Etc::parts "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
	Dir::Etc::sourcelist "$PWD/sources.list"; Dir::Etc::sourceparts "/dev/null";
END
export APT_CONFIG="$PWD/apt.conf"
apt-get update
# The package only names the one that has this version's kernel.
name=$(apt-cache show --no-all-versions "$PACKAGE" | sed -n 's/^Depends: \([^ ,]*\).*/\1/p')
apt-get download "$name"

dpkg-deb --extract linux-image-*.deb tree
# Debian 13 has moved them; kmod looks in either place, depending on who built it.
if [ -d tree/usr/lib/modules ]; then ln -s usr/lib tree/lib; else mkdir -p tree/usr; ln -s ../lib tree/usr/lib; fi
mv tree/boot/vmlinuz-* vmlinuz
version=$(basename tree/lib/modules/*)
depmod --basedir tree "$version"
modprobe --dirname tree --set-version "$version" --show-depends --all $MODULES |
	sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' > order
mkdir modules
number=100
while read -r module; do
	name=$(basename "$module")
	case $name in
	*.xz) xz --decompress --stdout "$module" > "modules/$number-${name%.xz}" ;;
	*) mv "$module" "modules/$number-$name" ;;
	esac
	number=$((number + 1))
done < order
rm -r apt tree linux-image-*.deb
"#;
