//! A page of text that grows line by line, for a terminal of so many columns.
#![forbid(unsafe_code)]

use crate::core::columns::{self, Part};

/// What the text is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// How many columns there are.
    pub columns: usize,
    /// Whether there are colours.
    pub paint: Paint,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Text alone.
    Plain,
    /// Escape sequences of terminals (ECMA-48, select graphic rendition).
    Colours,
}

/// How something stands out, where there are colours.
#[derive(Clone, Copy)]
pub enum Style {
    /// Not at all.
    Plain,
    /// It begins something.
    Strong,
    /// As it should be.
    Good,
    /// Not quite.
    Doubtful,
    /// In need of a person.
    Alarm,
}

/// The page.
pub struct Page {
    /// What it is to look like.
    pub look: Look,
    /// What is on it so far.
    pub text: String,
}

impl Page {
    /// The head takes as much of the first line as it needs, the other lines begin with spaces.
    pub fn paragraph(&mut self, head: &[(&str, Style)], indent: usize, parts: &[Part]) {
        let columns = self.look.columns;
        let taken: usize = head.iter().map(|(text, _)| columns::width(text)).sum();
        let space = usize::from(taken > 0);
        let lines = columns::lines(columns.saturating_sub(taken + space), columns.saturating_sub(indent), parts);
        let painted: String = head.iter().map(|(text, style)| self.painted(text, *style)).collect();
        let (first, others) = lines.split_first().map_or(("", &[][..]), |(first, others)| (first.as_str(), others));
        self.line(format!("{painted}{}{first}", " ".repeat(space)).trim_end());
        others.iter().for_each(|line| self.line(&format!("{}{line}", " ".repeat(indent))));
    }

    fn painted(&self, text: &str, style: Style) -> String {
        let number = match style {
            Style::Plain => "",
            Style::Strong => "1",
            Style::Good => "32",
            Style::Doubtful => "1;33",
            Style::Alarm => "1;31",
        };
        match self.look.paint {
            Paint::Colours if !number.is_empty() && !text.is_empty() => format!("\x1b[{number}m{text}\x1b[0m"),
            Paint::Colours | Paint::Plain => text.to_owned(),
        }
    }

    /// One that parts what belongs together from what follows.
    pub fn empty_line(&mut self) {
        self.text.push('\n');
    }

    /// A line as it is.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}
