//! What the real dpkg-deb builds.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rokeep::sys::deb::read;

use crate::building::{COMPRESSIONS, Paths, Tree, filtered, output, paths};

/// Names that something on the way could stumble over.
fn odd_names() -> Tree {
    let long_name = [b"/usr/share/", "n".repeat(255).as_bytes()].concat();
    let deep = [b"/usr/".to_vec(), format!("{}/", "d".repeat(234)).repeat(17).into_bytes()].concat();
    assert_eq!(deep.len(), 4000);
    // Carriage return: debhelper spoils that in checksums.
    let odd_bytes: Vec<u8> = (1..=255).filter(|b| !b"\n/\r".contains(b)).collect();
    Tree::new()
        .file("/usr/bin/tool")
        .file("/usr/share/a name with spaces ")
        .file("/usr/share/\ttabs\t")
        .file(b"/usr/share/latin1-\xe9\xff")
        .file("/usr/share/back\\slash\\n\\")
        .file("/usr/share/*?[a]")
        .file("/usr/share/..so many dots...")
        .file([b"/usr/share/", &odd_bytes[..]].concat())
        .file([&long_name[..11 + 90], b"/", &long_name[11..11 + 9]].concat())
        .file(long_name)
        .file(&deep[..deep.len() - 1])
}

#[test]
fn checksums_tell_of_every_file_in_every_compression() {
    let by_debhelper = odd_names().checksums_as_debhelper_writes_them();
    let by_md5sum = odd_names().file("/usr/share/carriage\rreturn").checksums();
    for (tree, count) in [(by_debhelper, 11), (by_md5sum, 12)] {
        for compression in COMPRESSIONS {
            let archive = tree.build(compression);
            assert_eq!(paths(&read(&archive).unwrap()), tree.brought(&archive), "{compression}");
            assert_eq!(tree.brought(&archive).len(), count);
        }
    }
}

#[test]
fn without_checksums_the_data_tells_in_every_compression() {
    let tree = odd_names().file("/usr/share/carriage\rreturn").symlink("nowhere", "/usr/share/link");
    for compression in COMPRESSIONS {
        let archive = tree.build(compression);
        assert_eq!(paths(&read(&archive).unwrap()), tree.brought(&archive), "{compression}");
        assert_eq!(tree.brought(&archive).len(), 13);
    }
}

#[test]
fn checksums_that_are_damaged_are_not_believed() {
    for md5sums in ["", "usr/bin/tool\n", "sha256:0000  usr/bin/tool\n"] {
        let tree = Tree::new().file("/usr/bin/tool").control_file("md5sums", md5sums.as_bytes());
        let archive = tree.build("xz");
        assert_eq!(paths(&read(&archive).unwrap()), tree.brought(&archive), "{md5sums:?}");
    }
}

#[test]
fn with_checksums_nothing_else_is_decompressed() {
    let damaged_data = |tree: Tree| {
        let archive = tree.build("xz");
        let file = fs::File::options().read(true).write(true).open(&archive).unwrap();
        let middle_of_the_data = fs::metadata(&archive).unwrap().len() - 100;
        file.write_all_at(&[0x55; 8], middle_of_the_data).unwrap();
        read(&archive)
    };
    let files = || Tree::new().file("/usr/bin/tool").file("/usr/bin/other");
    assert_eq!(damaged_data(files().checksums()).unwrap().paths.len(), 2);
    let error = format!("{:#}", damaged_data(files()).unwrap_err());
    assert!(error.contains("-Zxz.deb") && error.contains("data.tar.xz"), "{error}");
}

#[test]
fn conffiles_are_brought_and_those_that_go_are_not() {
    let conffiles = b"/etc/tool.conf\n/etc/a b\nremove-on-upgrade /etc/gone\n";
    let tree = || Tree::new().file("/etc/tool.conf").file("/etc/a b").file("/usr/bin/tool");
    let tree = tree().checksums().control_file("conffiles", conffiles);
    let archive = tree.build("xz");
    let deb = read(&archive).unwrap();
    assert_eq!(paths(&deb), tree.brought(&archive));
    assert_eq!(deb.paths.len(), 3);
}

#[test]
fn hard_links_are_files_and_symlinks_are_told_of_by_the_data_alone() {
    let tree = || {
        let tree = Tree::new().file("/usr/bin/perl").hard_link("/usr/bin/perl", "/usr/bin/perl5.36.0");
        tree.symlink("perl", "/usr/bin/suidperl").symlink("/usr/share", "/usr/lib/share")
    };
    let files = ["/usr/bin/perl", "/usr/bin/perl5.36.0"].map(String::from);
    assert_eq!(paths(&read(&tree().checksums().build("xz")).unwrap()), Paths::from(files));
    let without = tree();
    let archive = without.build("xz");
    assert_eq!(paths(&read(&archive).unwrap()), without.brought(&archive));
    assert_eq!(without.brought(&archive).len(), 4);
}

