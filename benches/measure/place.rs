//! The place where it happens: a sandbox with a /usr and a /var on ext4 images of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::support::sandbox::Sandbox;

/// What the images are in has no name any more when this is done: nothing is left of them, however it all ends. The journal
/// is on /var, so that its fsync(2) is one.
const SETUP: &str = r#"
mount -t tmpfs -o mode=755 root "$ROOT"
cd "$ROOT"
mkdir -p etc run tmp usr var
for name in bin sbin lib; do ln -s usr/$name $name; done
for name in usr var; do
    truncate -s 4G "$IMAGES/$name"
    mkfs.ext4 -q -N "$INODES" -E lazy_itable_init=0,lazy_journal_init=0 "$IMAGES/$name" >/dev/null
    mount -o loop,nodev,noatime "$IMAGES/$name" $name
    rm "$IMAGES/$name"
    INODES=10000
done
mkdir -p var/lib/dpkg/info var/lib/rokeep var/cache/apt/archives
echo 1 > var/lib/dpkg/info/format
"#;

/// Starts it, with room for so many inodes on /usr. `more` is done by a shell in the future root directory before that is
/// one.
///
/// # Errors
/// Where it does not come up.
pub fn sandbox(inodes: usize, more: &str) -> Result<Sandbox> {
    let images = env!("CARGO_TARGET_TMPDIR");
    let sandbox = Sandbox::start(Path::new("/mnt"), &format!("IMAGES='{images}'\nINODES={inodes}\n{SETUP}{more}"))?;
    name_stand_ins(&sandbox)?;
    Ok(sandbox)
}

/// The program that a C source below `benches` makes, in a sandbox, as `/tool/NAME`.
///
/// # Errors
/// Where it cannot be compiled.
pub fn compile_into(sandbox: &Sandbox, source: &str, name: &str) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(source);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let compiled = Command::new("cc").args(["-O2", "-static", "-Wall", "-o"]).arg(&program).arg(&source).status()?;
    ensure!(compiled.success(), "cc {}: {compiled}", source.display());
    fs::copy(&program, sandbox.outside("/tool").join(name))?;
    Ok(fs::remove_file(program)?)
}

/// So that the helper is called what it stands for: a frontend, and the shell that runs its hooks.
fn name_stand_ins(sandbox: &Sandbox) -> Result<()> {
    for name in ["apt-get", "sh"] {
        fs::copy(sandbox.outside("/tool/holder"), sandbox.outside("/tool").join(name))?;
    }
    Ok(())
}
