//! Every file that is installed, and every path that rokeep keeps something at, is in rokeep(8).

use crate::installed;
use crate::names::in_the_sources;
use crate::page::{Page, ROKEEP};

#[test]
fn each_installed_file_is_listed() {
    let section = Page::read(ROKEEP).section("FILES");
    let files = installed::files();
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        let (directory, name) = file.rsplit_once('/').expect("a whole path");
        let is_below = |line: &str| line.trim() == format!("{directory}/");
        let with_its_directory =
            || section.lines().skip_while(|line| !is_below(line)).nth(1).is_some_and(|text| has_word(text, name));
        assert!(section.lines().any(|line| line.trim() == file) || with_its_directory(), "{file} is not in\n{section}");
    }
}

#[test]
fn each_path_in_the_sources_is_listed() {
    let section = Page::read(ROKEEP).section("FILES");
    let is_path = |text: &str| text.contains("rokeep") && text.starts_with(['/', '.']) && !text.contains(' ');
    // What the program has in it for comparison is named by where it is in the sources.
    let paths = in_the_sources(|text| is_path(text) && !text.starts_with(".."));
    assert!(paths.len() > 8, "{paths:?}");
    for path in paths {
        let (path, _) = path.split_once("{}").unwrap_or((&path, ""));
        assert!(section.contains(path), "{path} is not in\n{section}");
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.split([' ', ',']).any(|other| other.trim_end_matches('.') == word)
}
