//! Files that the kernel has open for itself: behind loop devices, for swap, for the programs of binfmt_misc.
//!
//! A write lease is refused for each of them; this is where their names are. What cannot be read here is left out.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{iter, thread};

use nix::errno::Errno;
use nix::libc;

use super::files::Root;
use super::mounts;
use crate::core::holder::Holder;
use crate::core::inode::Inode;
use crate::core::kernel_holders;
use crate::core::mount_state::Access;

/// So long all loop devices together may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// One of them.
#[derive(Debug)]
pub struct KernelHeld {
    /// What it is held by.
    pub holder: Holder,
    /// What it is called by whoever handed it over, in whatever namespace, and with what the kernel says behind a name that
    /// is gone.
    pub name: PathBuf,
    /// Which one it is, where that can be told. Otherwise the name may be another file's by now.
    pub inode: Option<Inode>,
    /// What the kernel may do to it. Whoever may write keeps the file system writable.
    pub access: Access,
}

/// Whether all that may hold a file could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Every loop device. Of swap and binfmt_misc the kernel shows what there is, if there is any.
    All,
    /// There is no /sys here, or a loop device did not answer in time.
    NotAll,
}

/// Every file of these kinds.
pub fn held_by_the_kernel(root: &Root) -> (Vec<KernelHeld>, Asked) {
    let (loops, asked) = loop_devices(root).unwrap_or((Vec::new(), Asked::NotAll));
    let swaps = kernel_holders::swap_files(&fs::read(root.path("/proc/swaps")).unwrap_or_default());
    let swaps =
        swaps.into_iter().map(|name| KernelHeld { holder: Holder::Swap, name, inode: None, access: Access::Writable });
    (loops.into_iter().chain(swaps).chain(interpreters(root)).collect(), asked)
}

fn loop_devices(root: &Root) -> Option<(Vec<KernelHeld>, Asked)> {
    let entries = fs::read_dir(root.path("/sys/block")).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let (mut held, nodes): (Vec<_>, Vec<_>) = names.filter_map(|name| loop_device(root, name)).unzip();
    let inodes = in_time(nodes, |(node, number)| behind(&node, number));
    let asked = if inodes.len() == held.len() { Asked::All } else { Asked::NotAll };
    held.iter_mut().zip(inodes).for_each(|(held, inode)| held.inode = inode);
    Some((held, asked))
}

/// With what [`behind`] has to be told to find its inode.
fn loop_device(root: &Root, name: String) -> Option<(KernelHeld, (PathBuf, u32))> {
    let number = name.strip_prefix("loop")?.parse().ok()?;
    let mut file = fs::read(root.path(&format!("/sys/block/{name}/loop/backing_file"))).ok()?;
    if file.last() == Some(&b'\n') {
        file.pop();
    }
    let node = root.path(&format!("/dev/{name}"));
    let read_only = fs::read(root.path(&format!("/sys/block/{name}/ro"))).is_ok_and(|text| text.starts_with(b"1"));
    let access = if read_only { Access::ReadOnly } else { Access::Writable };
    let (holder, name) = (Holder::LoopDevice(name), OsString::from_vec(file).into());
    Some((KernelHeld { holder, name, inode: None, access }, (node, number)))
}

/// The answers that came in time, from the first on. They are asked for on a thread that is left behind where it gets none: a
/// loop device asks the file system that its file is on, and be it a FUSE server that does not answer.
fn in_time<T: Send + 'static, A: Send + 'static>(all: Vec<T>, ask: impl Fn(T) -> A + Send + 'static) -> Vec<A> {
    let until = Instant::now() + PATIENCE;
    let (teller, told) = mpsc::channel();
    let work = move || all.into_iter().map(ask).try_for_each(|answer| teller.send(answer));
    // Without a thread nobody tells anything.
    let _ = thread::Builder::new().spawn(work);
    iter::from_fn(|| told.recv_timeout(until.saturating_duration_since(Instant::now())).ok()).collect()
}

/// `struct loop_info64` (include/uapi/linux/loop.h).
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    others: [u64; 3],
    number: u32,
    rest: [u32; 47],
}

/// loop(4), `LOOP_GET_STATUS64`: what stat(2) said of the file when it was put behind the device.
fn behind(node: &Path, number: u32) -> Option<Inode> {
    const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
    let node = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(node).ok()?;
    let mut info = LoopInfo { device: 0, inode: 0, others: [0; 3], number: u32::MAX, rest: [0; 47] };
    // SAFETY: the descriptor is open, and `info` is as large as the kernel's struct and writable.
    Errno::result(unsafe { libc::ioctl(node.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) }).ok()?;
    // Whoever made the node may have meant another device.
    (info.number == number).then_some(Inode { dev: info.device, ino: info.inode })
}

/// Where binfmt_misc is mounted; where it only would be as soon as somebody looks, nobody is made to mount it.
fn interpreters(root: &Root) -> Vec<KernelHeld> {
    let table = mounts::table(root).unwrap_or_default();
    let points = table.into_iter().filter(|mount| mount.fs_type == "binfmt_misc").map(|mount| mount.point);
    let rules = points.filter_map(|point| fs::read_dir(point).ok()).flatten().flatten();
    let rule = |entry: fs::DirEntry| {
        // "register" cannot be read.
        let name = kernel_holders::fixed_interpreter(&fs::read(entry.path()).ok()?)?;
        let rule = entry.file_name().to_string_lossy().into_owned();
        Some(KernelHeld { holder: Holder::Interpreter(rule), name, inode: None, access: Access::ReadOnly })
    };
    rules.filter_map(rule).collect()
}

const _: () = assert!(size_of::<LoopInfo>() == 232);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let (start, (keep, silent)) = (Instant::now(), mpsc::channel::<()>());
        let ask = move |number: u32| if number < 2 { number } else { silent.recv().map_or(0, |()| number) };
        assert_eq!(in_time(vec![0, 1, 2, 3], ask), [0, 1]);
        assert!(start.elapsed() < 2 * PATIENCE, "it took {:?}", start.elapsed());
        drop(keep);
    }
}
