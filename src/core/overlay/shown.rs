//! What `overlay status` says, and its form for programs.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;

use crate::core::message::{self, bytes};

/// The version of the form.
pub const FORMAT: u32 = 1;

/// Every overlay there is.
#[derive(Debug, Serialize)]
pub struct Overlays {
    /// [`FORMAT`].
    pub format: u32,
    /// By mount point.
    pub overlays: Vec<Shown>,
}

/// One of them. Paths are escaped, see [`crate::core::text::escape`].
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The mount point.
    #[serde(serialize_with = "crate::core::text::path_as_text::serialize")]
    pub mount: PathBuf,
    /// How it is.
    pub state: State,
    /// Whether its units are as they should be, so that the machine lays it when it starts.
    pub has_units: bool,
    /// Where what is above is.
    #[serde(serialize_with = "crate::core::text::path_as_text::serialize")]
    pub upper: PathBuf,
    /// Bytes on disk of what is above; `null` where it is gone.
    pub upper_bytes: Option<u64>,
    /// Bytes that are free there; `null` where that could not be told.
    pub free_bytes: Option<u64>,
    /// What is below.
    #[serde(serialize_with = "crate::core::text::path_as_text::serialize")]
    pub lower: PathBuf,
    /// Of which kind.
    pub lower_type: String,
}

/// How an overlay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is laid, and read-only.
    ReadOnly,
    /// It is laid, and can be written to.
    Writable,
    /// It is not laid.
    Missing,
}

impl Overlays {
    /// Whether somebody has something to do: packages may lack files.
    pub fn need_attention(&self) -> bool {
        let is_wrong = |shown: &Shown| shown.state == State::Missing || shown.upper_bytes.is_none() || !shown.has_units;
        self.overlays.iter().any(is_wrong)
    }

    /// For a person.
    pub fn text(&self) -> String {
        match self.overlays.is_empty() {
            true => "there is no overlay\n".to_owned(),
            false => self.overlays.iter().map(Shown::text).collect(),
        }
    }
}

impl Shown {
    fn text(&self) -> String {
        let (mount, upper) = (message::path(&self.mount), message::path(&self.upper));
        let state = match self.state {
            State::ReadOnly => "overlay, read-only".to_owned(),
            State::Writable => "overlay, writable".to_owned(),
            State::Missing => {
                format!("NOT LAID, so what is above cannot be seen: \"rokeep overlay enable {mount}\"")
            }
        };
        let above = match self.upper_bytes {
            Some(above) => format!("{} in {upper}", bytes(above)),
            None => format!("GONE: {upper}"),
        };
        let free = self.free_bytes.map_or_else(String::new, |free| format!(", {} free there", bytes(free)));
        let (lower, kind) = (message::path(&self.lower), message::text(&self.lower_type));
        let units = match self.has_units {
            true => String::new(),
            false => {
                format!("  NOT LAID when the machine starts: \"rokeep overlay enable {mount}\" writes its units\n")
            }
        };
        format!("{mount}  {state}\n  above  {above}{free}\n  below  {lower} ({kind})\n{units}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(state: State, upper_bytes: Option<u64>) -> Overlays {
        let shown = Shown {
            mount: "/opt".into(),
            state,
            has_units: true,
            upper: "/var/up\nper".into(),
            upper_bytes,
            free_bytes: Some(3 << 30),
            lower: "server:/opt".into(),
            lower_type: "nfs4".into(),
        };
        Overlays { format: FORMAT, overlays: vec![shown] }
    }

    #[test]
    fn what_needs_somebody_is_said_and_told_by_the_exit_code() {
        let good = shown(State::ReadOnly, Some(1536));
        assert_eq!(
            good.text(),
            "/opt  overlay, read-only\n  above  1.5 KiB in /var/up%0Aper, 3.0 GiB free there\n  below  server:/opt (nfs4)\n"
        );
        assert!(!good.need_attention() && !shown(State::Writable, Some(1)).need_attention());
        for bad in [shown(State::Missing, Some(1)), shown(State::ReadOnly, None)] {
            assert!(bad.need_attention(), "{}", bad.text());
        }
        assert!(shown(State::Missing, Some(1)).text().contains("rokeep overlay enable /opt"));
        let mut without = shown(State::ReadOnly, Some(1));
        without.overlays[0].has_units = false;
        assert!(without.need_attention() && without.text().contains("NOT LAID when the machine starts"));
    }

    #[test]
    fn for_programs() {
        let json = serde_json::to_value(shown(State::ReadOnly, None)).unwrap();
        assert_eq!(json["overlays"][0]["state"], "read-only");
        assert_eq!(json["overlays"][0]["upper"], "/var/up%0Aper");
        assert!(json["overlays"][0]["upper_bytes"].is_null());
    }
}
