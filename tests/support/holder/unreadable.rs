//! A process whose memory map cannot be read by anybody: whoever tries sleeps until he is killed.
//!
//! Every user can have one. mmap(2) takes the lock on the memory of its process for writing, and waits with it for the
//! pages of the file if that is from FUSE and opened with FOPEN_DIRECT_IO (fs/fuse/file.c, fuse_file_mmap). One of these
//! pages is being read at the moment, and the program behind the mount does not answer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::{elsewhere, mapped, say, states};

const POINT: &str = "/tmp/silent";
const FILE: &str = "/tmp/silent/file";

/// A child takes a file into a state, and then becomes unreadable. Until standard input ends.
pub fn hold(state: &str, path: &Path) -> Result<()> {
    elsewhere::own_mounts()?;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    fs::create_dir(POINT)?;
    mknod("/tmp/fuse", SFlag::S_IFCHR, Mode::S_IRWXU, makedev(10, 229))?;
    let fuse = OpenOptions::new().read(true).write(true).open("/tmp/fuse").context("no FUSE")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
    mount(Some("silent"), POINT, Some("fuse"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))?;
    let (tell, told) = channel();
    std::thread::spawn(move || serve(&fuse, &tell));

    let myself = std::env::args_os().next().context("no name")?;
    let mut command = Command::new(myself);
    command.args(["become-unreadable", state]).arg(path);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    told.recv_timeout(Duration::from_secs(20)).context("nobody reads")?;
    writeln!(child.stdin.as_mut().context("no stdin")?, "now")?;
    until_it_maps(&child)?;
    say(&format!("{} ready", child.id()))?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    // It waits for an answer even when it is killed; who has the mount taken from him gets one.
    child.kill()?;
    umount2(POINT, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)?;
    child.wait()?;
    Ok(())
}

/// The child.
pub fn become_so(state: &str, path: &Path) -> Result<()> {
    let _kept = states::enter(state, path)?;
    // So that who looks at its memory has something to look for.
    let _map = mapped::mapped(path)?;
    let read = File::open(FILE)?;
    let mapped = File::open(FILE)?;
    std::thread::spawn(move || (&read).read(&mut [0]));
    BufReader::new(io::stdin()).read_line(&mut String::new())?;
    mapped::map(&mapped).map(drop)
}

/// proc_pid_syscall(5): in which system call a process sleeps.
fn until_it_maps(child: &Child) -> Result<()> {
    let start = Instant::now();
    let mmap = format!("{} ", libc::SYS_mmap);
    while !fs::read_to_string(format!("/proc/{}/syscall", child.id()))?.starts_with(&mmap) {
        ensure!(start.elapsed() < Duration::from_secs(20), "its memory map can be read");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

// ── FUSE (include/uapi/linux/fuse.h) ────────────────────────────────────────────────────────────────────────────────

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const FOPEN_DIRECT_IO: u32 = 1;
const FOPEN_KEEP_CACHE: u32 = 2;

const DIRECTORY: u64 = 1;
const REGULAR: u64 = 2;

/// One directory with one file in it. Whoever reads that is told of, and gets no answer.
fn serve(mut fuse: &File, tell: &Sender<()>) {
    let mut request = vec![0; 1 << 17];
    let mut opened = 0;
    while let Ok(length) = fuse.read(&mut request) {
        let (Some(operation), Some(unique), Some(node)) = (
            request.get(4..8).and_then(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?))),
            request.get(8..16).map(<[u8]>::to_vec),
            request.get(16..24).and_then(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?))),
        ) else {
            return;
        };
        let body = match operation {
            INIT => Ok(words(&[7, 31, 4096, 0, 9 << 16 | 10, 4096, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])),
            LOOKUP if request[40..length].starts_with(b"file\0") => {
                let entry = [numbers(&[REGULAR, 0, 1000, 1000]), words(&[0, 0]), attributes(REGULAR)];
                Ok(entry.concat())
            }
            LOOKUP => Err(Errno::ENOENT),
            GETATTR => Ok([numbers(&[1000]), words(&[0, 0]), attributes(node)].concat()),
            OPEN => {
                opened += 1;
                let how = if opened == 1 { FOPEN_KEEP_CACHE } else { FOPEN_DIRECT_IO };
                Ok([numbers(&[opened]), words(&[how, 0])].concat())
            }
            READ => {
                let _ = tell.send(());
                continue;
            }
            FORGET | BATCH_FORGET | INTERRUPT => continue,
            _ => Err(Errno::ENOSYS),
        };
        let error = body.as_ref().err().map_or(0, |error| -(*error as i32));
        let body = body.unwrap_or_default();
        let length = (16 + body.len() as u32).to_ne_bytes();
        let _ = fuse.write(&[&length[..], &error.to_ne_bytes(), &unique, &body].concat());
    }
}

fn attributes(node: u64) -> Vec<u8> {
    let mode = if node == DIRECTORY { libc::S_IFDIR | 0o755 } else { libc::S_IFREG | 0o644 };
    [numbers(&[node, 8192, 16, 0, 0, 0]), words(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}
