//! rokeep in a Debian system: installed as a person would install it, and looked at from outside.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use walkdir::WalkDir;

use super::Debian;
use super::shell_way::STORE as SHELL_STORE;
use crate::support::sandbox::Access;
use crate::support::status::Status;

/// Where a mount's aliases are.
const STORE: &str = "/usr/.rokeep";

impl Debian {
    /// Installs the package that `make deb` made, and has its hooks timed.
    pub fn with_rokeep(self) -> Result<Debian> {
        let debian = self.with_rokeep_as_it_is()?;
        debian.time_hooks_of_rokeep()?;
        Ok(debian)
    }

    /// Installs the package that `make deb` made, and nothing else.
    pub fn with_rokeep_as_it_is(self) -> Result<Debian> {
        let inside = "/var/tmp/rokeep.deb";
        fs::copy(rokeep_package()?, self.outside(inside))?;
        self.must("dpkg", &["--install", inside])?;
        Ok(self)
    }

    /// Adds hooks of apt's that come after rokeep's: one counts the aliases before dpkg starts, those of the shell
    /// way too, one notes what apt announces, one what /usr is like when all is done.
    pub fn with_witnesses(self) -> Result<Debian> {
        let hooks = format!(
            "DPkg::Pre-Install-Pkgs:: \"find {STORE} {SHELL_STORE} -mindepth 1 2>/dev/null | wc -l > {ALIASES}\";\n\
             DPkg::Pre-Install-Pkgs:: \"cat > {ANNOUNCED}\";\n\
             DPkg::Tools::Options::cat::Version \"3\";\n\
             DPkg::Post-Invoke:: \"grep ' /usr ' /proc/self/mountinfo > {USR}\";\n"
        );
        self.write("/etc/apt/apt.conf.d/zzz-witnesses", &hooks)?;
        Ok(self)
    }

    /// Waits until rokeep's own processes have ended: it may tidy up after apt has.
    pub fn settled(&self) -> Result<&Debian> {
        self.settled_without(&["rokeep"])
    }

    /// Waits until the processes of these programs have ended.
    pub fn settled_without(&self, programs: &[&str]) -> Result<&Debian> {
        let until = Instant::now() + Duration::from_secs(10);
        while self.processes()?.iter().any(|process| programs.contains(&process.program.as_str())) {
            ensure!(Instant::now() < until, "still at work after ten seconds: {:?}", self.processes()?);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    /// How many aliases there were just before dpkg started, the last time that it did.
    pub fn aliases_before_dpkg(&self) -> Result<usize> {
        Ok(self.read(ALIASES)?.trim().parse()?)
    }

    /// What apt announced before dpkg started, the last time that it did.
    pub fn announced(&self) -> Result<String> {
        self.read(ANNOUNCED)
    }

    /// What /usr permitted when the hooks were done and apt was about to end, the last time that it did.
    pub fn usr_after_hooks(&self) -> Result<Access> {
        Ok(Access::of(self.read(USR)?.trim()))
    }

    /// The aliases of /usr, by name; none if there is no store.
    pub fn aliases(&self) -> Result<Vec<String>> {
        if !self.has_store() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(self.outside(STORE))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Whether /usr has a store, be it an empty one.
    pub fn has_store(&self) -> bool {
        self.outside(STORE).symlink_metadata().is_ok()
    }

    /// What `rokeep status --json` says.
    pub fn status(&self) -> Result<Status> {
        let run = self.run("rokeep", &["status", "--json"])?;
        ensure!(run.code < 2, "rokeep status ended with {}: {}", run.code, run.stderr);
        Status::read(&run.stdout).map_err(|error| anyhow!("not what status promises: {error}: {}", run.stdout))
    }

    /// Puts a script that starts the timer in the place of each of rokeep's hooks.
    fn time_hooks_of_rokeep(&self) -> Result<()> {
        let timer = self.timer()?;
        let (hooks, real) = ("/etc/rokeep/hooks", "/etc/rokeep/hooks.real");
        self.must("mv", &[hooks, real])?;
        for hook in fs::read_dir(self.outside(real))? {
            let name = hook?.file_name();
            let name = name.to_str().context("a hook's name")?;
            self.write_script(&format!("{hooks}/{name}"), &format!("#!/bin/sh\nexec {timer} {real}/{name} \"$@\"\n"))?;
        }
        Ok(())
    }
}

/// Where the witnesses write.
const ALIASES: &str = "/var/log/aliases";
const ANNOUNCED: &str = "/var/log/announced";
const USR: &str = "/var/log/usr";

/// The package in `target/deb`, if it was made from what is in this tree now.
pub fn rokeep_package() -> Result<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = files(&tree.join("target/deb"))
        .filter(|path| path.extension() == Some(OsStr::new("deb")))
        .max_by_key(|path| modified(path))
        .context("there is no package in target/deb: run make deb")?;
    let sources = ["src", "hooks", "apt.conf.d", "dpkg.cfg.d", "systemd", "man", "Cargo.toml", "Cargo.lock"];
    let sources = sources.iter().flat_map(|name| files(&tree.join(name)));
    // Debhelper leaves its own files beside them.
    let of_debhelper = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["debhelper", "substvars"].iter().any(|part| name.contains(part)) || name == "files"
    };
    let packaging = fs::read_dir(tree.join("debian"))?.flatten().map(|entry| entry.path());
    let packaging = packaging.filter(|path| path.is_file() && !of_debhelper(path));
    let newer = sources.chain(packaging).find(|path| modified(path) > modified(&package));
    match newer {
        Some(source) => bail!("{} is newer than {}: run make deb", source.display(), package.display()),
        None => Ok(package),
    }
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = WalkDir::new(directory).into_iter().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
