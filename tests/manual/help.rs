//! `--help`, at each level.

use rokeep::arguments;

use crate::all_commands;

#[test]
fn each_command_is_in_one_group_and_hidden_ones_are_in_none() {
    let help = arguments::definition().render_help().to_string();
    for (name, command) in all_commands().iter().filter(|(name, _)| !name.contains(' ')) {
        let lines = help.lines().filter(|line| line.starts_with(&format!("  {name} "))).count();
        assert_eq!(lines, usize::from(!command.is_hide_set()), "{name}:\n{help}");
    }
}

#[test]
fn everything_is_explained_in_a_line() {
    for (name, command) in all_commands() {
        let about = command.get_about().unwrap_or_else(|| panic!("{name} is not explained")).to_string();
        assert!(about.len() <= 70 || command.is_hide_set(), "{name}: {about}");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{name}: {arg} is not explained");
        }
    }
}

/// Whoever reads it at a console has eighty columns.
#[test]
fn examples_and_exit_codes_are_not_broken() {
    let commands = all_commands().into_iter().chain([(String::new(), arguments::definition())]);
    for (name, command) in commands {
        let after = [command.get_after_help(), command.get_after_long_help()].map(|help| help.map(ToString::to_string));
        for line in after.iter().flatten().flat_map(|help| help.lines()) {
            assert!(line.len() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn help_says_where_there_is_more() {
    let help = arguments::definition().render_help().to_string();
    assert!(help.contains("man rokeep") && help.contains("rokeep help COMMAND"), "{help}");
}
