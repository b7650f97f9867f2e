//! `check` for a person: topic by topic, and what it comes to in the last line.
#![forbid(unsafe_code)]

use super::{Check, Finding, Fix, State, Topic};
use crate::core::columns::{Part, shown};
use crate::core::message::count;
use crate::core::page::{Look, Page, Style};

/// The text.
pub fn text(check: &Check, look: Look) -> String {
    let mut page = Page { look, text: String::new() };
    let mut last = None;
    for finding in &check.findings {
        let topic = if last.replace(finding.topic) == Some(finding.topic) { "" } else { name(finding.topic) };
        page.finding(topic, finding);
    }
    page.empty_line();
    page.line(&summary(&check.findings));
    page.text
}

/// What it comes to: `everything is in place`, `2 things need attention, 1 is broken`.
pub fn summary(findings: &[Finding]) -> String {
    let of =
        |state: State| findings.iter().filter(|finding| finding.state == state && finding.needs_somebody()).count();
    let is = |number: usize| if number == 1 { "is" } else { "are" };
    let things = |number: usize| count(number, "thing");
    let needs = |number: usize| if number == 1 { "needs" } else { "need" };
    let (attention, broken, unknown) = (of(State::Attention), of(State::Broken), of(State::Unknown));
    let parts = [
        (attention, format!("{} {} attention", things(attention), needs(attention))),
        (broken, format!("{} {} broken", things(broken), is(broken))),
        (unknown, format!("{} could not be seen", things(unknown))),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
    if parts.is_empty() { "everything is in place".to_owned() } else { parts.join(", ") }
}

const INDENT: usize = 19;

impl Page {
    fn finding(&mut self, topic: &str, finding: &Finding) {
        let (state, style) = match finding.state {
            State::Ok => ("ok", Style::Good),
            State::Attention => ("attention", Style::Doubtful),
            State::Broken => ("BROKEN", Style::Alarm),
            State::Unknown => ("unknown", Style::Doubtful),
        };
        let head = [(format!("{topic:<9}"), Style::Strong), (format!("{state:<9}"), style)];
        let head = head.each_ref().map(|(text, style)| (text.as_str(), *style));
        self.paragraph(&head, INDENT, &[Part::Words(shown(&finding.what))]);
        let Some(fix) = &finding.fix else { return };
        let fix = match fix {
            Fix::Command(command) => Part::Whole(shown(command)),
            Fix::Advice(advice) => Part::Words(shown(advice)),
        };
        self.paragraph(
            &[(&" ".repeat(INDENT - 1), Style::Plain)],
            INDENT + 4,
            &[Part::Words("to do:".to_owned()), fix],
        );
    }
}

fn name(topic: Topic) -> &'static str {
    match topic {
        Topic::Program => "program",
        Topic::Hooks => "hooks",
        Topic::Apt => "apt",
        Topic::Dpkg => "dpkg",
        Topic::Units => "units",
        Topic::Kernel => "kernel",
        Topic::Settings => "settings",
        Topic::Mounts => "mounts",
        Topic::Fstab => "fstab",
        Topic::State => "state",
        Topic::Others => "others",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::{FORMAT, Verdict};
    use crate::core::columns::width;
    use crate::core::page::Paint;

    fn check(findings: Vec<Finding>) -> Check {
        Check { format: FORMAT, version: "1", verdict: Verdict::NotInPlace, findings }
    }

    #[test]
    fn the_last_line_says_what_it_comes_to() {
        let attention = || Topic::Apt.attention("x").advice("y");
        for (findings, expected) in [
            (vec![Topic::Apt.ok("x"), Topic::Apt.attention("needs nobody")], "everything is in place"),
            (vec![attention()], "1 thing needs attention"),
            (
                vec![attention(), attention(), Topic::Apt.broken("x"), Topic::Apt.unknown("x")],
                "2 things need attention, 1 thing is broken, 1 thing could not be seen",
            ),
        ] {
            assert_eq!(summary(&findings), expected);
        }
    }

    #[test]
    fn it_is_no_wider_than_the_terminal_and_a_command_is_whole() {
        let command = format!("rm /{}", "x".repeat(90));
        let findings = vec![
            Topic::Apt.ok("word ".repeat(40)),
            Topic::Apt.broken("a\u{1b}[2J\u{202e}b").command(&command),
            Topic::Mounts.attention("/usr").advice("z".repeat(200)),
        ];
        let text = text(&check(findings), Look { columns: 80, paint: Paint::Plain });
        assert!(text.lines().any(|line| line.trim() == command), "{text}");
        assert!(text.lines().all(|line| width(line) <= 80 || line.trim() == command), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("%1B") && text.matches("apt  ").count() == 1, "{text}");
    }
}
