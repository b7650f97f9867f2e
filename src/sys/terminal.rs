//! What a person reads on.

use std::env;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use crate::core::status::text::{Look, Paint};

/// What every terminal is supposed to have.
const USUAL: usize = 80;

/// What text should look like there: no narrower than 80 columns, and with colours on a terminal that has them, unless
/// NO_COLOR is set to anything (no-color.org).
pub fn look(output: &(impl IsTerminal + AsFd)) -> Look {
    if !output.is_terminal() {
        return Look { columns: USUAL, paint: Paint::Plain };
    }
    let columns = terminal_size::terminal_size_of(output).map_or(USUAL, |(width, _)| usize::from(width.0));
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_able = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    let paint = if is_able && !is_set("NO_COLOR") { Paint::Colours } else { Paint::Plain };
    Look { columns: columns.max(USUAL), paint }
}
