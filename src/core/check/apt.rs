//! What apt sees of rokeep, and what else it runs before and after a package run.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::apt_hooks::{ConfigFile, Configuration, Hook, List, contains, place};
use super::hooks::altered;
use super::remounts::{Remount, Script, remount};
use super::seen::{File, Seen, not_roots};
use super::{Finding, Topic, said};
use crate::core::apt_stream::is_true;
use crate::core::message;

/// The file of ours.
pub const PATH: &str = "/etc/apt/apt.conf.d/zz-rokeep";

const SHIPPED: &[u8] = include_bytes!("../../../apt.conf.d/zz-rokeep");

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// What is at [`PATH`].
    pub ours: Seen<File>,
    /// What `apt-config dump` says, and nothing where it is not there.
    pub configuration: Dump,
    /// Each file of apt's configuration, in apt's order.
    pub files: Vec<ConfigFile>,
    /// For each hook that apt has, in its order, the first script that it calls.
    pub scripts: Vec<Option<Script>>,
    /// The mount points that are managed.
    pub managed: Vec<PathBuf>,
}

/// What `apt-config dump` says.
#[derive(Debug)]
pub enum Dump {
    /// This.
    Says(Configuration),
    /// That it cannot read the configuration, and why.
    Refuses(String),
    /// There is no such program.
    Missing,
    /// It could not be asked.
    Unknown(String),
}

/// A hook with the first script that it calls.
struct Called<'a> {
    hook: Hook<'a>,
    script: Option<&'a Script>,
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::Apt;
    let (mut findings, usable) = own_file(&facts.ours);
    let configuration = match &facts.configuration {
        Dump::Says(configuration) => configuration,
        Dump::Refuses(why) => {
            let what = format!("apt cannot read its own configuration, and installs nothing: {}", said(why.as_bytes()));
            findings.push(topic.broken(what).command("apt-config dump"));
            return findings;
        }
        Dump::Missing => {
            findings.push(topic.ok("there is no apt-config here: only dpkg's own hooks are called"));
            return findings;
        }
        Dump::Unknown(why) => {
            findings.push(topic.unknown(format!("apt-config could not be asked what apt runs: {why}")));
            return findings;
        }
    };
    let scripts = facts.scripts.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let all: Vec<Called> = configuration.hooks().zip(scripts).map(|(hook, script)| Called { hook, script }).collect();
    if usable {
        findings.extend(List::OURS.into_iter().flat_map(|list| in_list(facts, &all, list)));
        findings.extend(protocol(configuration, &all));
    }
    findings.extend(home_made(facts, &all));
    findings.extend(odd_settings(configuration));
    findings
}

/// Whether it is worth looking for what it says.
fn own_file(ours: &Seen<File>) -> (Vec<Finding>, bool) {
    let topic = Topic::Apt;
    match ours {
        Seen::There(file) if !file.object.is_roots() => (vec![not_roots(topic, Path::new(PATH))], true),
        Seen::There(file) => (altered(topic, PATH, SHIPPED, &file.text).into_iter().collect(), true),
        Seen::Missing => {
            let what = format!(
                "there is no {PATH}: apt calls nothing of rokeep's, and dpkg breaks packages on what is read-only"
            );
            (vec![topic.broken(what).reinstall()], false)
        }
        Seen::Unknown(why) => (vec![topic.unseen(PATH, why)], true),
    }
}

/// Ours is in it, once, and who comes after it.
fn in_list(facts: &Facts, all: &[Called], list: List) -> Vec<Finding> {
    let (topic, name) = (Topic::Apt, list.name());
    let hooks: Vec<&Called> =
        all.iter().filter(|called| called.hook.list == list && !called.hook.command.is_empty()).collect();
    let ours: Vec<usize> =
        hooks.iter().enumerate().filter(|(_, called)| called.hook.is_ours()).map(|(at, _)| at).collect();
    let Some(last) = ours.last() else {
        let tag = format!("{name}::rokeep");
        let named = |called: &&Called| called.hook.tag.eq_ignore_ascii_case(tag.as_bytes());
        let advice = format!(
            "look for \"rokeep\", \"{name}\" and \"#clear\" in /etc/apt/apt.conf and /etc/apt/apt.conf.d, and remove that line"
        );
        let what = match all.iter().find(named) {
            Some(_) => format!("apt does not call rokeep's hook of {name}: a setting has switched {tag} off"),
            None => {
                format!("apt does not call rokeep's hook of {name}, though {PATH} is there: a setting has removed it")
            }
        };
        return vec![topic.broken(what).advice(advice)];
    };
    let mut findings = Vec::new();
    if ours.len() > 1 {
        let what = format!("apt calls rokeep's hook of {name} {} times, and once is enough", ours.len());
        findings.push(
            topic.attention(what).advice(format!("remove the lines with /etc/rokeep/hooks that are not in {PATH}")),
        );
    }
    let after: Vec<Finding> = hooks.iter().skip(last + 1).filter_map(|called| comes_after(facts, called)).collect();
    if after.is_empty() && findings.is_empty() {
        let place = match hooks.len() {
            1 => "alone".to_owned(),
            all if *last + 1 == all => {
                format!("last of {all}{}", behind(facts, hooks.get(..*last).unwrap_or_default()))
            }
            all => format!("number {} of {all}; those after it do no harm", last + 1),
        };
        findings.push(topic.ok(format!("{name}: rokeep is {place}")));
    }
    findings.extend(after);
    findings
}

