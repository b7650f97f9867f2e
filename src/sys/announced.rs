//! What a package manager tells a hook through a pipe, and closes at the end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Milliseconds.
const MOMENT: u16 = 100;

/// So many moments of silence, which are a minute: the package manager has all of it before it starts the hook. Moments and not
/// seconds, so that a terminal's Ctrl-Z, which stops both, is one.
const PATIENCE: u32 = 600;

/// Reads to its end, but does not wait for ever for somebody who does not close it, while everybody waits for the hook.
#[derive(Debug)]
pub struct Announced(File);

impl From<File> for Announced {
    fn from(file: File) -> Announced {
        Announced(file)
    }
}

impl Read for Announced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..PATIENCE {
            let ready = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], PollTimeout::from(MOMENT));
            match ready {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.0.read(buffer),
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it was not closed for a minute, by whatever process has it open"))
    }
}
