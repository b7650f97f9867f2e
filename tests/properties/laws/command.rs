use std::os::unix::ffi::OsStrExt;

use rokeep::core::dpkg_command::{Command, NotUnderstood, Packages, parse};

use super::bounds::in_proportion;
use super::words::is_said_in_one_line;

/// The action and the words of a command line, NUL between them: it is refused, or what dpkg is to unpack or to remove are
/// its last words, to the byte; one more word is one more of them; an option that means nothing here changes nothing; and a
/// pretence is one whatever else is said.
pub fn command(line: &[u8]) {
    let mut words = line.split(|b| *b == 0);
    let action = words.next().unwrap_or_default();
    let words: Vec<&[u8]> = words.collect();
    let read = in_proportion(line, || parse(&words, action));

    let pretended = parse(&[&[&b"--no-act"[..]], &words[..]].concat(), action);
    let is_understood = matches!(read, Ok(_) | Err(NotUnderstood::AnotherAction(_)));
    assert_eq!(pretended == Ok(Command::Pretend), is_understood);
    for nothing in [&[&b"--force-all"[..]][..], &[b"-D", b"-i"], &[b"-GB"], &[b"--root", b"--"]] {
        assert_eq!(parse(&[nothing, &words[..]].concat(), action), read);
    }

    let is_of = |actions: [&[u8]; 2]| actions.contains(&action);
    match &read {
        Ok(Command::Pretend) => {}
        Ok(Command::Unpack { archives, .. }) => {
            assert!(is_of([b"install", b"unpack"]));
            let archives: Vec<_> = archives.iter().map(|path| path.as_os_str().as_bytes()).collect();
            assert!(words.ends_with(&archives));
            one_more(&words, action, &archives);
        }
        Ok(Command::Remove(packages)) => {
            assert!(is_of([b"remove", b"purge"]));
            if let Packages::Named(packages) = packages {
                let packages: Vec<_> = packages.iter().map(Vec::as_slice).collect();
                assert!(words.ends_with(&packages));
                one_more(&words, action, &packages);
            }
        }
        Ok(Command::Other) => {
            assert!(!is_of([b"install", b"unpack"]) && !is_of([b"remove", b"purge"]), "{words:?} replaces files");
        }
        Err(error) => is_said_in_one_line(error),
    }
}

fn one_more(words: &[&[u8]], action: &[u8], named: &[&[u8]]) {
    const NAME: &[u8] = b"x";
    let longer = match parse(&[words, &[NAME]].concat(), action) {
        Ok(Command::Unpack { archives, .. }) => {
            archives.into_iter().map(|path| path.into_os_string().into_encoded_bytes()).collect()
        }
        Ok(Command::Remove(Packages::Named(packages))) => packages,
        other => panic!("one more word, and it is {other:?}"),
    };
    assert_eq!(longer, [named, &[NAME]].concat());
}
