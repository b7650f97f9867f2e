//! Names of any bytes as text: for files that rokeep writes, and for people.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// Any bytes as text: what is not printable UTF-8, and `%` itself, as `%XX`.
pub fn escape(name: &OsStr) -> Cow<'_, str> {
    match name.to_str() {
        Some(text) if is_plain(text) => Cow::Borrowed(text),
        _ => Cow::Owned(escape_each(name)),
    }
}

/// Whether nothing in it has to be escaped, as in nearly all names.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'%')
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

    /// See [`escape`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        EscapedPath(Cow::Borrowed(path)).serialize(serializer)
    }

    /// See [`unescape`].
    ///
    /// # Errors
    /// Those of the deserializer, and a bad escape.
    pub fn deserialize<'de, T: From<PathBuf>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        EscapedPath::deserialize(deserializer).map(|EscapedPath(path)| path.into_owned().into())
    }
}

/// Serde's way to write several.
pub mod paths_as_text {
    use super::*;

    /// See [`escape`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| EscapedPath(Cow::Borrowed(path))))
    }

    /// See [`unescape`].
    ///
    /// # Errors
    /// Those of the deserializer, and a bad escape.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<EscapedPath>::deserialize(deserializer)?;
        Ok(paths.into_iter().map(|EscapedPath(path)| path.into_owned()).collect())
    }
}

/// A path as it is written: one of a document, if nothing in it had to be escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscapedPath<'a>(pub Cow<'a, Path>);

impl Serialize for EscapedPath<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(self.0.as_os_str()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for EscapedPath<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EscapedPath<'a>, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = EscapedPath<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<EscapedPath<'de>, E> {
                if is_plain(text) { Ok(EscapedPath(Cow::Borrowed(Path::new(text)))) } else { self.visit_str(text) }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<EscapedPath<'de>, E> {
                let path = unescape(text).ok_or_else(|| E::custom("a bad % escape"))?;
                Ok(EscapedPath(Cow::Owned(path.into())))
            }
        }

        deserializer.deserialize_str(Text)
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
