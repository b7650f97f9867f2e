//! The tools that people ask who uses a file, as Debian has them: fuser, lsof, needrestart.
//!
//! They run in a small world, in the same namespaces and with the same root directory as whoever holds the file. The
//! world has no libraries, so theirs come along, in a directory that no test manages; they themselves are not changed.
//! The machine gets none of them: needrestart would make itself part of its apt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::debian::base;
use super::sandbox::Sandbox;
use super::small::{Run, Small};

/// Where they are from.
const SUITE: &str = "bookworm";

/// With what they themselves start.
const PACKAGES: &str = "psmisc,lsof,needrestart,coreutils";

/// Its version of perl, in which needrestart is written.
const PERL: &str = "5.36";

/// Where they are in a world.
const PLACE: &str = "/tool/peers";

/// A Debian root with the tools, unpacked and not installed.
pub struct Peers {
    root: PathBuf,
}

impl Peers {
    /// Makes it below `target`, if it is not there yet; that needs the network.
    pub fn get() -> Result<Peers> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/worlds/peers");
        let peers = Peers { root: directory.join("root") };
        if !peers.root.exists() {
            let partial = directory.join("partial");
            let _ = fs::remove_dir_all(&partial);
            fs::create_dir_all(&directory)?;
            let (sources, settings) = base::sources(SUITE)?;
            fs::write(directory.join("apt.conf"), settings)?;
            let mut command = Command::new("mmdebstrap");
            command.args(["--quiet", "--mode=root", "--variant=extract", "--format=directory"]);
            command.arg(format!("--include={PACKAGES}"));
            command.arg(format!("--aptopt={}", directory.join("apt.conf").display()));
            command.arg(SUITE).arg(&partial).args(sources.lines());
            ensure!(command.status().context("cannot start mmdebstrap")?.success(), "cannot get {PACKAGES}");
            fs::rename(&partial, &peers.root)?;
        }
        Ok(peers)
    }

    /// The packages and their versions.
    pub fn versions(&self) -> Result<String> {
        let version = |package: &str| -> Result<String> {
            let changes = self.root.join("usr/share/doc").join(package).join("changelog.Debian.gz");
            let mut text = String::new();
            let file = fs::File::open(changes)?;
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text)?;
            let version = text.split(['(', ')']).nth(1).context("a change has a version")?;
            Ok(format!("{package} {version}"))
        };
        Ok(["psmisc", "lsof", "needrestart"].map(version).into_iter().collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// They can be run in this sandbox from now on.
    pub fn visit(&self, sandbox: &Sandbox) -> Result<()> {
        for part in ["bin", "lib", "usr/bin", "usr/sbin", "usr/lib", "usr/share/perl", "usr/share/perl5", "etc"] {
            let to = sandbox.outside(PLACE).join(part);
            fs::create_dir_all(&to)?;
            let copied = Command::new("cp").arg("-a").arg(self.root.join(part).join(".")).arg(to).status()?;
            ensure!(copied.success(), "cannot copy {part}");
        }
        // Programs name this one; it finds the rest.
        let [machine, loader] = loader()?;
        fs::create_dir_all(sandbox.outside("/lib64"))?;
        std::os::unix::fs::symlink(format!("{PLACE}/lib/{machine}/{loader}"), sandbox.outside("/lib64").join(&loader))?;
        Ok(())
    }

    /// What runs one of them there, with what it needs to find its own.
    pub fn command(&self, words: &[&str]) -> Result<Vec<String>> {
        let (program, words) = words.split_first().context("no program")?;
        let program = format!("{PLACE}/{}/{program}", self.directory_of(program)?);
        let settings = environment()?.into_iter().flat_map(|setting| ["/tool/holder".into(), "env".into(), setting]);
        Ok(settings.chain([program]).chain(words.iter().map(|word| (*word).to_owned())).collect())
    }

    /// One of them, for a Debian system that has its libraries.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        Ok(self.root.join(self.directory_of(name)?).join(name))
    }

    /// Runs one of them.
    pub fn run(&self, world: &Small, words: &[&str]) -> Result<Run> {
        let command = self.command(words)?;
        let (helper, words) = command.split_first().context("no program")?;
        let run = world.runs(helper, &words.iter().map(String::as_str).collect::<Vec<_>>());
        ensure!(!run.stderr.contains("error while loading"), "{words:?}: {}", run.stderr);
        Ok(run)
    }

    fn directory_of(&self, program: &str) -> Result<&'static str> {
        let bin = ["bin", "usr/bin", "usr/sbin"].into_iter().find(|bin| self.root.join(bin).join(program).exists());
        bin.with_context(|| format!("there is no {program}"))
    }
}

/// Where they find what they need.
fn environment() -> Result<[String; 4]> {
    let [machine, _] = loader()?;
    let below = |parts: &[String]| parts.iter().map(|part| format!("{PLACE}/{part}")).collect::<Vec<_>>().join(":");
    let libraries = below(&[format!("lib/{machine}"), format!("usr/lib/{machine}")]);
    let perl = below(&[
        format!("usr/lib/{machine}/perl-base"),
        format!("usr/lib/{machine}/perl/{PERL}"),
        format!("usr/lib/{machine}/perl5/{PERL}"),
        format!("usr/share/perl/{PERL}"),
        "usr/share/perl5".to_owned(),
    ]);
    let programs = below(&["usr/sbin", "usr/bin", "bin"].map(str::to_owned));
    Ok([
        format!("LD_LIBRARY_PATH={libraries}"),
        format!("PERL5LIB={perl}"),
        format!("PATH={programs}"),
        "LC_ALL=C".to_owned(),
    ])
}

/// What Debian calls this machine's architecture in the names of directories, and its program loader.
fn loader() -> Result<[String; 2]> {
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let loader = match std::env::consts::ARCH {
        "x86_64" => "ld-linux-x86-64.so.2",
        "aarch64" => "ld-linux-aarch64.so.1",
        other => anyhow::bail!("no program loader is known for {other}"),
    };
    Ok([machine, loader.to_owned()])
}
