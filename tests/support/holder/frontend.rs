//! apt: runs what it is told to run, one command after the other.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::order::{Answer, Order};
use super::{dpkg, say};

/// The descriptor on which apt tells a hook what it is about to do.
const INFO: i32 = 20;

pub fn frontend() -> Result<()> {
    say(&format!("{} ready", std::process::id()))?;
    for line in io::stdin().lines() {
        let answer = carry_out(&serde_json::from_str(&line?)?)?;
        say(&serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

pub fn carry_out(order: &Order) -> Result<Answer> {
    let mut words = order.argv.iter().cloned().map(OsString::from_vec);
    let mut command = Command::new(words.next().context("an empty order")?);
    command.args(words).env_remove(dpkg::STAYS).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match &order.stream {
        None => command.spawn()?,
        Some(stream) => spawn_informed(command.env("APT_HOOK_INFO_FD", INFO.to_string()), stream.clone())?,
    };
    let stdout = read_all(child.stdout.take().context("no stdout")?);
    let stderr = read_all(child.stderr.take().context("no stderr")?);
    let status = child.wait()?;
    let moment = Duration::from_secs(2);
    let (stdout, stderr) = (stdout.recv_timeout(moment), stderr.recv_timeout(moment));
    Ok(Answer {
        code: status.code().or(status.signal().map(|signal| 128 + signal)).context("neither ended nor killed")?,
        output_kept_open: stdout.is_err() || stderr.is_err(),
        stdout: stdout.unwrap_or_default(),
        stderr: stderr.unwrap_or_default(),
    })
}

/// Starts a hook as apt does: what apt is about to do comes through a pipe, and apt does not mind who does not read it.
fn spawn_informed(command: &mut Command, stream: Vec<u8>) -> Result<std::process::Child> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // The lowest free number from INFO on, and the copy stays open across exec.
    let copy = fcntl(&reader, FcntlArg::F_DUPFD(INFO))?;
    ensure!(copy == INFO, "descriptor {INFO} is taken");
    drop(reader);
    let child = command.spawn();
    nix::unistd::close(copy)?;
    std::thread::spawn(move || File::from(writer).write_all(&stream));
    Ok(child?)
}

fn read_all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if from.read_to_end(&mut bytes).is_ok() {
            let _ = send.send(bytes);
        }
    });
    receive
}
