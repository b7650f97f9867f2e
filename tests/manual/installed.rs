//! What `make install` puts where.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use walkdir::WalkDir;

/// Below here is what would be below `/`.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
    let _ = std::fs::remove_dir_all(&root);
    let mut make = Command::new("make");
    // The binary is the one that cargo has built for the tests.
    make.arg("install").arg("--old-file=build").arg(format!("BINARY={}", env!("CARGO_BIN_EXE_rokeep")));
    make.arg(format!("DESTDIR={}", root.display())).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    run(&mut make);
    root
});

/// A file that is installed.
pub fn path(path: &str) -> PathBuf {
    ROOT.join(path.trim_start_matches('/'))
}

/// Every file that is installed.
pub fn files() -> Vec<String> {
    let files = WalkDir::new(&*ROOT).into_iter().map(|entry| entry.expect("it can be listed"));
    let files = files.filter(|entry| !entry.file_type().is_dir());
    let name = |path: &Path| format!("/{}", path.strip_prefix(&*ROOT).expect("below it").display());
    files.map(|entry| name(entry.path())).collect()
}

/// Runs a program that must succeed and may not complain; answers what it printed.
pub fn run_quietly(command: &mut Command) -> String {
    let (output, errors) = run(command);
    assert_eq!(errors, "", "{command:?}");
    output
}

fn run(command: &mut Command) -> (String, String) {
    // As little of whoever runs the tests as can be.
    command.env("LC_ALL", "C").env("TERM", "dumb");
    let run = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; see ./prerequisites test"));
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (output, errors) = (text(run.stdout), text(run.stderr));
    assert!(run.status.success(), "{command:?}: {output}{errors}");
    (output, errors)
}
