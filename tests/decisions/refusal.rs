//! `mountinfo` (one line), `answer` (`remount: EROFS`, `write: EACCES`, `nothing asked` …) and `device` (`write-protected`,
//! `writable`, `unknown`) → why the mount cannot become writable, and what a person is told.

use rokeep::core::mountinfo;
use rokeep::core::refusal::{Answer, Attempt, Device, foreseen, refusal};

use crate::Case;

pub fn decide(case: &Case) -> String {
    let mounts = mountinfo::parse(&case.read("mountinfo"));
    let [mount] = mounts.as_slice() else { panic!("one mount") };
    let device = match case.text("device").trim() {
        "write-protected" => Device::WriteProtected,
        "writable" => Device::Writable,
        "unknown" => Device::Unknown,
        other => panic!("not what a device says: {other:?}"),
    };
    let text = case.text("answer");
    let refusal = match foreseen(mount) {
        Some(foreseen) => foreseen,
        None => {
            let (attempt, answer) = text.trim().split_once(": ").unwrap_or_else(|| panic!("not an answer: {text:?}"));
            let attempt = match attempt {
                "remount" => Attempt::Remount,
                "write" => Attempt::Write,
                other => panic!("not an attempt: {other:?}"),
            };
            refusal(mount, device, attempt, answer_of(answer))
        }
    };
    format!("{refusal:?}\n{}\n", refusal.advice(mount))
}

fn answer_of(name: &str) -> Answer {
    match name {
        "EROFS" => Answer::ReadOnly,
        "EACCES" => Answer::Denied,
        "EPERM" => Answer::NotPermitted,
        "ENOSYS" => Answer::NoSuchCall,
        "EIO" => Answer::Failed,
        other => Answer::Other(other.to_owned()),
    }
}
