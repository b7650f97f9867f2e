use rokeep::core::cgroup::place;

use super::bounds::in_proportion;

/// A unit is a part of the path, and can be pasted into a shell; only a user's own systemd has units inside.
pub fn cgroup(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let Some(place) = in_proportion(text.as_bytes(), || place(&text)) else { return };
    for unit in [Some(place.unit), place.user_unit].into_iter().flatten() {
        assert!(unit.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.@\\".contains(&b)), "{unit:?}");
        assert!(unit.ends_with(".service") || unit.ends_with(".scope"), "{unit:?}");
        assert!(!unit.starts_with('-'), "{unit:?} is an option");
        assert!(text.split(['/', '\n']).any(|part| part.trim_end_matches('\r') == unit), "{unit:?}");
    }
    assert!(place.user_unit.is_none() || place.unit.starts_with("user@"));
}
