//! Every command, option and argument is in rokeep(8).

use clap::{Arg, Command};

use crate::all_commands;
use crate::page::{Page, ROKEEP};

#[test]
fn each_command_is_in_the_synopsis_and_has_a_section() {
    let page = Page::read(ROKEEP);
    let synopsis = page.section("SYNOPSIS");
    for (name, command) in all_commands().iter().filter(|(_, command)| does_something(command)) {
        assert!(synopsis.lines().any(|line| words(line).starts_with(&format!("rokeep {name}"))), "{name}: {synopsis}");
        let section = page.subsection(name);
        for text in [command.get_about(), command.get_long_about(), command.get_after_help()] {
            said(&section, &text.map(ToString::to_string).unwrap_or_default());
        }
        said(&section, &command.get_after_long_help().map(ToString::to_string).unwrap_or_default());
        for arg in command.get_arguments() {
            named(&section, arg);
            for help in [arg.get_help(), arg.get_long_help()] {
                said(&section, &help.map(ToString::to_string).unwrap_or_default());
            }
        }
    }
}

#[test]
fn what_only_programs_call_is_there_too() {
    let page = Page::read(ROKEEP);
    let section = page.section("CALLED BY APT, DPKG AND SYSTEMD");
    let hidden: Vec<_> = all_commands().into_iter().filter(|(_, command)| command.is_hide_set()).collect();
    assert!(!hidden.is_empty());
    for (name, command) in hidden {
        let typed = format!("rokeep {name} ");
        let called = section.lines().find(|line| format!("{} ", line.trim()).starts_with(&typed));
        let called = called.unwrap_or_else(|| panic!("{typed:?} is not in\n{section}"));
        for arg in command.get_arguments() {
            let values = arg.get_possible_values();
            if !arg.is_positional() || values.is_empty() {
                named(called, arg);
                continue;
            }
            for value in values {
                let call = format!("{typed}{}", value.get_name());
                assert!(section.lines().any(|line| line.trim() == call), "{call:?} is not in\n{section}");
            }
        }
    }
}

/// Those of every command, which clap adds.
#[test]
fn the_options_of_all_commands_are_there() {
    let options = Page::read(ROKEEP).section("OPTIONS");
    let mut definition = rokeep::arguments::definition();
    definition.build();
    for arg in definition.get_arguments() {
        assert!(options.contains(&format!("-{}, --{}", arg.get_short().expect("a letter"), long(arg))), "{options}");
    }
    assert!(options.contains("rokeep help COMMAND"), "{options}");
}

fn does_something(command: &Command) -> bool {
    !command.is_hide_set() && !command.has_subcommands()
}

/// As `--for TIME`, or `MOUNT`.
#[track_caller]
fn named(section: &str, arg: &Arg) {
    let values = arg.get_value_names().filter(|_| arg.get_action().takes_values()).unwrap_or_default();
    let values = values.iter().map(ToString::to_string);
    let option = (!arg.is_positional()).then(|| format!("--{}", long(arg)));
    let name = option.into_iter().chain(values).collect::<Vec<_>>().join(" ");
    assert!(!name.is_empty() && section.contains(&name), "{name:?} is not in\n{section}");
}

fn long(arg: &Arg) -> &str {
    arg.get_long().expect("every option has a long name")
}

/// Sentence by sentence: paragraphs may be set otherwise.
#[track_caller]
fn said(section: &str, text: &str) {
    let section = words(section);
    for sentence in text.split(". ").flat_map(str::lines) {
        assert!(section.contains(&words(sentence)), "{sentence:?} is not in\n{section}");
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
