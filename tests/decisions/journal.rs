//! `journal`, as a rokeep or a crash left it → its records; and written again, the same bytes.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rokeep::core::journal::{self, Spot};
use rokeep::core::verdict::Kind;

use crate::{Case, shown};

pub fn decide(case: &Case) -> String {
    let text = case.read("journal");
    let read = match journal::parse(&text) {
        Ok(read) => read,
        Err(error) => return format!("refused: {error}\n"),
    };
    let mut answer = String::new();
    for record in &read.records {
        let path = |path: &Path| shown(path.as_os_str().as_bytes());
        let (mount, kind) = (path(&record.mount), if record.kind == Kind::Guard { "guard" } else { "alias" });
        let spot = match &record.spot {
            Spot::Store(at) if *at == record.mount => String::new(),
            Spot::Store(at) => format!(" in the store of {}", path(at)),
            Spot::Beside(file) => format!(" beside {}", path(file)),
            Spot::Inside(directory) => format!(" as a marker in {}", path(directory)),
        };
        let born = record.born.map(|born| format!(", born {}", born.0)).unwrap_or_default();
        let _ = writeln!(answer, "{mount}: {kind} {}{born}{spot}", record.alias.0);
        for name in &record.names {
            let _ = writeln!(answer, "    {}", shown(name.as_os_str().as_bytes()));
        }
    }
    let (whole, torn) = text.split_at(read.whole_bytes);
    let _ = writeln!(answer, "{} records, then {} torn bytes", read.records.len(), torn.len());
    if !whole.is_empty() {
        let again: Vec<u8> =
            std::iter::once(journal::header()).chain(read.records.iter().map(journal::encode)).flatten().collect();
        let same = match again == whole {
            true => "the same bytes",
            false if read.is_old => "in format 3",
            false => "OTHER BYTES",
        };
        let _ = writeln!(answer, "written again: {same}");
    }
    answer
}
