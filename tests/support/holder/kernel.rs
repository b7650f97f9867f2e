//! Commands on another kernel, or with fewer rights, than the machine has.

#![allow(unsafe_code, reason = "system calls that nothing wraps; each block says why it is sound")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs a command as on a Linux that does not have what rokeep remounts with (`ENOSYS`), or as under a filter that forbids
/// it (`EPERM`): seccomp(2) answers so in its place.
pub fn refusing_newer_calls(error: &str, command: &[&str]) -> Result<ExitCode> {
    let error = match error {
        "ENOSYS" => libc::ENOSYS,
        "EPERM" => libc::EPERM,
        _ => bail!("{error}?"),
    };
    refuse(&[libc::SYS_fspick, libc::SYS_fsconfig, libc::SYS_open_tree, libc::SYS_mount_setattr], error)?;
    become_it(command)
}

/// Runs a command as on a Linux before 5.12, which changes no single mount without its path.
pub fn before_5_12(command: &[&str]) -> Result<ExitCode> {
    refuse(&[libc::SYS_mount_setattr], libc::ENOSYS)?;
    become_it(command)
}

fn refuse(calls: &[libc::c_long], error: libc::c_int) -> Result<()> {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT, BPF_W};
    let answer = (BPF_RET | BPF_K) as u16;
    // SAFETY: these only put four numbers into a struct.
    let mut filter = unsafe {
        let mut filter = vec![BPF_STMT((BPF_LD | BPF_W | BPF_ABS) as u16, 0)];
        for (at, call) in calls.iter().enumerate() {
            let to_error = u8::try_from(calls.len() - at)?;
            filter.push(BPF_JUMP((BPF_JMP | BPF_JEQ | BPF_K) as u16, u32::try_from(*call)?, to_error, 0));
        }
        filter.push(BPF_STMT(answer, libc::SECCOMP_RET_ALLOW));
        filter.push(BPF_STMT(answer, libc::SECCOMP_RET_ERRNO | error as u32));
        filter
    };
    let program = libc::sock_fprog { len: u16::try_from(filter.len())?, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter outlive the call, which copies both.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    ensure!(done == 0, "no seccomp: {}", Errno::last());
    for call in calls {
        // SAFETY: it never comes to the call itself; and these arguments would be refused.
        let answer = Errno::result(unsafe { libc::syscall(*call, -1, 0, 0, 0, 0) });
        ensure!(answer == Err(Errno::from_raw(error)), "the filter does not work: {answer:?}");
    }
    Ok(())
}

/// Runs a command in a pid namespace whose first process may not mount, and so nobody in it may.
pub fn nobody_may_mount(command: &[&str]) -> Result<ExitCode> {
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
    let (myself, words) = (std::env::current_exe()?, ["first-of-a-container"]);
    wait_for(Command::new(myself).args(words).args(command))
}

/// The first process of such a container. It starts another one, which is apt's forked copy there.
pub fn first_of_a_container(command: &[&str]) -> Result<ExitCode> {
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)?;
    give_up_mounting()?;
    let myself = std::env::current_exe()?;
    wait_for(Command::new(myself).arg("and-wait").args(command))
}

/// Runs a command as a child.
pub fn and_wait(command: &[&str]) -> Result<ExitCode> {
    let (program, words) = command.split_first().context("which command?")?;
    wait_for(Command::new(program).args(words))
}

/// Runs a command that may not mount, on a machine whose other processes may.
pub fn may_not_mount(command: &[&str]) -> Result<ExitCode> {
    give_up_mounting()?;
    become_it(command)
}

/// Runs a command as root of a user namespace: what was mounted before is locked as it is (mount_namespaces(7)).
pub fn own_users(command: &[&str]) -> Result<ExitCode> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", "0 0 1")?;
    fs::write("/proc/self/gid_map", "0 0 1")?;
    become_it(command)
}

/// No program that is started from now on has the right.
fn give_up_mounting() -> Result<()> {
    const CAP_SYS_ADMIN: libc::c_ulong = 21;
    // SAFETY: plain numbers.
    let done = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) };
    ensure!(done == 0, "it cannot be given up: {}", Errno::last());
    Ok(())
}

/// With the descriptor on which apt tells what it is about to do.
pub fn become_it(command: &[&str]) -> Result<ExitCode> {
    let (program, words) = command.split_first().context("which command?")?;
    Err(Command::new(program).args(words).exec().into())
}

fn wait_for(command: &mut Command) -> Result<ExitCode> {
    let status = command.stdin(Stdio::null()).status()?;
    Ok(ExitCode::from(u8::try_from(status.code().context("it was killed")?)?))
}