/// In which files those stand that come before ours.
fn behind(facts: &Facts, before: &[&Called]) -> String {
    let mut names: Vec<String> = before
        .iter()
        .filter_map(|called| Some(message::path(Path::new(place(&facts.files, called.hook.command)?.0.file_name()?))))
        .collect();
    names.dedup();
    if names.is_empty() { String::new() } else { format!(", behind {}", message::few(&names, 3)) }
}

/// One that is run when ours is done, unless it is known to do no harm there. One that remounts is said by itself.
fn comes_after(facts: &Facts, called: &Called) -> Option<Finding> {
    let Called { hook, script } = called;
    if remount(hook.command, *script, &facts.managed).is_some() {
        return None;
    }
    let (topic, command) = (Topic::Apt, said(hook.command));
    let finding = match hook.list {
        List::PreInvoke | List::Another => return None,
        List::PreInstallPkgs if never_fails(hook) => return None,
        List::PreInstallPkgs => topic.attention(format!(
            "this Pre-Install-Pkgs hook comes after rokeep's: {command}. If it stops apt, the mounts are writable already, \
             until rokeep's watcher closes them"
        )),
        List::PostInvoke if deletes_locales(hook, *script) => topic.broken(format!(
            "localepurge comes after rokeep's hook of {}, and deletes files below /usr, which is read-only again by then: \
             {command}",
            hook.list.name()
        )),
        List::PostInvoke => topic.attention(format!(
            "this Post-Invoke hook comes after rokeep's, and finds the mounts read-only again: {command}"
        )),
    };
    Some(earlier(finding, facts, hook))
}

fn never_fails(hook: &Hook) -> bool {
    let command = hook.command.trim_ascii_end();
    [&b"|| true"[..], b"||true", b"|| :"].iter().any(|end| command.ends_with(end))
}

fn deletes_locales(hook: &Hook, script: Option<&Script>) -> bool {
    contains(hook.command, b"localepurge") || script.is_some_and(|script| contains(&script.text, b"localepurge"))
}

/// Its file is to sort before ours.
fn earlier(finding: Finding, facts: &Facts, hook: &Hook) -> Finding {
    match place(&facts.files, hook.command) {
        Some((file, _)) if file.parent() == Path::new(PATH).parent() => {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let to = format!("/etc/apt/apt.conf.d/50{}", name.trim_start_matches(['z', 'Z', '-', '_']));
            finding.command_about(file, |file| format!("mv -n {file} {to}"))
        }
        Some((file, line)) => finding.advice(format!(
            "move line {line} of {} into a file of /etc/apt/apt.conf.d that sorts before zz-rokeep",
            message::path(file)
        )),
        None => finding.advice("have it in a file of /etc/apt/apt.conf.d that sorts before zz-rokeep"),
    }
}

/// The pair that everybody begins with, and its relatives.
fn home_made(facts: &Facts, all: &[Called]) -> Vec<Finding> {
    let first_of_ours = |list| all.iter().position(|called| called.hook.list == list && called.hook.is_ours());
    let ours = List::OURS.map(|list| (list, first_of_ours(list)));
    let comes_first = |at: usize, list: List| {
        let first = ours.iter().find_map(|(known, first)| first.filter(|_| *known == list));
        first.is_none_or(|first| at < first)
    };
    let remounts = all.iter().enumerate().filter_map(|(at, called)| {
        let order = if comes_first(at, called.hook.list) { Order::Before } else { Order::After };
        remounting(facts, called, order)
    });
    remounts.collect()
}

/// On which side of ours a hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Before,
    After,
}

