//! `found`, how a mount was found → from whatever it is now, its state and the steps back.

use rokeep::core::mount_state::{self, Access, Flags, MountState, Step};

use crate::{Case, levels, read_levels};

pub fn decide(case: &Case) -> String {
    let found = read_levels(&case.text("found"));
    let all = [Access::ReadOnly, Access::Writable];
    let nows = all.iter().flat_map(|mount| all.map(|superblock| Flags { mount: *mount, superblock }));
    let line = |now| format!("{}: {}; {}\n", levels(now), state(now, found), steps(now, found));
    nows.map(line).collect()
}

fn state(now: Flags, found: Flags) -> &'static str {
    match mount_state::state(now, found) {
        MountState::ReadOnly => "is read-only",
        MountState::Degraded => "is degraded",
        MountState::Writable => "is writable",
    }
}

fn steps(now: Flags, found: Flags) -> String {
    let words = mount_state::steps(now, found).into_iter().map(|step| match step {
        Step::Superblock(Access::ReadOnly) => "superblock read-only",
        Step::Superblock(Access::Writable) => "superblock writable",
        Step::Mount(Access::ReadOnly) => "mount read-only",
        Step::Mount(Access::Writable) => "mount writable",
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "nothing to do".to_owned() } else { format!("make {}", words.join(", then ")) }
}
