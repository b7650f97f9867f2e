//! `stream`, dpkg's `info/*.list` (and `status` where a list is missing), and in `found` what the kernel says of each name
//! → one alias an inode, with all its names.
//!
//! A line of `found` is a regular file on a managed mount: `device inode bytes mount path`, the path to the end of the
//! line. A name that has no line does not exist, or is something else, or is elsewhere.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rokeep::core::apt_stream::{self, Step, Version};
use rokeep::core::dpkg_db;
use rokeep::core::inode::Inode;
use rokeep::core::paths::ListedPath;
use rokeep::core::plan::{self, FoundFile, Reason};

use crate::{Case, shown};

pub fn decide(case: &Case) -> String {
    let stream =
        apt_stream::parse(&case.read("stream")).expect("the stream is well-formed; others are cases of streams");
    let found = read_found(&case.read("found"));
    let mut text = String::new();
    let mut paths = Vec::new();
    for step in dpkg_db::packages_that_lose_files(&stream) {
        let installed = step.installed.as_ref().expect("only what is installed loses files");
        match listed(case, step, installed) {
            Ok(listed) => paths.extend(listed),
            Err(why) => {
                let _ = writeln!(text, "no list of {}: {why}", step.package);
            }
        }
    }
    paths.sort();
    paths.dedup();
    let files = paths.into_iter().filter_map(|path| {
        let (mount, inode, bytes) = found.get(path.full())?.clone();
        let reasons = [(Reason::Installed, None)].into_iter().collect();
        Some(FoundFile { path: Some(path), site: mount.into(), inode, born: None, bytes, reasons })
    });
    for (mount, aliases) in plan::plan(files) {
        for alias in aliases {
            let (mount, Inode { dev, ino }, bytes) = (mount.display(), alias.inode, alias.bytes);
            let _ = writeln!(text, "{mount}: inode {ino} of device {dev}, {bytes} bytes");
            for name in alias.names {
                let _ = writeln!(text, "    {}", shown(name.full().as_os_str().as_bytes()));
            }
        }
    }
    if text.is_empty() { "no alias\n".to_owned() } else { text }
}

fn listed(case: &Case, step: &Step, installed: &Version) -> Result<Vec<ListedPath>, &'static str> {
    let names = dpkg_db::list_files(&step.package, &installed.arch, installed.co_installable);
    if let Some(list) = names.iter().find_map(|name| case.find(&format!("info/{name}"))) {
        return Ok(dpkg_db::listed_paths(&list).collect());
    }
    match dpkg_db::has_files(&case.read("status"), &step.package, &installed.arch) {
        Some(true) => Err("dpkg has lost it"),
        Some(false) => Err("the package has no files"),
        None => Err("dpkg does not know the package"),
    }
}

type Found = HashMap<PathBuf, (PathBuf, Inode, u64)>;

fn read_found(table: &[u8]) -> Found {
    let lines = table.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| read_file(line).unwrap_or_else(|| panic!("not a line of \"found\": {}", shown(line)))).collect()
}

fn read_file(line: &[u8]) -> Option<(PathBuf, (PathBuf, Inode, u64))> {
    let mut fields = line.splitn(5, |b| *b == b' ');
    let mut field = || fields.next().map(OsStr::from_bytes);
    let mut number = || field()?.to_str()?.parse().ok();
    let (dev, ino, bytes) = (number()?, number()?, number()?);
    let (mount, path) = (field()?.into(), field()?.into());
    Some((path, (mount, Inode { dev, ino }, bytes)))
}
