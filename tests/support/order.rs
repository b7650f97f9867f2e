//! What a world asks of the stand-in for apt inside its sandbox (`holder frontend`), and what that answers: one JSON
//! value a line each way. Arguments and outputs are bytes, because names are.

use serde::{Deserialize, Serialize};

/// Run this, as a child, and answer when it has ended.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// The program and its arguments.
    pub argv: Vec<Vec<u8>>,
    /// What to offer it on the descriptor that `APT_HOOK_INFO_FD` names.
    pub stream: Option<Vec<u8>>,
}

/// How it ended.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    /// Its exit code, or the number of the signal that ended it plus 128, as a shell would say.
    pub code: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
    /// Whether a process that it left behind still held its output a moment after it had ended. apt's caller would wait
    /// for that process.
    pub output_kept_open: bool,
}
