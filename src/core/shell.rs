//! Names as words of a command that a person copies into a shell.
#![forbid(unsafe_code)]

use super::columns;

/// The word, in quotes if it needs them (sh(1), single quotes).
///
/// `None` for what cannot be shown as it is, or would be taken for an option: there is nothing to copy then.
pub fn word(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.,:=@%+-".contains(&byte);
    if text.is_empty() || text.starts_with('-') || !columns::can_be_shown(text) {
        return None;
    }
    if text.bytes().all(is_plain) {
        return Some(text.to_owned());
    }
    Some(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gets_back_what_was_meant() {
        assert_eq!(word("/usr/lib/a-b_1.so"), Some("/usr/lib/a-b_1.so".to_owned()));
        assert_eq!(word("a\\x2db.service"), Some("'a\\x2db.service'".to_owned()));
        assert_eq!(word("/a b/$(x)"), Some("'/a b/$(x)'".to_owned()));
        assert_eq!(word("it's"), Some(r"'it'\''s'".to_owned()));
        assert_eq!(word("~root"), Some("'~root'".to_owned()));
        for nothing in ["", "-rf", "a\nb", "\u{202e}", "a\u{1b}[2J"] {
            assert_eq!(word(nothing), None, "{nothing:?}");
        }
    }
}
