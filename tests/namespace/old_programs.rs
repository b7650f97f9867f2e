//! A program that gives rights to whoever runs it was replaced because it had a hole, perhaps. Its old version is kept while
//! it is in use, and nobody can run that any more.

use std::os::unix::fs::PermissionsExt;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Alias,
    Change::Upgrade,
    FileSystem::Xfs,
    Small,
    State::Mapped,
};

const PLAIN: &str = "/usr/lib/tool/plain";
const SET_ID: &str = "/usr/lib/tool/set-id";
const CAPABLE: &str = "/usr/lib/tool/capable";
const PROGRAMS: [&str; 3] = [PLAIN, SET_ID, CAPABLE];

/// capabilities(7), "File capability extended attribute versioning": revision 2, effective, CAP_DAC_OVERRIDE.
const MAY_WRITE_ANYWHERE: &str = "0100000202000000000000000000000000000000";

const ONLY_ROOTS: &str = "/srv/only-roots";

/// A package of three programs, of which two give rights.
fn with_programs(world: Small) -> Small {
    world.makes_directory(ONLY_ROOTS);
    world.writably(|| {
        for program in PROGRAMS {
            world.write_program(program);
            world.set_mode(program, 0o755);
        }
        world.set_mode(SET_ID, 0o4755);
        let words = ["attribute", "security.capability", MAY_WRITE_ANYWHERE, CAPABLE];
        assert_eq!(world.runs("/tool/holder", &words).code, 0, "no capabilities");
    });
    world.recorded("tool", "1", &PROGRAMS)
}

/// The store of /usr is out of reach for link(2): aliases stand beside their files.
fn with_programs_out_of_reach() -> Small {
    let world = Small::on(Xfs);
    world.writably(|| {
        world.makes_directory("/usr/lib/tool");
        world.project("/usr", "7");
        world.project("/usr/lib/tool", "8");
    });
    with_programs(world)
}

/// An ordinary user has the program write where only root may.
fn nobody_gets_rights_from(world: &Small, program: &str) -> bool {
    let path = format!("{ONLY_ROOTS}/file");
    world.runs("/tool/holder", &["nobody", program, "write", &path]);
    let written = world.inode(&path).is_some();
    if written {
        world.removes(path);
    }
    written
}

/// What rokeep would leave, if it did not look: real dpkg takes the set-id bits away, a script does not, and nobody takes the
/// capabilities.
#[test]
fn control_a_name_beside_it_lets_anybody_run_the_old_version() {
    let world = with_programs_out_of_reach();
    world.remount("rw", "/usr").expect("/usr can be written");
    for (program, gives_rights) in [(PLAIN, false), (SET_ID, true), (CAPABLE, true)] {
        let alias = format!("{program}.alias");
        world.links(program, &alias);
        world.rebuilds(program);
        assert_eq!(nobody_gets_rights_from(&world, &alias), gives_rights, "{program}");
    }
    for (program, gives_rights) in [(SET_ID, false), (CAPABLE, true)] {
        let world = with_programs_out_of_reach();
        world.remount("rw", "/usr").expect("/usr can be written");
        world.links(program, format!("{program}.alias"));
        world.dpkg_replaces(program);
        assert_eq!(nobody_gets_rights_from(&world, &format!("{program}.alias")), gives_rights, "{program}, by dpkg");
    }
}

#[test]
fn in_a_store_it_is_out_of_everybodys_reach() {
    let world = with_programs(Small::ext4());
    let numbers = PROGRAMS.map(|program| world.inode(program).expect("it is there").1);
    let holders = PROGRAMS.map(|program| world.hold(Mapped(program)));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    PROGRAMS.iter().for_each(|program| world.rebuilds(program));
    let aliases = numbers.map(|number| format!("/usr/.rokeep/{number}"));
    let reached = || aliases.each_ref().map(|alias| nobody_gets_rights_from(&world, alias));
    assert_eq!(reached(), [false; 3]);
    world.set_mode("/usr/.rokeep", 0o755);
    assert_eq!(reached(), [false, true, true], "it is the store that keeps them out");
    world.set_mode("/usr/.rokeep", 0o700);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    PROGRAMS.iter().for_each(|program| world.assert_alias(program, Alias::Kept));
    assert_eq!(reached(), [false; 3]);
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

/// An alias beside its file would be in a directory that everybody can enter. Rather none, and a mount that is degraded
/// until the old version is let go.
#[test]
fn where_the_store_is_out_of_reach_it_got_a_name_that_anybody_could_run() {
    for by_dpkg in [true, false] {
        let world = with_programs_out_of_reach();
        let holders = PROGRAMS.map(|program| world.hold(Mapped(program)));
        world.begin();
        let run = world.protect(&[Upgrade("tool", "1", "2")]);
        run.assert_says(&["not protected", SET_ID, CAPABLE, "anybody could run the old version"]);
        assert_eq!(world.aliases_beside().len(), 1, "{:?}", world.aliases_beside());
        for program in PROGRAMS {
            if by_dpkg { world.dpkg_replaces(program) } else { world.rebuilds(program) }
        }
        world.assert_alias(PLAIN, Alias::Kept);
        for entry in std::fs::read_dir(world.outside("/usr/lib/tool")).expect("it is there").flatten() {
            let path = format!("/usr/lib/tool/{}", entry.file_name().to_str().expect("text"));
            assert!(!nobody_gets_rights_from(&world, &path), "{path}");
        }
        world.end().assert_says(&["degraded"]);
        world.assert_mount("/usr", ReadOnlyMount);
        drop(holders);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
        world.assert_nothing_of_ours();
    }
}

/// It was an ordinary file when it got its alias, and dpkg did not replace it then.
#[test]
fn one_that_gives_rights_by_now_loses_its_name_beside_it() {
    let world = with_programs_out_of_reach();
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.end();
    assert_eq!(world.aliases_beside().len(), 1);
    world.writably(|| {
        let mode = std::fs::Permissions::from_mode(0o4755);
        std::fs::set_permissions(world.outside(PLAIN), mode).expect("chmod");
    });
    world.begin();
    world.among_others(
        &["/tool/rokeep", "hook", "pre-install-pkgs"],
        Some(crate::support::small::stream(&[Upgrade("tool", "1", "2")])),
    );
    assert_eq!(world.aliases_beside().len(), 0);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}
