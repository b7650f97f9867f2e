//! What `status` says of whatever may hold something, whatever that is called.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use rokeep::core::cgroup;
use rokeep::core::columns::{can_be_shown, width};
use rokeep::core::holder::{Holder, How, Process};
use rokeep::core::holding::{self, Held, Surroundings, What};
use rokeep::core::inode::Inode;
use rokeep::core::status::text::{Look, Paint, text};
use rokeep::core::status::{self, Status};

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "\\PC{0,30}", any::<String>()]
}

fn path() -> impl Strategy<Value = PathBuf> {
    vec(any::<u8>(), 0..150).prop_map(|bytes| PathBuf::from(OsString::from_vec([b"/usr/", &bytes[..]].concat())))
}

fn process() -> impl Strategy<Value = Process> {
    let cgroup = prop_oneof![
        Just(String::new()),
        name().prop_map(|unit| format!("0::/system.slice/{unit}.service")),
        (0u32..3).prop_map(|user| format!("0::/user.slice/user-{user}.slice/session-1.scope")),
        (0u32..3, name()).prop_map(|(user, unit)| format!(
            "0::/user.slice/user-{user}.slice/user@{user}.service/a.slice/{unit}.service"
        )),
    ];
    (1i32..9, name(), cgroup, any::<Option<u64>>(), any::<bool>()).prop_map(|(pid, command, cgroup, started, runs)| {
        let place = cgroup::place(&cgroup);
        Process {
            pid,
            command,
            unit: place.map(|place| place.unit.to_owned()),
            user: place.and_then(|place| place.user),
            user_unit: place.and_then(|place| place.user_unit).map(str::to_owned),
            started,
            uses: BTreeSet::from([if runs { How::Executed } else { How::Open }]),
        }
    })
}

fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![
        4 => process().prop_map(Holder::Process),
        1 => (path(), proptest::option::of(process())).prop_map(|(at, seen_by)| Holder::Mount { at, seen_by }),
        1 => name().prop_map(Holder::LoopDevice),
        1 => Just(Holder::Swap),
        1 => name().prop_map(Holder::Interpreter),
        1 => Just(Holder::Unseen),
    ]
}

fn held() -> impl Strategy<Value = Held> {
    let bytes = proptest::option::of(0u64..1 << 40);
    (vec(path(), 0..3), 0u64..5, bytes, vec(holder(), 0..5)).prop_map(|(names, ino, bytes, holders)| {
        // One number, one inode.
        let (bytes, is_file) = (ino << 20, bytes.is_some() || ino > 0);
        let what = if is_file { What::File(format!("/usr/.rokeep/{ino}").into()) } else { What::Directory };
        Held { mount: "/usr".into(), what, names, inode: Inode { dev: 1, ino }, bytes, holders }
    })
}

fn status(held: &[Held]) -> Status {
    let users = BTreeMap::from([(0, "root".to_owned()), (1, "alice".to_owned())]);
    let (groups, things) = status::holding(held, &Surroundings { at_work: BTreeSet::from([3]), users });
    Status {
        format: status::FORMAT,
        time: 1_764_205_629,
        groups,
        held: things,
        kept: holding::amount(held.iter()),
        unknown: None,
        mounts: Vec::new(),
        session: None,
        problems: Vec::new(),
    }
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn no_name_moves_a_cursor_or_makes_a_line_too_long(held in vec(held(), 0..6), columns in 80usize..130) {
        let status = status(&held);
        let text = text(&status, Look { columns, paint: Paint::Plain });
        let commands: Vec<&str> = status.groups.iter().filter_map(|group| group.remedy.command()).collect();
        for line in text.lines() {
            prop_assert!(can_be_shown(line), "{line:?}");
            let has_command = commands.iter().any(|command| line.ends_with(command) && width(command) + 8 > columns);
            let is_of_the_last_command = line.ends_with('\\') || line.split(' ').filter(|word| !word.is_empty()).count() == 1;
            prop_assert!(width(line) <= columns || has_command || is_of_the_last_command, "{line:?}");
        }
        let json = serde_json::to_string_pretty(&status).expect("it can be written");
        prop_assert!(!json.chars().any(|c| c.is_control() && c != '\n'), "{json}");
    }

    #[test]
    fn everybody_is_in_the_group_that_has_what_he_holds(held in vec(held(), 0..6)) {
        let status = status(&held);
        for (thing, held) in status.held.iter().zip(&held) {
            prop_assert_eq!(thing.holders.len(), held.holders.len());
            for holder in &thing.holders {
                let group = &status.groups[holder.group];
                prop_assert!(group.holds.bytes >= thing.bytes, "{:?} {:?}", group, thing);
            }
        }
        for group in &status.groups {
            prop_assert!(group.holds.bytes <= status.kept.bytes && group.shared.bytes <= group.holds.bytes);
            prop_assert!(!group.remedy.text().is_empty());
        }
        let alone: u64 = status.groups.iter().map(|group| group.holds.bytes - group.shared.bytes).sum();
        prop_assert!(alone <= status.kept.bytes, "what nobody else holds is counted once");
    }
}
