use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rokeep::core::mount_options::Options;
use rokeep::core::mount_state::Access;
use rokeep::core::mountinfo::{Mount, parse, parse_some, unescape};

use super::bounds::in_proportion;

/// Every mount that is read is the same again when the kernel writes it; each line is read as if it were alone; what is
/// asked of a mount is never more than its options allow; and a path on it leads back to itself.
pub fn mountinfo(text: &[u8]) {
    assert_eq!(unescape(&escaped(text)).as_os_str().as_bytes(), text);

    let mounts = in_proportion(text, || parse(text));
    let one_by_one: Vec<_> = text.split(|b| *b == b'\n').flat_map(parse).collect();
    assert_eq!(mounts, one_by_one);
    let written: Vec<u8> = mounts.iter().flat_map(line).collect();
    let again = parse(&written);
    assert_eq!(again, mounts);
    assert_eq!(again.iter().flat_map(line).collect::<Vec<u8>>(), written, "equal paths may be spelled otherwise");

    let some: HashSet<_> = mounts.iter().map(|mount| mount.device).step_by(2).collect();
    let of_some: Vec<_> = mounts.iter().filter(|mount| some.contains(&mount.device)).cloned().collect();
    assert_eq!(parse_some(text, &some), of_some);

    for mount in &mounts {
        access(mount);
        options(&mount.options);
        paths(mount);
    }
}

/// A file system that failed is never called writable; anything else is what the first option of each list says.
fn access(mount: &Mount) {
    let Options { mount: options, superblock } = &mount.options;
    let says = |options: &[u8], word: &[u8]| options.split(|b| *b == b',').any(|option| option == word);
    let first = |options: &[u8]| match options.get(..2) {
        Some(b"ro") => Access::ReadOnly,
        _ => Access::Writable,
    };
    assert_eq!(mount.flags.mount, first(options));
    assert_eq!(mount.failed, says(superblock, b"emergency_ro"));
    assert_eq!(mount.flags.superblock, if mount.failed { Access::ReadOnly } else { first(superblock) });
    assert_eq!(mount.overlay.is_some(), mount.fs_type == "overlay");
    assert!(!mount.hides_processes || mount.fs_type == "proc");
}

fn options(options: &Options) {
    assert_eq!(options.changes(options), None);
    assert!(options.data().len() < 4096, "mount(2) takes a page");
    let before = Options::default();
    let said = [before.changes(options), options.changes(&before)];
    assert!(!said.iter().flatten().any(|said| said.chars().any(char::is_control)), "{said:?}");
}

fn paths(mount: &Mount) {
    if mount.root.is_absolute() && mount.point.is_absolute() {
        for path in [mount.point.clone(), mount.point.join("bin/a b")] {
            let inside = mount.path_inside(&path).expect("it is below the mount point");
            assert!(inside.is_relative());
            assert_eq!(mount.path_outside(&Path::new("/").join(inside)), Some(path));
        }
    }
    assert!(mount.deleted_root().is_none_or(|root| mount.root.starts_with(root)));
}

/// As the kernel writes it (fs/proc_namespace.c, show_mountinfo).
fn line(mount: &Mount) -> Vec<u8> {
    let Mount { id, device, root, point, fs_type, source, options, .. } = mount;
    let [root, point, source] = [root, point, source].map(|path| escaped(path.as_os_str().as_bytes()));
    let start = format!("{id} 1 {}:{} ", device.major, device.minor);
    let kind = format!("shared:1 - {fs_type}");
    let fields = [&root[..], &point, &options.mount, kind.as_bytes(), &source, &options.superblock].join(&b' ');
    [start.as_bytes(), &fields, b"\n"].concat()
}

/// fs/seq_file.c, mangle_path.
pub fn escaped(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            other => escaped.push(*other),
        }
    }
    escaped
}
