//! What one process has mapped into its memory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::process::{MAPS, OneProcess, errno};
use super::{By, Directory, Question, What};
use crate::core::holder::How;
use crate::core::proc_maps::Mapping;
use crate::sys::kernel::{self, LastLink};

impl<Q: Question> OneProcess<'_, Q> {
    /// Piece by piece: how long the whole is, is for the process to choose. Answers how many bytes it was.
    pub(super) fn mappings(&mut self, task: &Directory) -> nix::Result<usize> {
        let mut file = File::from(openat(task, "maps", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
        let mut buffer = std::mem::take(&mut self.scratch.maps);
        self.scratch.reader.start();
        let (mut filled, mut all) = (0, 0);
        loop {
            if filled == buffer.len() {
                buffer.resize((2 * filled).max(MAPS), 0);
            }
            let read = file.read(buffer.get_mut(filled..).unwrap_or_default()).map_err(errno)?;
            (filled, all) = (filled + read, all + read);
            let text = buffer.get(..filled).unwrap_or_default();
            // The last line is whole as well if nothing comes after it.
            let end = if read == 0 { Some(filled) } else { text.iter().rposition(|b| *b == b'\n') };
            if let Some((whole, _)) = end.and_then(|end| text.split_at_checked(end)) {
                whole.split(|b| *b == b'\n').for_each(|line| self.line(task, line));
                let next = (whole.len() + 1).min(filled);
                buffer.copy_within(next..filled, 0);
                filled -= next;
            }
            if read == 0 {
                self.scratch.maps = buffer;
                return Ok(all);
            }
        }
    }

    fn line(&mut self, task: &Directory, line: &[u8]) {
        if let Some(mapping) = self.scratch.reader.read(line).filter(|mapping| self.question.mapping(mapping)) {
            self.mapping(task, &mapping);
        }
    }

    fn mapping(&mut self, task: &Directory, mapping: &Mapping) {
        let link = format!("map_files/{}", mapping.range);
        let link = OsStr::new(&link);
        let how = if mapping.writes_the_file { How::OpenForWriting } else { How::Mapped };
        match kernel::stat(task, link, LastLink::Target) {
            Ok(stat) => self.say_if_looked_for(how, &stat, task, link),
            // Unmapped since, or not for us to follow, or of a thread, which has no such links: the numbers have to do.
            Err(_) => {
                let what = What::Mapping(mapping.device, mapping.ino);
                self.say(how, what, By::Name(mapping.name));
            }
        }
    }
}
