//! Every variable of the environment and every field of the journal is in rokeep(8).

use std::collections::BTreeSet;

use walkdir::WalkDir;

use crate::page::{Page, ROKEEP};

/// In the sources they are what is written in capitals, with an underscore.
#[test]
fn each_name_in_capitals_is_explained() {
    let page = Page::read(ROKEEP);
    let is_name = |text: &str| {
        !text.starts_with("CARGO_")
            && text.contains('_')
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let names = in_the_sources(is_name);
    assert!(names.contains("NO_APT_REMOUNT") && names.contains("ROKEEP_STATE"), "{names:?}");
    for name in names {
        assert!(page.contains(&name), "{name}");
    }
}

#[test]
fn each_kind_of_change_is_listed() {
    let section = Page::read(ROKEEP).section("DIAGNOSTICS");
    let ids = in_the_sources(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(ids.len() > 3, "{ids:?}");
    for id in ids {
        assert!(section.contains(&id), "{id} is not in\n{section}");
    }
}

/// What stands in quotes in the program, and is so; its own tests left out.
pub fn in_the_sources(is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let sources =
        WalkDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).into_iter().map(|entry| entry.expect("src"));
    let sources = sources.filter(|entry| entry.file_type().is_file());
    let mut found = BTreeSet::new();
    for source in sources {
        let source = std::fs::read_to_string(source.path()).expect("text");
        let program = source.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = program.lines().filter(|line| !line.trim_start().starts_with("//"));
        let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
        found.extend(quoted.filter(|text| is_wanted(text)).map(str::to_owned));
    }
    found
}
