//! Text in lines of so many columns.
//!
//! Whatever takes no column of its own – controls, marks that are drawn over what stands before them, marks that turn the
//! direction of writing – is shown as `%XX`: a line is as long as it looks, and reads in the order in which it is.
#![forbid(unsafe_code)]

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A part of a paragraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Words, which may stand in different lines. One that is longer than a line is broken.
    Words(String),
    /// What is to be copied, and stays in one line, however long that gets.
    Whole(String),
}

/// How many columns it takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text that takes as many columns as it seems to.
pub fn shown(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        if is_shown(c) {
            all.push(c);
        } else {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                let _ = write!(all, "%{byte:02X}");
            }
        }
    }
    all
}

/// JSON with nothing in it that [`shown`] would write otherwise: that stands there as `\uXXXX` (RFC 8259, section 7), which
/// means the same. Lines stay lines.
pub fn shown_json(json: &str) -> String {
    let mut all = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_shown(c) {
            all.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(all, "\\u{unit:04x}");
            }
        }
    }
    all
}

/// Whether all of it can be shown as it is.
pub fn can_be_shown(text: &str) -> bool {
    text.chars().all(is_shown)
}

fn is_shown(c: char) -> bool {
    c.width().is_some_and(|columns| columns > 0)
}

/// The lines of a paragraph: in the first there is room for so many columns, in the others for so many. The first is
/// empty where nothing has room in it.
pub fn lines(first: usize, others: usize, parts: &[Part]) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = first;
    for word in parts.iter().flat_map(|part| words(part, others.max(1))) {
        let columns = width(&word);
        let used = lines.last().map_or(0, |line| width(line));
        let space = usize::from(used > 0);
        let starts_anew = used + space + columns > room && (used > 0 || room < others);
        match lines.last_mut() {
            Some(line) if !starts_anew => {
                line.push_str(if space > 0 { " " } else { "" });
                line.push_str(&word);
            }
            Some(_) | None => {
                lines.push(word);
                room = others;
            }
        }
    }
    lines
}

fn words(part: &Part, longest: usize) -> Vec<String> {
    match part {
        Part::Whole(text) => vec![text.clone()],
        Part::Words(text) => {
            text.split(' ').filter(|word| !word.is_empty()).flat_map(|word| broken(word, longest)).collect()
        }
    }
}

fn broken(word: &str, longest: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for c in word.chars() {
        piece.push(c);
        if width(&piece) > longest && piece.chars().count() > 1 {
            piece.pop();
            pieces.push(std::mem::replace(&mut piece, c.to_string()));
        }
    }
    pieces.push(piece);
    pieces
}

/// At most so many columns of it: its beginning, `...`, and its end.
pub fn cut(text: &str, most: usize) -> String {
    const GAP: &str = "...";
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(GAP.len());
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let fits = |c: &char| {
            used += c.width().unwrap_or(0);
            used <= room
        };
        chars.take_while(fits).collect::<Vec<char>>()
    };
    let head = take(&mut text.chars(), room / 2);
    let tail = take(&mut text.chars().rev(), room - room / 2);
    head.into_iter().chain(GAP.chars()).chain(tail.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::Part::{Whole, Words};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_go_on_in_the_next_line() {
        let words = |text: &str| vec![Words(text.to_owned())];
        assert_eq!(lines(9, 5, &words("one two three")), ["one two", "three"]);
        assert_eq!(lines(3, 5, &words("four")), ["", "four"], "not even in the first line");
        assert_eq!(lines(5, 5, &words("/usr/share/x a")), ["/usr/", "share", "/x a"]);
    }

    #[test]
    fn what_is_to_be_copied_is_never_broken() {
        let parts = [Whole("a b c d".to_owned()), Words("(so that it is)".to_owned())];
        assert_eq!(lines(4, 8, &parts), ["", "a b c d", "(so that", "it is)"]);
        assert_eq!(lines(4, 4, &parts), ["a b c d", "(so", "that", "it", "is)"]);
    }

    #[test]
    fn a_line_is_as_long_as_it_looks() {
        assert_eq!(shown("a\u{202e}b\u{301}\u{1b}"), "a%E2%80%AEb%CC%81%1B");
        assert_eq!(width("\u{6f22}"), 2);
        assert_eq!(cut("/usr/share/long/name", 13), "/usr/.../name");
        assert_eq!(cut("\u{6f22}\u{6f22}\u{6f22}\u{6f22}", 7), "\u{6f22}...\u{6f22}");
        assert_eq!(cut("short", 5), "short");
    }

    proptest! {
        #[test]
        fn json_means_the_same_and_can_be_shown(text in "\\PC{0,50}\u{202e}?\u{9b}?\u{e0001}?\n?") {
            let json = shown_json(&serde_json::to_string_pretty(&[&text]).unwrap());
            prop_assert!(json.lines().all(can_be_shown), "{json:?}");
            prop_assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [text]);
        }

        #[test]
        fn words_fit_and_nothing_is_lost(text in "\\PC{0,200}", first in 0usize..40, others in 2usize..40) {
            let text = shown(&text);
            let lines = lines(first, others, &[Words(text.clone())]);
            for (number, line) in lines.iter().enumerate() {
                let room = if number == 0 { first.max(others) } else { others };
                prop_assert!(width(line) <= room, "{:?}", lines);
            }
            let solid = |text: &str| text.replace(' ', "");
            prop_assert_eq!(solid(&lines.concat()), solid(&text));
        }

        #[test]
        fn a_cut_is_short_enough(text in "\\PC{0,100}", most in 3usize..50) {
            prop_assert!(width(&cut(&shown(&text), most)) <= most);
        }
    }
}
