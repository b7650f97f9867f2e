//! How much room the mounts of a small world have.

use std::path::Path;

use super::Small;

/// What there is no room for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Another byte.
    Bytes,
    /// Another file, though there is room for bytes.
    Files,
    /// Either.
    Everything,
}

impl Small {
    /// Somebody fills a file system until it takes no more.
    pub fn fill_with(&self, what: Full, point: &str) {
        let words: &[&str] = match what {
            Full::Bytes => &["bytes"],
            Full::Files => &["files"],
            Full::Everything => &["bytes", "files"],
        };
        let directory = Path::new(point).join("ballast");
        words.iter().for_each(|word| self.run_helper(&["fill", word], &directory, b""));
    }

    /// Somebody fills a file system until about this many bytes are left.
    pub fn fill_but(&self, bytes: usize, point: &str) {
        let reserve = Path::new(point).join("reserve");
        self.write(&reserve, &vec![0; bytes]);
        self.fill_with(Full::Bytes, point);
        self.dpkg_removes(reserve);
    }

    /// A btrfs subvolume may take no more than this.
    pub fn quota(&self, subvolume: &str, limit: &str) {
        // What is not on the disk yet is not counted.
        self.outside_tool("btrfs", &["filesystem", "sync"], subvolume);
        self.outside_tool("btrfs", &["quota", "enable"], subvolume);
        self.outside_tool("btrfs", &["-q", "quota", "rescan", "-w"], subvolume);
        self.outside_tool("btrfs", &["qgroup", "limit", limit], subvolume);
        self.outside_tool("btrfs", &["filesystem", "sync"], subvolume);
    }

    /// Bytes that can still be written.
    pub fn free_bytes(&self, point: &str) -> u64 {
        let room = nix::sys::statvfs::statvfs(&self.outside(point)).expect("a file system");
        room.blocks_free() * room.fragment_size()
    }
}
