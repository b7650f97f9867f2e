//! `mountinfo`, as in /proc/PID → what is mounted where, and what of it is read-only.

use std::os::unix::ffi::OsStrExt;

use rokeep::core::mountinfo::{self, Mount};

use crate::{Case, levels, shown};

pub fn decide(case: &Case) -> String {
    mountinfo::parse(&case.read("mountinfo")).iter().map(line).collect()
}

fn line(mount: &Mount) -> String {
    let Mount { id, device, root: _, point, fs_type, source, flags, failed, overlay: _, hides_processes, options: _ } =
        mount;
    let [point, source] = [point, source].map(|path| shown(path.as_os_str().as_bytes()));
    let (major, minor) = (device.major, device.minor);
    let errors = if *failed { ", closed because of errors" } else { "" };
    let errors = if *hides_processes { ", hides processes" } else { errors };
    format!("{id} {point}: {}{errors}; {fs_type} of \"{source}\", device {major}:{minor}\n", levels(*flags))
}
