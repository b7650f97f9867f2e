use rokeep::core::session::{FORMAT, SessionError, parse};

use super::bounds::{cuts, in_proportion};
use super::words::is_said_in_one_line;

/// A session of a known format is read or refused; what was read is the same when it is written again, and no part of that
/// is taken for the whole.
pub fn session(text: &[u8]) {
    match in_proportion(text, || parse(text)) {
        Ok(session) => {
            assert_eq!(session.format, FORMAT);
            // What stands in a field that is passed over need not be JSON to the letter.
            let said: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
            let is_known = said.is_null() || (1..=FORMAT).any(|known| said["format"] == known);
            assert!(is_known, "a format that never was is read");
            let written = serde_json::to_vec(&session).expect("it can be written");
            let again = parse(&written).expect("it was written just now");
            assert_eq!(again, session);
            assert_eq!(serde_json::to_vec(&again).expect("it can be written"), written);
            for cut in cuts(&written) {
                assert!(parse(&written[..cut]).is_err(), "{cut} bytes are taken for the whole");
            }
        }
        Err(error) => {
            assert_ne!(error, SessionError::Format(FORMAT));
            is_said_in_one_line(error);
        }
    }
}
