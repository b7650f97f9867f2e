use rokeep::settings::{Settings, plain};

use super::bounds::in_proportion;
use super::words::is_said_in_one_line;

/// Settings are read or refused in words; the mounts in them are spelled as the kernel does.
pub fn settings(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match in_proportion(text.as_bytes(), || Settings::parse(&text)) {
        Ok(settings) => {
            let mounts = settings.mounts();
            assert!(!mounts.is_empty());
            for mount in &mounts {
                let spelled = plain(mount).expect("an absolute path");
                assert_eq!(spelled.as_os_str(), mount.as_os_str());
                assert!(!settings.names(mount) || text.contains("mounts"));
            }
        }
        Err(error) => is_said_in_one_line(error),
    }
}
