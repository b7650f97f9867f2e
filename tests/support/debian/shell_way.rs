//! The shell way in a Debian system: what administrators do who have no rokeep and know why the pair of remounts fails.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Debian;
use crate::support::peers::Peers;

/// Where its aliases are.
pub const STORE: &str = "/usr/.shell-aliases";

/// Where its scripts are.
const SCRIPTS: &str = "/etc/shell-way";

impl Debian {
    /// Configures apt with the scripts in `benches/shell` between the two remounts, and a timer around each command. Of
    /// psmisc, which they need, there is fuser and no more. It has to be done before /usr is read-only.
    pub fn with_shell_way(self) -> Result<Debian> {
        fs::copy(Peers::get()?.program("fuser")?, self.outside("/usr/bin/fuser"))?;
        fs::create_dir(self.outside(SCRIPTS))?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/shell");
        for name in ["protect", "cleanup"] {
            fs::copy(scripts.join(name), self.outside(SCRIPTS).join(name))?;
        }
        let timer = self.timer()?;
        // apt looks up the version of its protocol by the command's first word.
        let first = timer.split(' ').next().unwrap_or_default();
        let hooks = format!(
            "DPkg::Pre-Invoke {{\"{timer} mount -o remount,rw /usr\";}};\n\
             DPkg::Pre-Install-Pkgs {{\"{timer} {SCRIPTS}/protect {STORE}\";}};\n\
             DPkg::Tools::Options::{first}::Version \"3\";\n\
             DPkg::Post-Invoke {{\"{timer} {SCRIPTS}/cleanup {STORE} /usr\";}};\n"
        );
        self.write("/etc/apt/apt.conf.d/zz-shell-way", &hooks)?;
        Ok(self)
    }
}
