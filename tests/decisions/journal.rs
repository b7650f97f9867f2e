//! `journal`, as a rokeep or a crash left it → its records; and written again, the same bytes.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use rokeep::core::journal;

use crate::{Case, shown};

pub fn decide(case: &Case) -> String {
    let text = case.read("journal");
    let read = match journal::parse(&text) {
        Ok(read) => read,
        Err(error) => return format!("refused: {error}\n"),
    };
    let mut answer = String::new();
    for record in &read.records {
        let mount = shown(record.mount.as_os_str().as_bytes());
        let _ = writeln!(answer, "{mount}: alias {}", record.alias.0);
        for name in &record.names {
            let _ = writeln!(answer, "    {}", shown(name.as_os_str().as_bytes()));
        }
    }
    let (whole, torn) = text.split_at(read.whole_bytes);
    let _ = writeln!(answer, "{} records, then {} torn bytes", read.records.len(), torn.len());
    if !whole.is_empty() {
        let again: Vec<u8> =
            std::iter::once(journal::header()).chain(read.records.iter().map(journal::encode)).flatten().collect();
        let same = if again == whole { "the same bytes" } else { "OTHER BYTES" };
        let _ = writeln!(answer, "written again: {same}");
    }
    answer
}
