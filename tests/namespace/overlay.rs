//! overlayfs as /usr: what is replaced through it lives in its lower layer, in its upper one, or in both.

use nix::errno::Errno;

use crate::support::small::{
    FileSystem::Overlay,
    LOWER, Small,
    State::{self, Mapped, Open, OpenPath},
};

const UPPER: &str = "/usr/bin/upper";
const COPIED: &str = LOWER[1];
const DATA_IS_COPIED: &str = "";
const DATA_STAYS: &str = "metacopy=on,redirect_dir=on";

/// A lower file, an upper one, and a lower one that was copied up because its mode was changed; /usr can be written.
fn writable(options: &'static str) -> Small {
    let world = Small::on(Overlay(options));
    world.remount("rw", "/usr").expect("/usr can be written");
    world.write_program(UPPER);
    world.set_mode(COPIED, 0o700);
    world
}

fn states() -> impl Iterator<Item = State<&'static str>> {
    [LOWER[0], UPPER, COPIED].into_iter().flat_map(|file| [Mapped(file), Open(file), OpenPath(file)])
}

fn file(state: State<&'static str>) -> &'static str {
    let (Mapped(file) | Open(file) | OpenPath(file)) = state else { panic!("{state:?} is none of ours") };
    file
}

/// Whichever layer it is in: it is the overlay's own inode that has no name left.
#[test]
fn control_a_replaced_file_in_use_keeps_it_writable() {
    for options in [DATA_IS_COPIED, DATA_STAYS] {
        for state in states() {
            let world = writable(options);
            let _holder = world.hold(state);
            world.dpkg_replaces(file(state));
            assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} {options}");
        }
    }
}

/// One more name helps for each of them, also for who had it open before it was copied up. What it costs differs.
#[test]
fn control_one_more_name_copies_a_lower_file_up() {
    for (options, copied) in [(DATA_IS_COPIED, [true, false, false]), (DATA_STAYS, [false, false, false])] {
        for state in states() {
            let world = writable(options);
            let _holder = world.hold(state);
            let size = std::fs::metadata(world.outside(file(state))).expect("a program").len();
            let before = world.upper_layer_bytes();
            std::fs::hard_link(world.outside(file(state)), world.outside("/usr/alias")).expect("a link");
            let grown = world.upper_layer_bytes() - before;
            let [lower, upper, copied_before] = copied;
            let expected = match file(state) {
                UPPER => upper,
                COPIED => copied_before,
                _ => lower,
            };
            let range = if expected { size..size + 100_000 } else { 0..10_000 };
            assert!(range.contains(&grown), "{state:?} {options}: a name costs {grown} bytes of {size}");
            world.dpkg_replaces(file(state));
            assert_eq!(world.remount("ro", "/usr"), Ok(()), "{state:?} {options}");
        }
    }
}

/// So dpkg copies each file that it replaces up, though only until the package is unpacked.
#[test]
fn control_a_name_for_going_back_copies_up_too() {
    let world = writable(DATA_IS_COPIED);
    std::fs::hard_link(world.outside(LOWER[0]), world.outside("/usr/bin/lower.dpkg-tmp")).expect("a link");
    let upper = world.in_upper_layer(LOWER[0]).expect("it is in the upper layer now");
    assert_eq!(upper.len(), std::fs::metadata(world.outside(LOWER[0])).expect("a program").len());
    world.dpkg_removes("/usr/bin/lower.dpkg-tmp");
    world.dpkg_replaces(LOWER[0]);
    assert!(world.in_upper_layer(LOWER[0]).expect("the other version").len() < 100);
}

/// A removed file leaves a mark that covers the lower one, and no data.
#[test]
fn control_what_is_removed_is_not_copied_up() {
    let world = writable(DATA_IS_COPIED);
    let before = world.upper_layer_bytes();
    world.dpkg_removes(LOWER[0]);
    assert!(world.in_upper_layer(LOWER[0]).is_some(), "a mark");
    assert!(world.upper_layer_bytes() - before < 10_000);
}

/// Each layer counts its files by itself: one number, two files, told apart by their devices alone.
#[test]
fn control_an_upper_file_may_have_the_number_of_a_lower_one() {
    let world = writable(DATA_IS_COPIED);
    let same = world.same_number("/usr/lib", LOWER[0]);
    let (lower, upper) = (world.inode(LOWER[0]).expect("a file"), world.inode(same).expect("a file"));
    assert_eq!(lower.1, upper.1);
    assert_ne!(lower.0, upper.0);
}

/// While nobody is in it: a number that was written down says nothing of a directory.
#[test]
fn control_a_directory_does_not_keep_its_number() {
    let world = Small::on(Overlay(DATA_IS_COPIED));
    let numbers: Vec<_> = (0..2)
        .map(|_| {
            world.remount("rw", "/usr").expect("/usr can be written");
            let number = world.inode("/usr/lib");
            world.remount("ro", "/usr").expect("which makes the kernel forget");
            number
        })
        .collect();
    assert_ne!(numbers[0], numbers[1]);
}
