//! The shell way's script, in a sandbox, with the programs that a Debian has for it.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::support::debian::base::Base;
use crate::support::sandbox::Sandbox;

/// Where the Debian's /usr is mounted in the sandbox, which has no programs of its own.
const PLACE: &str = "/debian";

/// A Debian with the programs: dash, dirname, find, ln.
pub struct Shell(Base);

impl Shell {
    /// Makes it, if it is not there yet; that needs the network.
    pub fn get() -> Result<Shell> {
        Ok(Shell(Base::of("bookworm")?))
    }

    /// What a sandbox has to do for it before it is one.
    pub fn setup(&self) -> String {
        let image = self.0.root().with_file_name("usr.img");
        // Programs name the loader by its place; it finds the rest by what it is told.
        format!(
            "mkdir debian lib64\nmount -o loop,ro,noload '{}' debian\n\
             for loader in debian/lib/*-linux-gnu/ld-linux-*.so.?; do ln -s /$loader lib64; done\n",
            image.display()
        )
    }

    /// The script is there from now on.
    pub fn visit(&self, sandbox: &Sandbox) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/shell/protect");
        fs::copy(script, sandbox.outside("/tool/protect"))?;
        Ok(())
    }

    /// What runs it there.
    pub fn command(&self, arguments: &[&str]) -> Vec<String> {
        let libraries = format!("LD_LIBRARY_PATH={PLACE}/lib/{}-linux-gnu", std::env::consts::ARCH);
        let path = format!("PATH={PLACE}/sbin:{PLACE}/bin");
        let dash = format!("{PLACE}/bin/dash");
        let words = ["/tool/sh", "env", &libraries, "/tool/sh", "env", &path, &dash, "/tool/protect"];
        words.iter().chain(arguments).map(|word| (*word).to_owned()).collect()
    }
}
