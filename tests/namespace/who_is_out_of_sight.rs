//! Whoever holds a replaced file without being a process that anybody sees: a mount, here or in another mount namespace, a
//! file in flight, the kernel itself. Either the kernel's answer to a lease or the mount tables tell; each is blind to
//! what the other sees.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use rokeep::core::inode::Inode;
use rokeep::core::verdict::Lease;
use rokeep::sys::files::Root;
use rokeep::sys::lease::Leases;
use rokeep::sys::namespaces;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Alias,
    Change::Upgrade,
    FileSystem, Small,
    State::{Cwd, Mapped, Open, OpenPath},
    Where::OwnMounts,
};

const TOOL: &str = "/usr/bin/tool";
const CACHE: &str = "/usr/lib/generated.cache";
const ELSEWHERE: &str = "/srv/elsewhere";

fn upgradable(file_system: FileSystem) -> Small {
    Small::on(file_system).installed("tool", "1", &[TOOL])
}

fn upgrade(world: &Small) {
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

fn assert_kept(world: &Small, what: &str) {
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_alias(TOOL, Alias::Kept);
    assert_eq!(world.status().mount("/usr").aliases.held, 1, "{what}");
}

fn assert_gone(world: &Small) {
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
}

/// What the kernel answers about the file that has this name now.
fn lease(world: &Small, path: &str) -> Lease {
    let root = Root::at(&world.outside("/")).expect("the world");
    let (dir, name) = path.rsplit_once('/').expect("a path");
    let dir = root.open_dir(dir.as_ref()).expect("a look").expect("a directory");
    let (dev, ino) = world.inode(path).expect("a file");
    Leases::new().ask(&dir, name.as_ref(), Inode { dev, ino })
}

// ── mounts ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn control_a_lease_knows_of_no_mount_and_of_no_path_descriptor() {
    let world = upgradable(FileSystem::Ext4);
    assert_eq!(lease(&world, TOOL), Lease::Granted);
    world.bind_file(TOOL, ELSEWHERE);
    assert_eq!(lease(&world, TOOL), Lease::Granted);
    let path = world.hold(OpenPath(TOOL));
    assert_eq!(lease(&world, TOOL), Lease::Granted);
    drop(path);
    let _holder = world.hold(Mapped(TOOL));
    assert_eq!(lease(&world, TOOL), Lease::Held);
}

#[test]
fn a_mount_here_keeps_a_file() {
    for file_system in FileSystem::ALL {
        let world = upgradable(file_system);
        world.bind_file(TOOL, ELSEWHERE);
        upgrade(&world);
        assert_kept(&world, &format!("{file_system:?}"));
        world.unmount(ELSEWHERE);
        assert_gone(&world);
    }
}

#[test]
fn a_mount_in_another_mount_namespace_keeps_a_file() {
    for file_system in FileSystem::ALL {
        let world = upgradable(file_system);
        world.bind_file(TOOL, ELSEWHERE);
        let elsewhere = world.hold_from(OwnMounts, Cwd("/tmp"));
        world.unmount(ELSEWHERE);
        upgrade(&world);
        assert_kept(&world, &format!("{file_system:?}"));
        drop(elsewhere);
        assert_gone(&world);
    }
}

/// To be called on a thread of its own, which is in the last of them then.
fn namespaces_without_processes(count: usize) -> Vec<File> {
    let one = |_| {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        File::open("/proc/thread-self/ns/mnt").expect("its descriptor")
    };
    (0..count).map(one).collect()
}

/// A descriptor is enough to keep the namespace. Linux lists it from 6.12 on, and not for who is in a pid namespace of its
/// own; then nobody can know of it.
#[test]
fn a_mount_in_a_mount_namespace_without_processes_keeps_a_file_where_the_kernel_lists_it() {
    const DESCRIPTORS: usize = 32;
    let _many = thread::scope(|scope| scope.spawn(|| namespaces_without_processes(DESCRIPTORS)).join()).expect("many");
    let world = upgradable(FileSystem::Ext4);
    world.bind_file(TOOL, ELSEWHERE);
    let elsewhere = world.hold_from(OwnMounts, Cwd("/tmp"));
    // Until it is looked at, it is kept by another.
    let holder = world.hold(Open(TOOL));
    upgrade(&world);
    world.unmount(ELSEWHERE);
    let namespace = File::open(world.outside(format!("/proc/{}/ns/mnt", elsewhere.pid()))).expect("its namespace");
    drop((elsewhere, holder));
    let ours = File::open("/proc/self/ns/mnt").expect("our own").into();
    let number = |file: &File| file.metadata().expect("a namespace").ino();
    // With fewer descriptors than there are namespaces in front of it.
    let mut others = namespaces::others(&ours).flatten().map(|other| number(&other.into()));
    let listed = others.any(|other| other == number(&namespace));
    assert!(!listed || namespaces::others(&ours).count() > DESCRIPTORS, "they are too few");
    let aliases = world.status_of_the_machine(DESCRIPTORS).mounts.remove(0).aliases;
    assert_eq!(aliases.held, usize::from(listed), "{aliases:?}");
    drop(namespace);
    assert_gone(&world);
}

/// Which inode is below cannot be seen, but what it was called.
#[test]
fn a_mount_that_another_one_covers_keeps_a_file_of_that_name() {
    let world = upgradable(FileSystem::Ext4);
    world.bind_file(TOOL, "/srv/below/elsewhere");
    world.cover("/srv/below");
    upgrade(&world);
    assert_kept(&world, "below");
    world.unmount("/srv/below");
    world.unmount("/srv/below/elsewhere");
    assert_gone(&world);
}

