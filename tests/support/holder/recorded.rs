//! A disk that writes down what it is told to write, and when that had to be safe: from its log can be worked out what a
//! power cut at any moment may have left.
//!
//! It is a file that is served by way of FUSE, with a loop device on it. The kernel passes each write on before it is
//! said to be done, and asks for an fsync where the file system asks the disk for a flush. What asks for one write to be
//! safe at once (FUA) is made a flush after it, as a loop device offers nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};

use super::disk_log::Entry;

/// Serves the disks, each in the place of its own file, until it is killed or they are unmounted. All write to one log.
/// When this returns to whoever called, they are there.
pub fn serve(log: &str, disks: &[&str]) -> Result<()> {
    let mut served = Vec::new();
    for (disk, path) in (0..).zip(disks) {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        served.push(Disk::appear(disk, Path::new(path), log).with_context(|| format!("no disk at {path}"))?);
    }
    nix::unistd::daemon(true, true)?;
    let threads: Vec<_> = served.into_iter().map(|disk| thread::spawn(move || disk.serve())).collect();
    for thread in threads {
        thread.join().expect("it does not panic")?;
    }
    Ok(())
}

struct Disk {
    number: u32,
    kernel: File,
    data: File,
    log: File,
}

/// Bytes that the kernel writes at a time, at most.
const MOST: u32 = 128 << 10;

/// linux/fuse.h: the only file there is, the root.
const ROOT: u64 = 1;

/// What the kernel asked.
struct Request<'a> {
    operation: u32,
    unique: u64,
    body: &'a [u8],
}

impl Disk {
    fn appear(number: u32, path: &Path, log: File) -> Result<Disk> {
        // Before it is covered.
        let data = File::options().read(true).write(true).open(path)?;
        let kernel = File::options().read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=100600,user_id=0,group_id=0", kernel.as_raw_fd());
        mount(Some("disk"), path, Some("fuse"), MsFlags::MS_NODEV | MsFlags::MS_NOSUID, Some(&*options))?;
        Ok(Disk { number, kernel, data, log })
    }

    fn serve(&self) -> Result<()> {
        let mut buffer = vec![0; MOST as usize + 8192];
        loop {
            let length = match (&self.kernel).read(&mut buffer) {
                Ok(length) => length,
                // A request that was taken back; unmounted.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => continue,
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let bytes = &buffer[..length];
            let request = Request { operation: u32_at(bytes, 4), unique: u64_at(bytes, 8), body: &bytes[40..] };
            if let Some(answer) = self.answer(&request) {
                self.reply(request.unique, answer)?;
            }
        }
    }

    /// `None` where the kernel wants none.
    fn answer(&self, request: &Request) -> Option<io::Result<Vec<u8>>> {
        const FORGET: u32 = 2;
        const GETATTR: u32 = 3;
        const SETATTR: u32 = 4;
        const OPEN: u32 = 14;
        const READ: u32 = 15;
        const WRITE: u32 = 16;
        const STATFS: u32 = 17;
        const RELEASE: u32 = 18;
        const FSYNC: u32 = 20;
        const FLUSH: u32 = 25;
        const INIT: u32 = 26;
        const INTERRUPT: u32 = 36;
        const BATCH_FORGET: u32 = 42;
        let Request { operation, body, .. } = request;
        Some(match *operation {
            FORGET | BATCH_FORGET | INTERRUPT => return None,
            INIT => Ok(init()),
            GETATTR | SETATTR => self.attributes(),
            OPEN => Ok(vec![0; 16]),
            READ => self.read(u64_at(body, 8), u32_at(body, 16)),
            WRITE => self.write(u64_at(body, 8), &body[40..]),
            STATFS => Ok(vec![0; 80]),
            FSYNC => self.note(&Entry::flush(self.number)).map(|()| Vec::new()),
            FLUSH | RELEASE => Ok(Vec::new()),
            // Discarding, for one: the kernel does without.
            _ => Err(Errno::ENOSYS.into()),
        })
    }

    fn read(&self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.data.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.data.write_all_at(bytes, offset)?;
        self.note(&Entry::write(self.number, offset, bytes))?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok([length.to_ne_bytes(), [0; 4]].concat())
    }

    /// Whole, whatever the other disks write: in the order in which all of it was done.
    fn note(&self, entry: &Entry) -> io::Result<()> {
        let bytes = entry.to_bytes();
        let written = (&self.log).write(&bytes)?;
        if written == bytes.len() { Ok(()) } else { Err(Errno::ENOSPC.into()) }
    }

    fn attributes(&self) -> io::Result<Vec<u8>> {
        let size = self.data.metadata()?.size();
        let mut answer = vec![0; 16];
        // Inode number, size, blocks; six times, which nobody looks at.
        [ROOT, size, size / 512, 0, 0, 0].iter().for_each(|number| answer.extend(number.to_ne_bytes()));
        let (mode, links, block) = (libc::S_IFREG | 0o600, 1, 4096);
        [0, 0, 0, mode, links, 0, 0, 0, block, 0u32].iter().for_each(|number| answer.extend(number.to_ne_bytes()));
        Ok(answer)
    }

    fn reply(&self, unique: u64, answer: io::Result<Vec<u8>>) -> Result<()> {
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (-error.raw_os_error().unwrap_or(libc::EIO), Vec::new()),
        };
        let length = u32::try_from(16 + body.len())?;
        let reply = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), &body].concat();
        match (&self.kernel).write(&reply) {
            // Whoever asked has been killed.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }
}

/// Protocol 7.31, no more of it than there has to be: above all no cache of writes.
fn init() -> Vec<u8> {
    const MAX_PAGES: u32 = 1 << 22;
    let mut answer = Vec::new();
    [7, 31, MOST, MAX_PAGES].iter().for_each(|number: &u32| answer.extend(number.to_ne_bytes()));
    // Requests in the background, and how many are too many.
    [16u16, 12].iter().for_each(|number| answer.extend(number.to_ne_bytes()));
    [MOST, 1].iter().for_each(|number| answer.extend(number.to_ne_bytes()));
    answer.extend((MOST / 4096).to_ne_bytes());
    answer.resize(64, 0);
    answer
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
