//! valgrind's callgrind, which counts the instructions of a program.
//!
//! It has to know the system calls that the program makes, and those of Debian 12's valgrind are too few (openat2(2)). So
//! it is Debian 13's, unpacked and not installed, on every machine: then the counts are comparable, too. What it does not
//! know of fails with `ENOSYS`, as on an older kernel.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::support::debian::base;
use crate::support::kept::Kept;
use crate::support::sandbox::Sandbox;

/// Where it is from.
const SUITE: &str = "trixie";

/// What goes before a command that is to be counted. What usually starts it is not static, and a sandbox has no libraries:
/// so it is started without, and told what that would have told it.
pub const WORDS: [&str; 10] = [
    "/tool/holder",
    "env",
    "VALGRIND_LIB=/tool/valgrind",
    "/tool/holder",
    "env",
    "VALGRIND_LAUNCHER=/tool/valgrind/callgrind",
    "/tool/valgrind/callgrind",
    "--tool=callgrind",
    "--quiet",
    "--callgrind-out-file=/tmp/counts/%p",
];

/// Where it writes its counts in a sandbox, a file for each process.
const COUNTS: &str = "/tmp/counts";

/// The program. As long as this value lives, nobody replaces it.
pub struct Callgrind(Kept);

impl Callgrind {
    /// Makes it below `target`, if it is not there yet; that needs the network.
    pub fn get() -> Result<Callgrind> {
        let (sources, settings) = base::sources(SUITE)?;
        let kept = Kept::of("valgrind", &format!("{SUITE}\n{sources}{settings}"), |partial| {
            fs::write(partial.join("apt.conf"), &settings)?;
            let mut command = Command::new("mmdebstrap");
            command.args(["--quiet", "--mode=root", "--variant=extract", "--format=directory", "--include=valgrind"]);
            command.arg(format!("--aptopt={}", partial.join("apt.conf").display()));
            command.arg(SUITE).arg(partial.join("root")).args(sources.lines()).stdout(Stdio::null());
            ensure!(command.status().context("cannot start mmdebstrap")?.success(), "cannot get valgrind");
            Ok(())
        })?;
        Ok(Callgrind(kept))
    }

    /// Which version it is.
    pub fn version(&self) -> Result<String> {
        let program = self.program()?;
        let mut command = Command::new(&program);
        command.args(["--tool=callgrind", "--version"]);
        let output = command.env("VALGRIND_LIB", self.directory()).env("VALGRIND_LAUNCHER", &program).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().replace('-', " "))
    }

    /// It can be run in this sandbox from now on.
    pub fn visit(&self, sandbox: &Sandbox) -> Result<()> {
        let from = [(self.program()?, "callgrind"), (self.directory().join("default.supp"), "default.supp")];
        fs::create_dir(sandbox.outside("/tool/valgrind"))?;
        for (from, to) in from {
            fs::copy(&from, sandbox.outside("/tool/valgrind").join(to))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(fs::create_dir(sandbox.outside(COUNTS))?)
    }

    /// What it counted there since the last time.
    pub fn counted(&self, sandbox: &Sandbox) -> Result<f64> {
        let mut sum = 0.0;
        for counts in fs::read_dir(sandbox.outside(COUNTS))? {
            let counts = counts?.path();
            let text = fs::read_to_string(&counts)?;
            let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
            sum += total.context("callgrind counted nothing")?.trim().parse::<f64>()?;
            fs::remove_file(counts)?;
        }
        ensure!(sum > 0.0, "callgrind counted nothing");
        Ok(sum)
    }

    fn program(&self) -> Result<PathBuf> {
        let machine = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => bail!("not known what valgrind calls {other}"),
        };
        Ok(self.directory().join(format!("callgrind-{machine}-linux")))
    }

    fn directory(&self) -> PathBuf {
        self.0.directory().join("root/usr/libexec/valgrind")
    }
}
