//! Every setting is in rokeep.toml(5), with its values and its default; what is shown there works.

use rokeep::settings::{DEFAULT_MOUNTS, PATH, Settings};

use crate::page::{Page, SETTINGS};

#[test]
fn each_setting_is_explained() {
    let page = Page::read(SETTINGS);
    for name in expected_instead_of("no_such_setting = 1") {
        assert!(page.tagged(&format!("{name} = ")).contains("Default: "), "{name} has no default");
    }
    let cleanup = page.tagged("cleanup = ");
    let values = expected_instead_of("cleanup = \"no such value\"")
        .iter()
        .map(|value| format!("\"{value}\""))
        .collect::<Vec<_>>();
    assert_eq!(cleanup.lines().next().map(str::trim), Some(format!("cleanup = {}", values.join("|")).as_str()));
}

#[test]
fn the_defaults_are_true() {
    let (page, default) = (Page::read(SETTINGS), Settings::default());
    let mounts = format!("Default: {DEFAULT_MOUNTS:?}.");
    assert!(page.tagged("mounts = ").contains(&mounts), "{mounts}");
    assert_eq!(default.mounts(), DEFAULT_MOUNTS.map(std::path::PathBuf::from));
    assert!(page.tagged("strict_exit = ").contains(&format!("Default: {}", default.strict_exit)));
    let look = format!("{:?}", default.cleanup).to_lowercase();
    assert!(page.tagged("cleanup = ").contains(&format!("Default: \"{look}\"")));
}

#[test]
fn the_examples_are_settings() {
    let examples = Page::read(SETTINGS).section("EXAMPLES");
    let examples: Vec<&str> = examples.lines().filter(|line| line.contains(" = ")).collect();
    assert!(examples.len() > 2, "{examples:?}");
    for line in examples {
        Settings::parse(line.trim()).unwrap_or_else(|error| panic!("{line}: {error:#}"));
    }
}

#[test]
fn the_error_is_the_one_that_is_said() {
    let error = format!("{:#}", Settings::parse("mount = []").expect_err("there is no such setting"));
    let shown = Page::read(SETTINGS).section("ERRORS").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(&error), "{error} is not in\n{shown}");
}

#[test]
fn the_page_says_which_file_it_is_about() {
    let page = Page::read(SETTINGS);
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION"] {
        assert!(page.section(section).contains(PATH), "{section}");
    }
}

/// serde knows what there is, and says so to whoever writes something else.
fn expected_instead_of(text: &str) -> Vec<String> {
    let error = format!("{:#}", Settings::parse(text).expect_err("there is no such thing"));
    let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
    let names: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(names.len() > 1, "{error}");
    names
}
