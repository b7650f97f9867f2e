//! Programs of the machine that tests run on, where no stand-in does.

use std::path::Path;
use std::process::Command;

use super::Small;

impl Small {
    /// A program of that machine, such as /bin/sh, with the libraries that it needs.
    pub fn has_from_the_machine(&self, program: &str) {
        let needs = Command::new("ldd").arg(program).output().expect("ldd");
        let needs = String::from_utf8(needs.stdout).expect("text");
        let libraries = needs.split_whitespace().filter(|word| word.starts_with('/'));
        self.writably(|| {
            for path in libraries.chain([program]) {
                self.write(Path::new(path), &std::fs::read(path).expect("a file of this machine"));
                self.set_mode(path, 0o755);
            }
        });
    }
}
