//! What `overlay status` says, and its form for programs.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;

use super::is_mounted_early;
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
    /// Whether the machine does without from its next start on, or has since this one.
    pub is_retiring: bool,
    /// The latter, and nothing is left to be done.
    #[serde(skip)]
    pub is_over: bool,
    /// The directories that are mounted one by one in place of the overlay; none, where there is an overlay.
    #[serde(serialize_with = "crate::core::text::paths_as_text::serialize")]
    pub directories: Vec<PathBuf>,
    /// Where what is above is.
    #[serde(serialize_with = "crate::core::text::path_as_text::serialize")]
    pub upper: PathBuf,
    /// Bytes on disk of what is above; `null` where it is gone, or is not what is mounted.
    pub upper_bytes: Option<u64>,
    /// Bytes that are free there; `null` where that could not be told.
    pub free_bytes: Option<u64>,
    /// What is below.
    #[serde(serialize_with = "crate::core::text::path_as_text::serialize")]
    pub lower: PathBuf,
    /// Of which kind.
    pub lower_type: String,
    /// What has changed below the overlay since somebody has seen to it, from the mount point; of that which is looked at.
    #[serde(serialize_with = "crate::core::text::paths_as_text::serialize")]
    pub lower_changed: Vec<PathBuf>,
    /// Whether it may have changed while the overlay lay over it, so that what is seen of it may be wrong.
    pub needs_laying_anew: bool,
}

/// How an overlay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is laid, or the directories are mounted, and read-only.
    ReadOnly,
    /// The same, and can be written to.
    Writable,
    /// It is not laid, or a directory is not mounted.
    Missing,
}

impl Overlays {
    /// Whether somebody has something to do: packages may lack files.
    pub fn need_attention(&self) -> bool {
        let is_wrong = |shown: &Shown| {
            if shown.is_retiring {
                return !shown.is_over;
            }
            let is_gone = shown.state == State::Missing || shown.upper_bytes.is_none();
            is_gone || !shown.has_units || !shown.lower_changed.is_empty()
        };
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
        let (form, again) = match self.directories.is_empty() {
            true => ("overlay", "enable"),
            false => ("directories", "bind"),
        };
        let state = match self.state {
            State::ReadOnly => format!("{form}, read-only"),
            State::Writable => format!("{form}, writable"),
            State::Missing if self.is_over => "gone: the next package run forgets it".to_owned(),
            State::Missing if self.directories.is_empty() => {
                format!("NOT LAID, so what is above cannot be seen: \"rokeep overlay enable {mount}\"")
            }
            State::Missing => format!("directories NOT MOUNTED: \"rokeep overlay bind {mount}\""),
        };
        let directories: String =
            self.directories.iter().map(|path| format!("         {}\n", message::path(path))).collect();
        let above = match self.upper_bytes {
            Some(above) => format!("{} in {upper}", bytes(above)),
            None => format!("GONE, or exchanged: {upper}"),
        };
        let free = self.free_bytes.map_or_else(String::new, |free| format!(", {} free there", bytes(free)));
        let (lower, kind) = (message::path(&self.lower), message::text(&self.lower_type));
        let units = match self.has_units {
            true => String::new(),
            false => {
                format!(
                    "  its units are NOT THERE, or not as they should be: \"rokeep overlay {again} {mount}\" writes them\n"
                )
            }
        };
        let changed = match (message::count(self.lower_changed.len(), "place"), self.needs_laying_anew) {
            _ if self.lower_changed.is_empty() => String::new(),
            (places, false) => {
                format!(
                    "  OTHER below, in {places}, than before: \"rokeep overlay enable {mount}\" takes it as it is\n"
                )
            }
            (places, true) if is_mounted_early(&self.mount) => format!(
                "  CHANGED below, in {places}: start the machine anew, and then \"rokeep overlay enable {mount}\"\n"
            ),
            (places, true) => {
                format!("  CHANGED below, in {places}: \"rokeep overlay enable {mount}\" lays the overlay anew\n")
            }
        };
        let retiring = match self.is_retiring && !self.is_over {
            false => String::new(),
            true => format!(
                "  GOES with the next start of the machine, and apt and dpkg are stopped until then: \"rokeep overlay enable \
                 {mount}\" has it stay\n"
            ),
        };
        format!(
            "{mount}  {state}\n{directories}  above  {above}{free}\n  below  {lower} ({kind})\n{changed}{units}{retiring}"
        )
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
            is_retiring: false,
            is_over: false,
            directories: Vec::new(),
            upper: "/var/up\nper".into(),
            upper_bytes,
            free_bytes: Some(3 << 30),
            lower: "server:/opt".into(),
            lower_type: "nfs4".into(),
            lower_changed: Vec::new(),
            needs_laying_anew: false,
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
        let mut changed = shown(State::ReadOnly, Some(1));
        changed.overlays[0].lower_changed = vec!["app".into()];
        let other = changed.overlays[0].text();
        assert!(
            other.contains("OTHER below, in 1 place, than before: \"rokeep overlay enable /opt\" takes"),
            "{other}"
        );
        assert!(changed.need_attention());
        changed.overlays[0].needs_laying_anew = true;
        assert!(
            changed.need_attention() && changed.text().contains("CHANGED below, in 1 place:"),
            "{}",
            changed.text()
        );
        let mut bound = shown(State::Missing, Some(1));
        bound.overlays[0].directories = vec!["/opt/app".into()];
        assert!(
            bound
                .text()
                .starts_with("/opt  directories NOT MOUNTED: \"rokeep overlay bind /opt\"\n         /opt/app\n")
        );
        for (state, is_over, needs) in
            [(State::ReadOnly, false, true), (State::Missing, false, true), (State::Missing, true, false)]
        {
            let mut retiring = shown(state, Some(1));
            (retiring.overlays[0].is_retiring, retiring.overlays[0].is_over) = (true, is_over);
            assert_eq!((retiring.need_attention(), retiring.text().contains("GOES")), (needs, needs));
        }
        assert!(without.need_attention() && without.text().contains("its units are NOT THERE"));
    }

    #[test]
    fn for_programs() {
        let json = serde_json::to_value(shown(State::ReadOnly, None)).unwrap();
        assert_eq!(json["overlays"][0]["state"], "read-only");
        assert_eq!(json["overlays"][0]["upper"], "/var/up%0Aper");
        assert!(json["overlays"][0]["upper_bytes"].is_null());
        assert_eq!((&json["overlays"][0]["is_retiring"], &json["overlays"][0]["is_over"]), (&false.into(), &().into()));
    }
}
