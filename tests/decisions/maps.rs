//! `maps`, as in /proc/PID → which inodes are mapped, and whether the name they had is gone.

use rokeep::core::proc_maps::{self, Mapping};

use crate::Case;

pub fn decide(case: &Case) -> String {
    let lines: String = proc_maps::parse(&case.read("maps")).map(line).collect();
    if lines.is_empty() { "no file\n".to_owned() } else { lines }
}

fn line(mapping: Mapping) -> String {
    let Mapping { device, ino, range, name: _, name_is_gone, writes_the_file } = mapping;
    let gone = if name_is_gone { ", its name is gone" } else { "" };
    let written = if writes_the_file { ", written to" } else { "" };
    format!("{range}: inode {ino} of device {}:{}{gone}{written}\n", device.major, device.minor)
}
