//! What the kernel can do: each feature is asked for in a way that changes nothing.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::core::check::kernel::{Facts, Feature, Probe};
use crate::pins::Look;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::{evictable, handle, namespaces, processes, remounting};

/// Asks for each feature.
pub fn look(root: &Root, settings: &Settings) -> Facts {
    let release = fs::read_to_string(root.path("/proc/sys/kernel/osrelease")).unwrap_or_default();
    Facts {
        release: release.trim().to_owned(),
        probes: vec![
            (Feature::ChangeOneMount, answer(remounting::can_change_one_mount())),
            (Feature::EvictableMarks, answer(evictable::are_known(root))),
            (Feature::ListMountNamespaces, answer(list_mount_namespaces(root))),
            (Feature::Leases, leases(root)),
            (Feature::FileHandles, answer(handle::can_be_opened())),
            (Feature::MapFiles, map_files(root)),
        ],
        hides_processes: processes::may_be_hidden(root).unwrap_or(false),
        deep: match settings.cleanup {
            Look::Deep => true,
            Look::Usual => false,
        },
    }
}

fn answer(said: nix::Result<()>) -> Probe {
    match said {
        Ok(()) => Probe::Can,
        Err(Errno::ENOSYS | Errno::EINVAL | Errno::ENOTTY | Errno::EOPNOTSUPP) => Probe::Cannot,
        Err(other) => Probe::NotToUs(other.desc().to_owned()),
    }
}

fn list_mount_namespaces(root: &Root) -> nix::Result<()> {
    let this = fs::File::open(root.path("/proc/self/ns/mnt"));
    let this: OwnedFd = this.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?.into();
    namespaces::can_be_listed(&this)
}

/// proc_sys_fs(5): 0 where somebody has switched them off.
fn leases(root: &Root) -> Probe {
    match fs::read_to_string(root.path("/proc/sys/fs/leases-enable")) {
        Ok(text) if text.trim() == "0" => Probe::Cannot,
        Ok(_) => Probe::Can,
        Err(error) if error.kind() == ErrorKind::NotFound => Probe::Cannot,
        Err(error) => Probe::NotToUs(error.to_string()),
    }
}

fn map_files(root: &Root) -> Probe {
    match fs::read_dir(root.path("/proc/self/map_files")) {
        Ok(_) => Probe::Can,
        Err(error) if error.kind() == ErrorKind::NotFound => Probe::Cannot,
        Err(error) => Probe::NotToUs(error.to_string()),
    }
}
