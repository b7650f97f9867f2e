//! States that keep a file in use and show nowhere: no descriptor, no mapping and no mount leads to it, and a lease on it
//! is granted. And a kernel that has no means to find them.
//!
//! Each fails with the reason where the machine's kernel does not have it.

#![allow(unsafe_code, reason = "system calls that nothing wraps; each block says why it is sound")]

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::sys::stat::Mode;

use super::elsewhere::own_mounts;
use super::states::{Kept, kept, open_path};

/// A Landlock rule about it binds this process (landlock(7)); it has no descriptor of it, and none of the rules.
pub fn landlocked(path: &Path) -> Result<Kept> {
    const WRITE_FILE: u64 = 1 << 1;
    const PATH_BENEATH: libc::c_int = 1;
    #[repr(C, packed)]
    struct PathBeneath {
        allowed: u64,
        parent: libc::c_int,
    }
    let handled = WRITE_FILE;
    // SAFETY: as many bytes of what is handled as is said.
    let rules =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of_val(&handled), 0) };
    let rules = new_descriptor(rules).context("no Landlock: is it in the kernel's list of security modules (lsm=)?")?;
    let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let rule = PathBeneath { allowed: WRITE_FILE, parent: file.as_raw_fd() };
    let number = rules.as_raw_fd();
    // SAFETY: the descriptors are open, and a rule of this kind is such a struct.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_add_rule, number, PATH_BENEATH, &raw const rule, 0) })?;
    // SAFETY: the descriptor is open.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, number, 0) })?;
    kept(Ok::<_, Errno>(()))
}

/// A uprobe is at its first byte (perf_event_open(2), as `perf probe --exec` and every eBPF agent for libssl has one).
pub fn probed(path: &Path) -> Result<Kept> {
    own_mounts()?;
    mount(Some("sysfs"), "/tmp", Some("sysfs"), MsFlags::empty(), None::<&str>)?;
    let kind = fs::read_to_string("/tmp/bus/event_source/devices/uprobe/type").context("a kernel without uprobes")?;
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    // struct perf_event_attr as far as its first extension: type and size, then config1 and config2, which are where.
    let mut event = [0_u64; 9];
    event[0] = kind.trim().parse::<u64>()? | (size_of_val(&event) as u64) << 32;
    event[7] = name.as_ptr() as u64;
    let (this_process, any_cpu, no_group, close_on_exec) = (0, -1, -1, 8);
    // SAFETY: the event is as long as it says, and its name is NUL-terminated; both outlive the call.
    let probe = unsafe {
        libc::syscall(libc::SYS_perf_event_open, event.as_ptr(), this_process, any_cpu, no_group, close_on_exec)
    };
    kept(new_descriptor(probe))
}

/// An fanotify event about it waits to be read, which would be a descriptor of it then (fanotify(7)).
pub fn unread(path: &Path) -> Result<Kept> {
    let group = Fanotify::init(InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC, EventFFlags::O_RDONLY)?;
    group.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN, AT_FDCWD, Some(path))?;
    drop(fs::File::open(path)?);
    group.mark(MarkFlags::FAN_MARK_FLUSH, MaskFlags::empty(), AT_FDCWD, None::<&Path>)?;
    kept(Ok::<_, Errno>(group))
}

/// It is watched (inotify(7)), which the kernel ends with its last name: this is in nobody's way.
pub fn watched(path: &Path) -> Result<Kept> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: plain numbers.
    let watches = new_descriptor(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) }.into())?;
    // SAFETY: the descriptor is open, and the name NUL-terminated.
    Errno::result(unsafe { libc::inotify_add_watch(watches.as_raw_fd(), name.as_ptr(), libc::IN_MODIFY) })?;
    kept(Ok::<_, Errno>(watches))
}

/// An overlay that has its directory below itself has looked it up, and nobody has it open.
pub fn seen_from_above(path: &Path) -> Result<Kept> {
    let above = overlay_above(path)?;
    kept(fs::symlink_metadata(above))
}

/// A descriptor that can only name it, of the overlay's own file: what /proc shows is that one.
pub fn named_from_above(path: &Path) -> Result<Kept> {
    open_path(&overlay_above(path)?)
}

fn overlay_above(path: &Path) -> Result<PathBuf> {
    let (dir, name) = (path.parent().context("no directory")?, path.file_name().context("no name")?);
    own_mounts()?;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    for made in ["/tmp/empty", "/tmp/above"] {
        fs::create_dir(made)?;
    }
    let options = format!("lowerdir=/tmp/empty:{}", dir.display());
    mount(Some("overlay"), "/tmp/above", Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    Ok(Path::new("/tmp/above").join(name))
}

/// Fails where somebody has it open.
pub fn lease(path: &Path) -> Result<()> {
    let file = fs::File::open(path)?;
    // SAFETY: a descriptor that is open, and plain numbers.
    let leased = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
    Errno::result(leased).map(drop).context("somebody has it open")
}

/// Runs a command as on a Linux before 5.19, which does not know evictable marks: seccomp(2) says so in its place.
pub fn without_evictable_marks(command: &[&str]) -> Result<ExitCode> {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT, BPF_W};
    // In struct seccomp_data: the number of the call, and the lower half of its second argument.
    let (number, flags) = (0, if cfg!(target_endian = "little") { 24 } else { 28 });
    let (load, answer) = ((BPF_LD | BPF_W | BPF_ABS) as u16, (BPF_RET | BPF_K) as u16);
    let jump = |condition| (BPF_JMP | condition | BPF_K) as u16;
    // SAFETY: these only put four numbers into a struct.
    let mut filter = unsafe {
        [
            BPF_STMT(load, number),
            BPF_JUMP(jump(BPF_JEQ), libc::SYS_fanotify_mark as u32, 0, 3),
            BPF_STMT(load, flags),
            BPF_JUMP(jump(BPF_JSET), libc::FAN_MARK_EVICTABLE, 0, 1),
            BPF_STMT(answer, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
            BPF_STMT(answer, libc::SECCOMP_RET_ALLOW),
        ]
    };
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter outlive the call, which copies both.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    ensure!(done == 0, "no seccomp: {}", Errno::last());
    let (program, words) = command.split_first().context("which command?")?;
    let status = Command::new(program).args(words).status()?;
    Ok(ExitCode::from(u8::try_from(status.code().context("it was killed")?)?))
}

/// What a system call has opened.
fn new_descriptor(answer: libc::c_long) -> nix::Result<OwnedFd> {
    // SAFETY: what is no error is a new descriptor that nobody else owns.
    Errno::result(answer).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
