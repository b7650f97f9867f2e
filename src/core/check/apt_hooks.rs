//! apt's configuration as `apt-config dump` has it, and where in its files a hook stands.
//!
//! The dump is asked for with `--format %F=%V%n`: names and values with what could be mistaken in them as `%xx`
//! (apt-pkg/contrib/configuration.cc, `Dump`; apt 0.9.10 or newer).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// A setting: its full name, and its value. One that only has others below it is empty.
type Setting = (Vec<u8>, Vec<u8>);

/// All of apt's settings, in the order in which apt has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration(Vec<Setting>);

/// Which list a hook is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Before a package run.
    PreInvoke,
    /// The same, once it is known what will be done.
    PreInstallPkgs,
    /// After it.
    PostInvoke,
    /// With something else: `APT::Update::Pre-Invoke`, `APT::Install::Post-Invoke-Success`.
    Another,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook<'a> {
    /// In which list.
    pub list: List,
    /// The list's name, and the hook's own where it has one.
    pub tag: &'a [u8],
    /// What the shell is told to do; nothing where the hook is switched off.
    pub command: &'a [u8],
}

/// A file of apt's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
}

impl List {
    /// The three that rokeep has a hook in, in the order in which apt runs them.
    pub const OURS: [List; 3] = [List::PreInvoke, List::PreInstallPkgs, List::PostInvoke];

    /// What apt calls it.
    pub fn name(self) -> &'static str {
        match self {
            List::PreInvoke => "DPkg::Pre-Invoke",
            List::PreInstallPkgs => "DPkg::Pre-Install-Pkgs",
            List::PostInvoke => "DPkg::Post-Invoke",
            List::Another => "another list",
        }
    }

    /// What ours in it is called in `/etc/rokeep/hooks`.
    pub fn script(self) -> &'static str {
        match self {
            List::PreInvoke => "pre-invoke",
            List::PreInstallPkgs => "pre-install-pkgs",
            List::PostInvoke => "post-invoke",
            List::Another => "no such hook",
        }
    }
}

impl Hook<'_> {
    /// Whether it calls the script of ours that belongs into this list.
    pub fn is_ours(&self) -> bool {
        let script = [b"/etc/rokeep/hooks/", self.list.script().as_bytes()].concat();
        contains(self.command, &script)
    }

    /// What the options for how it is told things are found by: apt takes all before the first space
    /// (apt-pkg/deb/dpkgpm.cc, `RunScriptsWithPkgs`).
    pub fn key(&self) -> &[u8] {
        self.command.split(|byte| *byte == b' ').next().unwrap_or_default()
    }
}

impl Configuration {
    /// Reads the dump; lines of another form are left out.
    pub fn parse(dump: &[u8]) -> Configuration {
        let setting = |line: &[u8]| {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            let (name, value) = line.split_at_checked(equals)?;
            Some((unescape(name), unescape(value.get(1..)?)))
        };
        Configuration(dump.split(|byte| *byte == b'\n').filter_map(setting).collect())
    }

    /// The value of a setting; apt takes no notice of large and small letters.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(&found.1).filter(|value| !value.is_empty()).map(Vec::as_slice)
    }

    /// The values of a list.
    pub fn list(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(tag, _)| in_list(tag, name)).map(|(_, value)| value.as_slice())
    }

    /// Every hook, in the order in which apt has them.
    pub fn hooks(&self) -> impl Iterator<Item = Hook<'_>> {
        self.0.iter().filter_map(|(tag, command)| {
            let ours = List::OURS.into_iter().find(|list| in_list(tag, list.name().as_bytes()));
            let another = || contains_ignoring_case(tag, b"-Invoke").then_some(List::Another);
            // A list itself has no value.
            let list = ours.or_else(|| another().filter(|_| !command.is_empty()))?;
            Some(Hook { list, tag, command })
        })
    }
}

fn in_list(tag: &[u8], list: &[u8]) -> bool {
    let head = tag.split_at_checked(list.len());
    head.is_some_and(|(head, tail)| head.eq_ignore_ascii_case(list) && tail.starts_with(b"::"))
}

/// The file that a command stands in, and its line, counted from 1. None where it is written in another way there. apt takes
/// every quotation mark away, also those of a shell.
pub fn place<'a>(files: &'a [ConfigFile], command: &[u8]) -> Option<(&'a Path, usize)> {
    files.iter().find_map(|file| {
        let mut lines = file.text.split(|byte| *byte == b'\n').zip(1..);
        let has = |line: &[u8]| {
            let bare: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'"').collect();
            contains(&bare, command) || contains(line, command)
        };
        let found = lines.find(|(line, _)| !is_comment(line) && has(line));
        found.map(|(_, number)| (file.path.as_path(), number))
    })
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    line.starts_with(b"//") || line.starts_with(b"#")
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let digits = (*first == b'%').then(|| tail.split_at_checked(2)).flatten();
        let byte = digits
            .and_then(|(digits, after)| Some((u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?, after)));
        let (byte, after) = byte.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

/// Whether these bytes are among those.
pub fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

fn contains_ignoring_case(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As apt 2.6.1 writes it.
    const DUMP: &[u8] = b"DPkg=\nDPkg::Pre-Invoke=\nDPkg::Pre-Invoke::=mount%20-o%20remount,rw%20/usr\n\
        DPkg::Pre-Invoke::rokeep=hook=/etc/rokeep/hooks/pre-invoke%20&&%20test%20!%20-x%20$hook%20||%20$hook\n\
        DPkg::Tools::Options::hook%3d/etc/rokeep/hooks/pre-install-pkgs::Version=3\n\
        APT::Update::Post-Invoke=\nAPT::Update::Post-Invoke::=a%22b%22\n\nnonsense\n";

    #[test]
    fn a_dump_is_read_as_apt_means_it() {
        let configuration = Configuration::parse(DUMP);
        let hooks: Vec<Hook> = configuration.hooks().collect();
        assert_eq!(
            hooks.iter().map(|hook| hook.list).collect::<Vec<_>>(),
            [List::PreInvoke, List::PreInvoke, List::Another]
        );
        assert_eq!(hooks[0].command, b"mount -o remount,rw /usr");
        assert_eq!(hooks.iter().map(Hook::is_ours).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(hooks[1].key(), b"hook=/etc/rokeep/hooks/pre-invoke");
        assert_eq!(hooks[2].command, b"a\"b\"");
        let version = b"dpkg::tools::options::HOOK=/etc/rokeep/hooks/pre-install-pkgs::Version";
        assert_eq!(configuration.value(version), Some(&b"3"[..]));
        assert_eq!(configuration.value(b"DPkg::Pre-Invoke"), None);
    }

    #[test]
    fn the_line_of_a_hook_is_found_and_no_comment() {
        let file = |path: &str, text: &str| ConfigFile { path: path.into(), text: text.into() };
        let files = [
            file("/etc/apt/apt.conf.d/00a", "// DPkg::Pre-Invoke {\"mount x\";};\n# mount x\n"),
            file(
                "/etc/apt/apt.conf.d/10b",
                "DPkg {\n  Pre-Invoke {\"mount x\";};\n Post-Invoke {\"echo \\\"b\\\"\";};\n};\n",
            ),
        ];
        assert_eq!(place(&files, b"mount x"), Some((Path::new("/etc/apt/apt.conf.d/10b"), 2)));
        assert_eq!(place(&files, b"echo \\b\\"), Some((Path::new("/etc/apt/apt.conf.d/10b"), 3)));
        assert_eq!(place(&files, b"mount y"), None);
    }
}
