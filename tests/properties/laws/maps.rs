use std::collections::{HashMap, HashSet};

use rokeep::core::inode::Device;
use rokeep::core::proc_maps::{DELETED, Mapping, Reader, parse};

use super::bounds::in_proportion;

/// Memory is never taken for a file; a mapping is the same again when the kernel writes it; and who reads line by line, and
/// passes over what is known already, learns of the same files and of everything through which one is written.
pub fn maps(text: &[u8]) {
    let mappings: Vec<_> = in_proportion(text, || parse(text).collect());
    for mapping in &mappings {
        assert_ne!(mapping.ino, 0, "memory is taken for a file: {mapping:?}");
        assert!(!mapping.name.contains(&b'\n'));
    }
    let written: Vec<u8> = mappings.iter().flat_map(line).collect();
    assert_eq!(parse(&written).collect::<Vec<_>>(), mappings);

    let devices: HashSet<_> = mappings.iter().map(|mapping| mapping.device).step_by(2).collect();
    let of_these: Vec<_> = mappings.into_iter().filter(|mapping| devices.contains(&mapping.device)).collect();
    let mut reader = Reader::new(&devices);
    let lines = || written.split(|b| *b == b'\n');
    let read: Vec<_> = lines().filter_map(|line| reader.read(line)).collect();
    assert_eq!(files(&read), files(&of_these));
    assert_eq!(writers(&read), writers(&of_these));
    assert!(read.iter().all(|mapping| of_these.contains(mapping)));

    reader.start();
    assert_eq!(lines().filter_map(|line| reader.read(line)).collect::<Vec<_>>(), read);
    let mut reader = Reader::new(&devices);
    assert!(text.split(|b| *b == b'\n').filter_map(|line| reader.read(line)).all(|mapping| mapping.ino != 0));
}

fn files<'a>(mappings: &[Mapping<'a>]) -> HashSet<(Device, u64, &'a [u8], bool)> {
    mappings.iter().map(|mapping| (mapping.device, mapping.ino, mapping.name, mapping.name_is_gone)).collect()
}

fn writers<'a>(mappings: &[Mapping<'a>]) -> HashMap<&'a str, usize> {
    let mut writers = HashMap::new();
    for mapping in mappings.iter().filter(|mapping| mapping.writes_the_file) {
        *writers.entry(mapping.range).or_default() += 1;
    }
    writers
}

/// As the kernel writes it (fs/proc/task_mmu.c, show_map_vma).
fn line(mapping: &Mapping) -> Vec<u8> {
    let Mapping { device, ino, range, name, name_is_gone, writes_the_file } = mapping;
    let permissions = if *writes_the_file { "rw-s" } else { "r-xp" };
    let numbers = format!("{range} {permissions} 00000000 {:02x}:{:02x} {ino} ", device.major, device.minor);
    let deleted = if *name_is_gone { DELETED } else { b"" };
    [format!("{numbers:<73}").as_bytes(), name, deleted, b"\n"].concat()
}
