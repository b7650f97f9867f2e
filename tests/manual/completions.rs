//! What the shells complete: every command and option that is meant for people, and no other.

use std::collections::BTreeSet;
use std::process::Command;

use crate::installed::{path, run_quietly};

const BASH: &str = "/usr/share/bash-completion/completions/rokeep";
const ZSH: &str = "/usr/share/zsh/vendor-completions/_rokeep";
const FISH: &str = "/usr/share/fish/vendor_completions.d/rokeep.fish";

#[test]
fn each_shell_can_read_its_file() {
    run_quietly(Command::new("bash").arg("-n").arg(path(BASH)));
    run_quietly(Command::new("zsh").args(["-f", "-n"]).arg(path(ZSH)));
    let home = env!("CARGO_TARGET_TMPDIR");
    run_quietly(Command::new("fish").env("HOME", home).args(["--no-config", "--no-execute"]).arg(path(FISH)));
}

#[test]
fn zsh_finds_its_file() {
    const ASK: &str = "fpath=($1 $fpath); autoload -Uz compinit; compinit -u -D; print -r -- $_comps[rokeep]";
    let directory = path(ZSH);
    let mut zsh = Command::new("zsh");
    zsh.args(["-f", "-c", ASK, "zsh"]).arg(directory.parent().expect("below something"));
    assert_eq!(run_quietly(&mut zsh), "_rokeep\n");
}

#[test]
fn bash_completes_a_command_that_was_begun() {
    assert_eq!(bash(&["rokeep", "st"]), set(["status"]));
    assert_eq!(bash(&["rokeep", "remount", "rw", "--fo"]), set(["--for"]));
    assert_eq!(bash(&["rokeep", "plan", "li"]), set([]));
}

#[test]
fn bash_offers_all_that_is_meant_for_people() {
    for command in what_people_call() {
        let mut words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        words.push("");
        let offered: BTreeSet<String> = bash(&words).into_iter().filter(|word| !is_short(word)).collect();
        assert_eq!(offered, &command.options | &command.commands, "{words:?}");
    }
}

#[test]
fn fish_offers_all_that_is_meant_for_people() {
    for command in what_people_call() {
        let line = command.words.join(" ");
        let options: BTreeSet<String> = fish(&format!("{line} --")).into_iter().collect();
        assert_eq!(options, command.options, "{line}");
        // Without commands to offer it offers files.
        if !command.commands.is_empty() {
            let commands: BTreeSet<String> = fish(&format!("{line} ")).into_iter().collect();
            assert_eq!(commands, command.commands, "{line}");
        }
    }
}

/// Its own functions are read: to be asked, zsh wants a terminal.
#[test]
fn zsh_offers_all_that_is_meant_for_people() {
    let file = std::fs::read_to_string(path(ZSH)).expect("installed");
    for command in what_people_call() {
        // A command below another one may be called like one that is not.
        let below = match command.words.as_slice() {
            [_, parent, _] => file.split_once(&format!("({parent})\n")).map_or("", |(_, from)| from),
            _ => &file,
        };
        let between = |start: &str, end: &str| {
            let (_, from) = below.split_once(start).unwrap_or_else(|| panic!("no {start:?} in\n{file}"));
            from.split(end).next().unwrap_or_default().to_owned()
        };
        let start = match command.words.as_slice() {
            [_] => "\n    _arguments ".to_owned(),
            [.., last] => format!("({last})\n_arguments "),
            [] => unreachable!("a program has a name"),
        };
        let offered = between(&start, "&& ret=0");
        let options = offered.lines().map(str::trim_start);
        // Behind those that do not go with it, and with a star if it may be said more than once.
        let options = options.filter_map(|line| {
            let line = line.strip_prefix('\'')?;
            let line = line.strip_prefix('(').and_then(|line| line.split_once(')')).map_or(line, |(_, line)| line);
            line.strip_prefix('*').unwrap_or(line).strip_prefix("--")
        });
        let options = options.filter_map(|line| line.split(['[', '=']).next()).map(|name| format!("--{name}"));
        assert_eq!(options.collect::<BTreeSet<_>>(), command.options, "{:?}: {offered}", command.words);

        if !command.commands.is_empty() {
            let function = format!("\n_{}_commands() {{", command.words.join("__subcmd__"));
            let offered = between(&function, "\n}");
            let commands = offered.lines().filter_map(|line| line.strip_prefix('\'')?.split(':').next());
            assert_eq!(commands.map(str::to_owned).collect::<BTreeSet<_>>(), command.commands, "{offered}");
        }
    }
}

/// What can be typed after these words.
struct Offered {
    words: Vec<String>,
    options: BTreeSet<String>,
    commands: BTreeSet<String>,
}

fn what_people_call() -> Vec<Offered> {
    fn visit(command: &clap::Command, words: &[String], found: &mut Vec<Offered>) {
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        let visible: Vec<&clap::Command> = visible.filter(|command| command.get_name() != "help").collect();
        for command in &visible {
            visit(command, &[words, &[command.get_name().to_owned()]].concat(), found);
        }
        let names = visible.iter().map(|command| command.get_name().to_owned());
        let help = command.has_subcommands().then(|| "help".to_owned());
        found.push(Offered {
            words: words.to_owned(),
            options: command.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect(),
            commands: names.chain(help).collect(),
        });
    }
    let mut definition = rokeep::arguments::definition();
    definition.build();
    let mut found = Vec::new();
    visit(&definition, &["rokeep".to_owned()], &mut found);
    found
}

/// What bash offers for the last of the words.
fn bash(words: &[&str]) -> BTreeSet<String> {
    const ASK: &str = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        [ "$(complete -p rokeep)" ] && _rokeep rokeep "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ASK, "bash"]).arg(path(BASH)).args(words);
    run_quietly(&mut bash).lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// What fish offers for the end of the line, without its explanations.
fn fish(line: &str) -> Vec<String> {
    let mut fish = Command::new("fish");
    fish.env("HOME", env!("CARGO_TARGET_TMPDIR"));
    fish.args(["--no-config", "-c", "source $argv[1]; complete --do-complete $argv[2]"]).arg(path(FISH)).arg(line);
    let offered = run_quietly(&mut fish);
    offered.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

fn is_short(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--")
}

fn set<const N: usize>(words: [&str; N]) -> BTreeSet<String> {
    words.map(str::to_owned).into()
}
