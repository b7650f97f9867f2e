//! PackageKit as desktops have it: a daemon that the system's bus starts as soon as somebody asks for it.

use anyhow::{Context, Result, ensure};

use super::Debian;

impl Debian {
    /// Starts the system's bus. Without systemd it starts what it is asked for itself: PackageKit, and polkit for that.
    pub fn start_bus(&self) -> Result<()> {
        self.must("mkdir", &["-p", "/run/dbus"])?;
        self.must("dbus-daemon", &["--system", "--fork", "--nopidfile"])?;
        Ok(())
    }

    /// PackageKit's daemon, and the child that it has for a package run, if there is one.
    pub fn package_kit(&self) -> Result<(u32, Option<u32>)> {
        let daemon =
            self.must("pgrep", &["--exact", "--parent", "1", "packagekitd"]).context("PackageKit is not there")?;
        let daemon = daemon.trim().parse()?;
        // For the thread that forked it, the kernel calls it by another name than its program's.
        let children = self.run("pgrep", &["--parent", &format!("{daemon}")])?.stdout;
        let children: Vec<u32> = children.lines().map(str::parse).collect::<Result<_, _>>()?;
        ensure!(children.len() < 2, "PackageKit has several children: {children:?}");
        Ok((daemon, children.first().copied()))
    }
}