/// No list names it, so it has to be seen that it is in use.
#[test]
fn the_file_of_a_mount_is_guarded() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system).installed("tool", "1", &[TOOL]).unlisted(&[CACHE]);
        world.bind_file(CACHE, ELSEWHERE);
        world.begin();
        world.protect(&[]);
        world.rebuilds(CACHE);
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(CACHE, Alias::Kept);
        world.unmount(ELSEWHERE);
        assert_gone(&world);
    }
}

#[test]
fn a_mount_that_is_in_the_way_is_named() {
    let world = upgradable(FileSystem::Ext4);
    world.begin();
    world.protect(&[]);
    world.write(CACHE, b"made in this run\n");
    world.bind_file(CACHE, ELSEWHERE);
    world.removes(CACHE);
    world.end().assert_says(&["degraded", ELSEWHERE]);
    world.assert_mount("/usr", ReadOnlyMount);
    world.unmount(ELSEWHERE);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

// ── nobody that /proc shows ─────────────────────────────────────────────────────────────────────────────────────────

/// A file that was sent, and that nobody has received: unix(7), `SCM_RIGHTS`.
#[allow(unsafe_code, reason = "nothing in std sends a descriptor")]
fn in_flight(world: &Small, path: &str) -> (UnixStream, UnixStream) {
    let (from, to) = UnixStream::pair().expect("two sockets");
    let file = File::open(world.outside(path)).expect("a file");
    let mut byte = *b"x";
    let mut data = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    let mut control = [0_u64; 4];
    // SAFETY: the message is made of what is above, which outlives the call, and is large enough for one descriptor.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut data, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) as _;
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        ((*head).cmsg_level, (*head).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        (*head).cmsg_len = libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as _;
        libc::CMSG_DATA(head).cast::<libc::c_int>().write_unaligned(file.as_raw_fd());
        libc::sendmsg(from.as_raw_fd(), &raw const message, 0)
    };
    assert_eq!(sent, 1, "{}", std::io::Error::last_os_error());
    (from, to)
}

#[test]
fn a_file_in_flight_is_kept_though_nobody_is_seen_to_have_it() {
    for file_system in FileSystem::ALL {
        let world = upgradable(file_system);
        let (from, mut to) = in_flight(&world, TOOL);
        upgrade(&world);
        assert_kept(&world, &format!("{file_system:?}"));
        // Received without room for descriptors, it is closed.
        to.read_exact(&mut [0]).expect("a byte");
        drop((from, to));
        assert_gone(&world);
    }
}

#[test]
fn a_file_behind_a_loop_device_is_kept() {
    let world = Small::ext4().unlisted(&[CACHE]).installed("tool", "1", &[TOOL]);
    let output = Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(world.outside(TOOL)).output();
    let device = String::from_utf8(output.expect("losetup").stdout).expect("a name");
    let detach = Detach(device.trim().to_owned());
    assert!(detach.0.starts_with("/dev/loop"), "{:?}", detach.0);
    upgrade(&world);
    assert_kept(&world, "behind a device");
    drop(detach);
    world.assert_within(Duration::from_secs(5), "the device has let go", || {
        world.rokeep(["cleanup"]).assert_code(0);
        world.aliases("/usr").is_empty()
    });
    assert_gone(&world);
}

struct Detach(String);

impl Drop for Detach {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// A process outside of the pid namespace that rokeep is in.
#[test]
fn a_process_that_no_proc_shows_keeps_a_file() {
    let world = upgradable(FileSystem::Ext4);
    let file: OwnedFd = File::open(world.outside(TOOL)).expect("a file").into();
    upgrade(&world);
    assert_kept(&world, "by us");
    drop(file);
    assert_gone(&world);
}

// ── who cannot be looked at ─────────────────────────────────────────────────────────────────────────────────────────

/// A scan would wait for it for seconds.
#[test]
fn nobody_is_looked_for_where_the_kernel_says_that_all_is_held() {
    let world = upgradable(FileSystem::Ext4);
    let holder = world.hold(Open(TOOL));
    upgrade(&world);
    let unreadable = world.hold_unreadably(Open("/tool/holder"));
    let start = Instant::now();
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
    world.assert_alias(TOOL, Alias::Kept);
    drop((unreadable, holder));
    assert_gone(&world);
}

#[test]
fn what_only_an_unreadable_process_has_is_held_and_not_merely_unknown() {
    let world = upgradable(FileSystem::Ext4);
    let holder = world.hold_unreadably(Mapped(TOOL));
    upgrade(&world);
    let aliases = world.status().mounts.remove(0).aliases;
    assert_eq!((aliases.held, aliases.unknown), (1, 0));
    drop(holder);
    assert_gone(&world);
}

/// The descriptor is one that the kernel says nothing of.
#[test]
fn what_a_proc_that_hides_processes_may_not_show_is_kept() {
    let world = upgradable(FileSystem::Ext4);
    let holder = world.hold(OpenPath(TOOL));
    upgrade(&world);
    world.hide_processes();
    world.rokeep_without_ptrace(["cleanup"]).assert_code(0);
    world.assert_alias(TOOL, Alias::Kept);
    let status = world.rokeep_without_ptrace(["status"]);
    assert!(status.stdout.contains("hidepid") && status.stdout.contains("1 unknown"), "{}", status.stdout);
    // Who may trace them sees them all.
    assert_kept(&world, "by a process");
    drop(holder);
    assert_gone(&world);
}