#[test]
fn a_package_without_files_brings_none() {
    for compression in COMPRESSIONS {
        assert_eq!(read(&Tree::new().build(compression)).unwrap().paths, []);
    }
}

#[test]
fn it_says_of_itself_what_dpkg_deb_says_of_it() {
    let tree = Tree::new().file("/usr/bin/tool").checksums();
    let archive = tree.build("zstd");
    let deb = read(&archive).unwrap();
    let format = "--showformat=${Package} ${Version} ${Architecture} ${Multi-Arch} ${Installed-Size}";
    let said = output(std::process::Command::new("dpkg-deb").arg(format).arg("--show").arg(&archive));
    let multi_arch = if deb.co_installable { "same" } else { "" };
    let read = format!("{} {} {} {multi_arch} {}", deb.package, deb.version, deb.arch, deb.installed_bytes / 1024);
    assert_eq!(read, String::from_utf8(said).unwrap());
}

#[test]
fn scripts_that_switch_a_directory_are_noticed() {
    let with = |script: &str, text: &str| {
        let tree = Tree::new().file("/usr/bin/tool").checksums().control_file(script, text.as_bytes());
        read(&tree.build("gzip")).unwrap().minds_other_files
    };
    let switch = "#!/bin/sh\ndpkg-maintscript-helper dir_to_symlink /usr/share/doc/tool other 1 -- \"$@\"\n";
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        assert!(with(script, switch), "{script}");
        assert!(!with(script, "#!/bin/sh\nexit 0\n"), "{script}");
    }
}

/// The data's last byte may be padding: nothing is missing without it, and dpkg does not mind.
#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    for compression in COMPRESSIONS {
        for tree in [Tree::new().file("/usr/bin/tool"), Tree::new().file("/usr/bin/tool").checksums()] {
            let archive = tree.build(compression);
            let whole = fs::read(&archive).unwrap();
            let needed = whole.len() - usize::from(whole.ends_with(b"\n"));
            let step = whole.len().div_ceil(1000);
            for length in (0..needed).rev().step_by(step) {
                let error = read(&tree.scratch().file("cut.deb", &whole[..length])).err();
                let error = format!("{:#}", error.unwrap_or_else(|| panic!("{compression}, {length} of {needed}")));
                assert!(error.contains("cut.deb cannot be read"), "{error}");
            }
        }
    }
}

#[test]
fn what_is_damaged_is_refused_or_was_of_no_importance() {
    // tar itself has a checksum for short names.
    let long_name: String = (1..80).map(|n| format!("{:x}", n * 7919)).collect();
    let files = || Tree::new().file("/usr/bin/tool").file(format!("/usr/share/{long_name:.250}"));
    for compression in ["gzip", "xz", "zstd"] {
        for tree in [files(), files().checksums()] {
            let archive = tree.build(compression);
            let (whole, expected) = (fs::read(&archive).unwrap(), read(&archive).unwrap());
            for (position, damage) in (0..whole.len()).zip([0x01, 0x80, 0xff].into_iter().cycle()) {
                let mut damaged = whole.clone();
                damaged[position] ^= damage;
                if let Ok(deb) = read(&tree.scratch().file("damaged.deb", &damaged)) {
                    assert_eq!(deb, expected, "{compression}, {damage:#x} at {position}");
                }
            }
        }
    }
}

/// What dpkg still unpacks though dpkg-deb does not write it any more.
#[test]
fn lzma_is_read_too() {
    let tree = odd_names();
    let archive = tree.build("none");
    let brought = tree.brought(&archive);
    let lzma = recompressed(&archive, &["xz", "--format=lzma", "--stdout"], ".lzma", &tree);
    assert_eq!(paths(&read(&lzma).unwrap()), brought);
    let file = fs::read(&lzma).unwrap();
    assert!(read(&tree.scratch().file("cut.deb", &file[..file.len() - 20])).is_err());
}

/// The same archive with its data compressed by another program.
fn recompressed(archive: &Path, program: &[&str], suffix: &str, tree: &Tree) -> std::path::PathBuf {
    let data = output(std::process::Command::new("dpkg-deb").arg("--fsys-tarfile").arg(archive));
    let control = output(std::process::Command::new("dpkg-deb").arg("--ctrl-tarfile").arg(archive));
    let data = filtered(program, &data, tree.scratch());
    let archive = crate::odd::archive(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control),
        (&format!("data.tar{suffix}"), &data),
    ]);
    tree.scratch().file("recompressed.deb", &archive)
}
