//! Commands that heed what they would heed at a terminal.
#![allow(unsafe_code, reason = "what a signal does is the whole process's business")]

use std::process::ExitCode;

use anyhow::Result;
use nix::sys::signal::{SigHandler, Signal, signal};

use super::kernel::become_it;

/// Runs a command that whatever ends programs at a terminal ends, though whoever runs the tests may ignore it (nohup(1)).
pub fn at_a_terminal(command: &[&str]) -> Result<ExitCode> {
    for which in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTERM] {
        // SAFETY: sets no handler.
        unsafe { signal(which, SigHandler::SigDfl)? };
    }
    become_it(command)
}
