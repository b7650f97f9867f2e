//! Names of any bytes as text: for files that rokeep writes, and for people.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Any bytes as text: what is not printable UTF-8, and `%` itself, as `%XX`.
pub fn escape(name: &OsStr) -> Cow<'_, str> {
    match name.to_str() {
        // What nearly all names are made of.
        Some(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%') => Cow::Borrowed(text),
        _ => Cow::Owned(escape_each(name)),
    }
}

fn escape_each(name: &OsStr) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    let _ = write!(text, "%{byte:02X}");
                }
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The bytes that [`escape`] wrote; `None` for what it would not have written.
pub fn unescape(text: &str) -> Option<OsString> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let name = OsString::from_vec(bytes);
    (escape(&name) == text).then_some(name)
}

/// Serde's way to write a path of any bytes as text.
pub mod path_as_text {
    use super::*;
    use serde::Deserialize;
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;

    /// See [`escape`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(path.as_os_str()))
    }

    /// See [`unescape`].
    ///
    /// # Errors
    /// Those of the deserializer, and a bad escape.
    pub fn deserialize<'de, T: From<PathBuf>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        unescape(&text).map(|path| PathBuf::from(path).into()).ok_or_else(|| D::Error::custom("a bad % escape"))
    }
}

/// The same for a list of paths.
pub mod paths_as_text {
    use super::*;
    use serde::Deserialize;
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;

    /// See [`escape`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| escape(path.as_os_str())))
    }

    /// See [`unescape`].
    ///
    /// # Errors
    /// Those of the deserializer, and a bad escape.
    pub fn deserialize<'de, T: From<Vec<PathBuf>>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let path = |text: &String| unescape(text).map(PathBuf::from);
        texts
            .iter()
            .map(path)
            .collect::<Option<Vec<_>>>()
            .map(T::from)
            .ok_or_else(|| D::Error::custom("a bad % escape"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_name_survives(name in proptest::collection::vec(any::<u8>(), 0..300)) {
            let name = OsString::from_vec(name);
            prop_assert_eq!(unescape(&escape(&name)), Some(name.clone()));
            prop_assert!(!escape(&name).chars().any(char::is_control));
        }
    }
}
