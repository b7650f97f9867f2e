//! `/etc/passwd` (passwd(5)): what a user is called.
#![forbid(unsafe_code)]

/// The name of the user with this number, if it is there and may be pasted into a shell.
///
/// Users of a directory service are not in this file: they stay numbers. Asking the C library instead would have it load
/// modules, which may be half-upgraded.
pub fn name(passwd: &[u8], number: u32) -> Option<&str> {
    let name_of = |line: &'_ [u8]| -> Option<usize> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let found: u32 = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        (found == number).then_some(name.len())
    };
    passwd.split(|byte| *byte == b'\n').find_map(|line| line.get(..name_of(line)?)).and_then(safe)
}

fn safe(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (!name.is_empty() && !name.starts_with('-') && name.bytes().all(is_plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_first_name_with_the_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:,,,:/home/alice:/bin/sh\nal2:x:1000:1::/:\n";
        assert_eq!(name(passwd, 0), Some("root"));
        assert_eq!(name(passwd, 1000), Some("alice"));
        assert_eq!(name(passwd, 100), None);
    }

    #[test]
    fn what_a_shell_would_not_take_as_a_name_is_none() {
        for odd in ["-H:x:7:", "a b:x:7:", "$(x):x:7:", ":x:7:", "7", "a:x:seven:", "\u{fc}:x:7:"] {
            assert_eq!(name(odd.as_bytes(), 7), None, "{odd}");
        }
    }
}
