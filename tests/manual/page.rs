//! A manual page as it is read, and whether those who format it have something to say against it.

use std::path::Path;
use std::process::Command;

use crate::installed;

pub const ROKEEP: &str = "/usr/share/man/man8/rokeep.8";
pub const SETTINGS: &str = "/usr/share/man/man5/rokeep.toml.5";

/// What somebody reads whose terminal is so wide that no paragraph is broken.
pub struct Page(String);

impl Page {
    pub fn read(path: &str) -> Page {
        Page(formatted(path, 10_000))
    }

    /// What is below a heading.
    #[track_caller]
    pub fn section(&self, heading: &str) -> String {
        self.below(heading, "")
    }

    /// What is below a heading within a section.
    #[track_caller]
    pub fn subsection(&self, heading: &str) -> String {
        self.below(&format!("   {heading}"), "   ")
    }

    /// A paragraph with a tag, from the tag on; those inside it, too.
    #[track_caller]
    pub fn tagged(&self, tag: &str) -> String {
        self.below(&format!("       {tag}"), "       ")
    }

    /// From a line that begins so to the next that is indented as much or less.
    #[track_caller]
    fn below(&self, heading: &str, indented: &str) -> String {
        let is_deeper = |line: &str| line.is_empty() || line.starts_with(&format!("{indented} "));
        let mut lines = self.0.lines().skip_while(|line| !line.starts_with(heading));
        let first = lines.next().unwrap_or_else(|| panic!("nothing begins with {heading:?} in\n{}", self.0));
        std::iter::once(first).chain(lines.take_while(|line| is_deeper(line))).map(|line| format!("{line}\n")).collect()
    }

    pub fn contains(&self, text: &str) -> bool {
        self.0.contains(text)
    }
}

fn formatted(path: &str, columns: u32) -> String {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tascii", "-P-cbou", &format!("-rLL={columns}n")]).arg(installed::path(path));
    installed::run_quietly(&mut groff)
}

#[test]
fn nobody_complains_about_the_pages() {
    for path in [ROKEEP, SETTINGS] {
        let path = installed::path(path);
        installed::run_quietly(Command::new("groff").args(["-man", "-ww", "-z", "-Tutf8"]).arg(&path));
        let said = installed::run_quietly(Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(&path));
        assert_eq!(said, "");
    }
}

#[test]
fn the_pages_fit_into_eighty_columns() {
    for path in [ROKEEP, SETTINGS] {
        let page = formatted(path, 80);
        let long: Vec<&str> = page.lines().filter(|line| line.chars().count() > 80).collect();
        assert_eq!(long, [""; 0], "{path}");
    }
}

/// What is not filled in begins and ends so.
#[test]
fn the_pages_are_complete() {
    for path in [ROKEEP, SETTINGS] {
        let page = Page::read(path);
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "SEE ALSO"] {
            page.section(section);
        }
        assert!(!page.contains("@V") && !page.contains("@C") && !page.contains("@S"), "{}", page.0);
        assert!(page.contains(concat!("rokeep ", env!("CARGO_PKG_VERSION"))), "{}", page.0);
    }
}

#[test]
fn they_are_the_same_each_time() {
    let again = Path::new(env!("CARGO_TARGET_TMPDIR")).join("again");
    let generator = Path::new(env!("CARGO_BIN_EXE_rokeep")).with_file_name("examples").join("manual");
    let installed = std::fs::read(installed::path(ROKEEP)).expect("installed");
    let mut later = Command::new(generator);
    later.arg(&again).env_clear().env("TZ", "Asia/Tokyo").env("SOURCE_DATE_EPOCH", "0").current_dir("/");
    installed::run_quietly(&mut later);
    assert_eq!(std::fs::read(again.join("man/rokeep.8")).expect("generated"), installed);
}
