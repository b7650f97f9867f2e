//! What a package's own scripts would make of a marker of ours in one of its directories.
#![forbid(unsafe_code)]

/// Whether a script may fail because a directory is not as empty as it thinks: dpkg-maintscript-helper(1) refuses to turn
/// such a directory into a symbolic link, and rmdir(1) to remove it. An rmdir that expects that is none of those.
pub fn minds_other_files(script: &[u8]) -> bool {
    script.split(|b| *b == b'\n').any(|line| {
        let expects_it = mentions(line, b"--ignore-fail-on-non-empty") || mentions(line, b"||");
        mentions(line, b"dir_to_symlink") || (mentions(line, b"rmdir") && !expects_it)
    })
}

fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_would_fail_is_told_from_one_that_would_not() {
        for (line, expected) in [
            ("dpkg-maintscript-helper dir_to_symlink /usr/share/doc/a b 1 -- \"$@\"", true),
            ("dpkg-maintscript-helper dir_to_symlink /usr/share/doc/a b 1 -- \"$@\" || true", true),
            ("rmdir /usr/share/a", true),
            ("\trmdir --parents usr/lib/a", true),
            ("rmdir /usr/share/a || true", false),
            ("rmdir --ignore-fail-on-non-empty /usr/share/a", false),
            ("rm -rf /usr/share/a", false),
            ("dpkg-maintscript-helper rm_conffile /etc/a", false),
        ] {
            assert_eq!(minds_other_files(format!("#!/bin/sh\nset -e\n{line}\n").as_bytes()), expected, "{line}");
        }
    }
}
