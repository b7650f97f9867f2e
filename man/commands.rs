//! Commands as man(7) has them, from the definition of the command line: the middle of rokeep.8.

use clap::{Arg, ArgAction, Command};

/// One line for each command.
pub fn synopsis(definition: &Command) -> String {
    callable(definition, "").iter().map(Callable::usage).collect()
}

/// A section for each command.
pub fn sections(definition: &Command) -> String {
    callable(definition, "").iter().map(Callable::section).collect()
}

/// A command that a person may call: one that does something itself.
struct Callable<'a> {
    /// As it is typed: `remount rw`.
    name: String,
    definition: &'a Command,
}

fn callable<'a>(definition: &'a Command, before: &str) -> Vec<Callable<'a>> {
    let visible = definition.get_subcommands().filter(|command| !command.is_hide_set());
    let found = visible.flat_map(|command| {
        let name = format!("{before}{}", command.get_name());
        match command.has_subcommands() {
            true => callable(command, &format!("{name} ")),
            false => vec![Callable { name, definition: command }],
        }
    });
    found.collect()
}

impl Callable<'_> {
    fn usage(&self) -> String {
        let arguments: String = self.arguments().map(|arg| format!(" {}", usage(arg))).collect();
        format!("\\fBrokeep {}\\fR{arguments}\n", escaped(&self.name))
    }

    fn section(&self) -> String {
        let about = self.definition.get_long_about().or(self.definition.get_about());
        let after = self.definition.get_after_long_help().or(self.definition.get_after_help());
        format!(
            ".SS {}\n{}{}{}{}",
            escaped(&self.name),
            self.usage(),
            about.map(|about| paragraphs(".PP", &with_full_stop(&about.to_string()))).unwrap_or_default(),
            self.arguments().map(explanation).collect::<String>(),
            after.map(|after| paragraphs(".PP", &after.to_string())).unwrap_or_default(),
        )
    }

    /// In the order in which they are typed.
    fn arguments(&self) -> impl Iterator<Item = &Arg> {
        let options = self.definition.get_arguments().filter(|arg| !arg.is_positional());
        options.chain(self.definition.get_positionals())
    }
}

fn usage(arg: &Arg) -> String {
    let name = name(arg);
    let name = if arg.is_last_set() { format!("\\fB\\-\\-\\fR {name}") } else { name };
    let name = if matches!(arg.get_action(), ArgAction::Append) { format!("{name} ...") } else { name };
    if arg.is_required_set() { name } else { format!("[{name}]") }
}

/// `--json`, `--for TIME`, `MOUNT`.
fn name(arg: &Arg) -> String {
    let option = arg.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", escaped(long)));
    let values = arg.get_value_names().filter(|_| arg.get_action().takes_values()).unwrap_or_default();
    let values = values.iter().map(|value| format!("\\fI{}\\fR", escaped(value)));
    option.into_iter().chain(values).collect::<Vec<_>>().join(" ")
}

fn explanation(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let text = paragraphs(".IP", &with_full_stop(&help));
    format!(".TP\n{}\n{}", name(arg), text.trim_start_matches(".IP\n"))
}

/// What begins as a title begins a text here.
fn with_full_stop(help: &str) -> String {
    let (title, rest) = help.split_once("\n\n").unwrap_or((help, ""));
    format!("{title}.\n\n{rest}").trim_end().to_owned()
}

/// Paragraphs, each begun by this macro. Lines that are indented stay as they are.
fn paragraphs(macro_name: &str, text: &str) -> String {
    let paragraph = |text: &str| {
        let (table, prose): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("  "));
        // roff knows the end of a sentence by the end of the line.
        let prose = lines(prose.join("\n").replace(". ", ".\n").lines());
        let table = if table.is_empty() { String::new() } else { format!(".nf\n{}.fi\n", lines(table)) };
        format!("{macro_name}\n{prose}{table}")
    };
    text.split("\n\n").map(paragraph).collect()
}

fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    // What begins with one of these is a macro to roff.
    let guard = |line: &str| if line.starts_with(['.', '\'']) { "\\&" } else { "" };
    lines.into_iter().map(|line| format!("{}{}\n", guard(line), escaped(line))).collect()
}

/// To roff a hyphen is where a line may break; what is typed has minus signs.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