fn remounting(facts: &Facts, called: &Called, order: Order) -> Option<Finding> {
    let Called { hook, script } = called;
    let how = remount(hook.command, *script, &facts.managed)?;
    if hook.is_ours() {
        return None;
    }
    let (topic, command) = (Topic::Apt, said(hook.command));
    let through = match how {
        Remount::Itself => String::new(),
        Remount::InScript(path, line) => format!(" ({}, line {line})", message::path(path)),
    };
    let found = place(&facts.files, hook.command);
    let stands = found.map_or_else(
        || "in apt's configuration".to_owned(),
        |(file, line)| format!("in line {line} of {}", message::path(file)),
    );
    let list = hook.list.name();
    let finding = match hook.list {
        List::PreInvoke if order == Order::Before => topic.broken(format!(
            "a remount hook of {list} {stands} comes before rokeep's{through}: {command}. The mount is writable before rokeep \
             can see that it was read-only; it takes that for your wish, protects nothing, and does not close it"
        )),
        List::PostInvoke if order == Order::Before => topic.broken(format!(
            "a remount hook of {list} {stands} comes before rokeep's{through}: {command}. As soon as a file in use was \
             replaced it fails (\"mount point is busy\"), {}",
            if never_fails(hook) {
                "says nothing, and leaves the mount writable"
            } else {
                "apt exits 100 and calls no hook after it"
            }
        )),
        List::PreInvoke | List::PostInvoke | List::PreInstallPkgs => topic.attention(format!(
            "a remount hook of {list} {stands} does what rokeep does{through}: {command}"
        )),
        List::Another => topic.attention(format!(
            "a remount hook of {} {stands} opens or closes mounts where there is no package run, and rokeep knows nothing of \
             that{through}: {command}",
            said(list_of(hook))
        )),
    };
    let whether = match hook.list {
        List::Another => "; what it is for, as new lists of packages, may need a /var that can be written",
        List::PreInvoke | List::PreInstallPkgs | List::PostInvoke => "; rokeep does what it is for",
    };
    Some(match found {
        Some((file, line)) => finding.advice(format!(
            "remove the hook in line {line} of {} (or the file, if nothing else is in it){whether}",
            message::path(file)
        )),
        None => finding.advice(format!("look for that command in /etc/apt, and remove the hook{whether}")),
    })
}

/// The name of its list, without its own.
fn list_of<'a>(hook: &Hook<'a>) -> &'a [u8] {
    let end = hook.tag.windows(2).rposition(|two| two == b"::");
    end.and_then(|end| hook.tag.get(..end)).unwrap_or(hook.tag)
}

/// In which words apt tells ours what it is going to do.
fn protocol(configuration: &Configuration, all: &[Called]) -> Vec<Finding> {
    let topic = Topic::Apt;
    let ours = all.iter().map(|called| &called.hook);
    let Some(hook) = ours.into_iter().find(|hook| hook.list == List::PreInstallPkgs && hook.is_ours()) else {
        return Vec::new();
    };
    let option = |name: &[u8]| configuration.value(&[b"DPkg::Tools::Options::", hook.key(), b"::", name].concat());
    let (version, descriptor) = (option(b"Version"), option(b"InfoFD"));
    let block = format!(
        "DPkg::Tools::Options::{} has to say Version \"3\" and InfoFD \"20\", as {PATH} does when the package brings it",
        said(hook.key())
    );
    let mut findings = Vec::new();
    if version != Some(b"3") {
        let has = version.map_or("version 1".to_owned(), |version| format!("version {}", said(version)));
        let what =
            format!("apt tells rokeep too little of what it will do ({has}, not 3): every package run is stopped");
        findings.push(topic.broken(what).advice(block.clone()));
    }
    if descriptor.is_none_or(|descriptor| descriptor == b"0") {
        let what = "apt tells rokeep what it will do on standard input, which is then closed to questions";
        findings.push(topic.attention(what).advice(block));
    }
    if findings.is_empty() {
        let descriptor = said(descriptor.unwrap_or_default());
        findings.push(topic.ok(format!("rokeep is told what apt will do (version 3, descriptor {descriptor})")));
    }
    findings
}

/// What keeps hooks from being called, or has them called for something else.
fn odd_settings(configuration: &Configuration) -> Vec<Finding> {
    let topic = Topic::Apt;
    let mut findings = Vec::new();
    let mut odd = |name: &str, value: &[u8], means: &str| {
        let what = format!("{name} is {}: {means}", said(value));
        findings.push(topic.attention(what).advice("look for it in /etc/apt, and remove it unless it is meant"));
    };
    let set = |name: &str| configuration.value(name.as_bytes());
    if let Some(root) = set("DPkg::Chroot-Directory").filter(|root| *root != b"/") {
        odd("DPkg::Chroot-Directory", root, "hooks are looked for in there, and these are not called");
    }
    if let Some(on) = set("Debug::pkgDPkgPM").filter(|value| is_true(value)) {
        odd("Debug::pkgDPkgPM", on, "apt only prints what it would have dpkg do, and rokeep protects nothing");
    }
    if let Some(dpkg) = set("Dir::Bin::dpkg").filter(|dpkg| *dpkg != b"dpkg" && *dpkg != b"/usr/bin/dpkg") {
        odd("Dir::Bin::dpkg", dpkg, "what rokeep relies on was tried with dpkg alone");
    }
    let elsewhere = [&b"--root"[..], b"--instdir", b"--admindir", b"--no-act", b"--dry-run", b"--simulate"];
    for option in configuration.list(b"DPkg::Options") {
        if elsewhere.iter().any(|other| option.starts_with(other)) {
            odd("DPkg::Options", option, "dpkg works somewhere else, or not at all, and its own hooks do nothing");
        }
    }
    findings
}
