//! `rokeep plan`: what a run would protect, said beforehand, and nothing done.

use std::os::unix::fs::MetadataExt;

use serde::Deserialize;

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Change::{Install, Remove, Upgrade},
    FileSystem::Ext4,
    Mount, Small,
    State::{Cwd, Mapped},
    stream,
};

/// `rokeep plan --json`, whole: a field that is missing, or that is not documented, is an error.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Plan {
    format: u32,
    stores: Vec<Store>,
    directories: Vec<String>,
    notes: Vec<String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Store {
    mount: String,
    store: String,
    bytes: u64,
    left_out: usize,
    aliases: Vec<PlannedAlias>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct PlannedAlias {
    inode: u64,
    names: Vec<String>,
    bytes: u64,
    guard: bool,
    reasons: Vec<Reason>,
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
    package: Option<String>,
}

impl Plan {
    fn of(world: &Small, words: &[&str], input: &[u8]) -> Plan {
        let run = world.rokeep_given(&[&["plan", "--json"], words].concat(), input).assert_code(0);
        let plan: Plan = serde_json::from_str(&run.stdout)
            .unwrap_or_else(|error| panic!("this is not what plan --json promises: {error}: {}", run.stdout));
        assert_eq!(plan.format, 1);
        plan
    }

    #[track_caller]
    fn alias(&self, name: &str) -> &PlannedAlias {
        let mut aliases = self.stores.iter().flat_map(|store| &store.aliases);
        let alias = aliases.find(|alias| alias.names.iter().any(|known| known == name));
        alias.unwrap_or_else(|| panic!("no alias of {name} in {self:#?}"))
    }

    fn names(&self) -> Vec<&str> {
        let aliases = self.stores.iter().flat_map(|store| &store.aliases);
        let mut names: Vec<&str> = aliases.flat_map(|alias| &alias.names).map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

fn because(reason: &str, package: Option<&str>) -> Reason {
    Reason { reason: reason.to_owned(), package: package.map(str::to_owned) }
}

/// A package, a file that is in use and in no list, and one that nobody uses.
fn world() -> Small {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool", "/usr/share/tool/data"]);
    world.writably(|| {
        world.write("/usr/share/cache", &[b'x'; 5000]);
        world.write("/usr/share/idle", b"nobody uses it");
    });
    world
}

#[test]
fn every_alias_with_its_reasons_its_packages_and_its_bytes() {
    let world = world();
    let _cache = world.hold(Mapped("/usr/share/cache"));
    let _tool = world.hold(Mapped("/usr/bin/tool"));
    let plan = Plan::of(&world, &[], &stream(&[Upgrade("tool", "1", "2")]));

    assert_eq!(plan.names(), ["/usr/bin/tool", "/usr/share/cache", "/usr/share/tool/data"]);
    let [store] = plan.stores.as_slice() else { panic!("one store: {plan:#?}") };
    assert_eq!((store.mount.as_str(), store.store.as_str(), store.left_out), ("/usr", "/usr", 0));
    assert_eq!(store.bytes, store.aliases.iter().map(|alias| alias.bytes).sum::<u64>());
    let cache = plan.alias("/usr/share/cache");
    assert_eq!((cache.guard, &cache.reasons), (true, &vec![because("in use", None)]));
    let on_disk = world.outside("/usr/share/cache").metadata().expect("it is there").blocks() * 512;
    assert_eq!(cache.bytes, on_disk);
    assert_eq!(Some(cache.inode), world.inode("/usr/share/cache").map(|(_, number)| number));
    let tool = plan.alias("/usr/bin/tool");
    assert_eq!(
        (tool.guard, &tool.reasons),
        (false, &vec![because("installed", Some("tool")), because("in use", None)])
    );
    assert_eq!(plan.alias("/usr/share/tool/data").reasons, [because("installed", Some("tool"))]);
    assert!(store.aliases[2].names == ["/usr/share/tool/data"], "what is in use comes first: {plan:#?}");
}

#[test]
fn nothing_is_changed() {
    let world = world();
    let (mount, journal) = (world.mount_line("/usr"), world.journal());
    Plan::of(&world, &[], &stream(&[Upgrade("tool", "1", "2")]));
    Plan::of(&world, &["tool"], b"");
    assert_eq!(world.mount_line("/usr"), mount);
    assert_eq!(world.journal(), journal);
    world.assert_no_store("/usr");
    world.assert_no_session();
}

#[test]
fn packages_instead_of_a_stream() {
    let world = world();
    assert_eq!(Plan::of(&world, &["tool"], b"").names(), ["/usr/bin/tool", "/usr/share/tool/data"]);
    assert_eq!(Plan::of(&world, &["tool:amd64"], b"").names(), ["/usr/bin/tool", "/usr/share/tool/data"]);
    let listed_for_removal = Plan::of(&world, &[], &stream(&[Remove("tool", "1")]));
    assert_eq!(listed_for_removal.names(), ["/usr/bin/tool", "/usr/share/tool/data"]);
}

/// It says whose file is taken over, although only the archive's own package is named.
#[test]
fn archives_instead_of_a_stream() {
    let world = world();
    world.archive("taker", "1", &[], &["/usr/share/tool/data", "/usr/share/taker/new"]);
    let archive = "/var/cache/apt/archives/taker_1_amd64.deb";
    let plan = Plan::of(&world, &[archive], b"");
    assert_eq!(plan.names(), ["/usr/share/tool/data"]);
    assert_eq!(plan.alias("/usr/share/tool/data").reasons, [because("brought", Some("taker"))]);
    assert_eq!(Plan::of(&world, &[], &stream(&[Install("taker", "1")])).names(), ["/usr/share/tool/data"]);
}

#[test]
fn a_person_reads_it() {
    let world = world();
    let _cache = world.hold(Mapped("/usr/share/cache"));
    let run = world.rokeep_given(&["plan"], &stream(&[Upgrade("tool", "1", "2")])).assert_code(0);
    for line in [
        "   5.0 KiB  /usr/share/cache  (in use)\n",
        "   1.0 KiB  /usr/bin/tool  (installed with tool)\n",
        "/usr: 3 aliases, 1 of them only because they are in use, 7.0 KiB kept alive at most\n",
    ] {
        assert!(run.stdout.contains(line), "it must say {line:?}: {}", run.stdout);
    }
}

#[test]
fn a_directory_in_use_is_named() {
    let world = world().recorded("tool", "1", &["/usr", "/usr/share", "/usr/share/tool", "/usr/share/tool/data"]);
    let world = world.recorded("other", "1", &["/usr", "/usr/share"]);
    let _elsewhere = world.hold(Cwd("/usr/share"));
    let _sitter = world.hold(Cwd("/usr/share/tool"));
    let plan = Plan::of(&world, &["tool"], b"");
    assert_eq!(plan.directories, ["/usr/share/tool"]);
}

#[test]
fn in_an_open_session_it_is_the_same() {
    let world = world();
    world.begin();
    let plan = Plan::of(&world, &["tool"], b"");
    assert_eq!(plan.names(), ["/usr/bin/tool", "/usr/share/tool/data"]);
    world.end();
}

#[test]
fn where_no_mount_is_read_only_there_is_nothing_to_say_and_it_says_that() {
    let world = Small::with(&[Mount("/usr", Ext4, Writable)]).installed("tool", "1", &["/usr/bin/tool"]);
    let plan = Plan::of(&world, &["tool"], b"");
    assert_eq!(plan.stores.len(), 0);
    assert!(plan.notes.iter().any(|note| note.contains("read-only")), "{plan:#?}");
    assert_eq!(world.access("/usr"), Writable);
}

#[test]
fn what_it_cannot_read_is_an_error() {
    let world = world();
    for (words, input, says) in [
        (&["plan", "missing"][..], &b""[..], "missing is not installed"),
        (&["plan", "../tool"], b"", "cannot"),
        (&["plan", "tool:amd64:x"], b"", "neither a package nor an archive"),
        (&["plan", "/tmp/none.deb"], b"", "/tmp/none.deb"),
        (&["plan"], b"", "announced nothing"),
        (&["plan"], b"tool\n", "protocol version 1"),
    ] {
        world.rokeep_given(words, input).assert_code(3).assert_says(&[says]);
    }
    assert_eq!(world.access("/usr"), ReadOnly);
}
