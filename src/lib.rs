//! rokeep keeps read-only file systems read-only across apt and dpkg.
//!
//! `mount -o remount,ro /usr` answers EBUSY while a deleted inode is still in use, and every upgrade deletes inodes in
//! use. So before dpkg runs, each inode that is about to be replaced gets one more hard link, an *alias*; none of them
//! is then deleted while somebody uses it, and the remount succeeds. An alias goes once its inode was replaced and
//! nobody holds it any more ([`core::verdict`] is that rule).
//!
//! The modules stand in the order of one apt run:
//!
//! | apt calls | stage | does |
//! |---|---|---|
//! | Pre-Invoke | [`session::begin`] | notes how each [`managed`] mount was found, makes it writable, proves it |
//! | Pre-Install-Pkgs | [`plan`], [`protect`] | which inodes will dpkg free; journal them; one alias for each |
//! | Post-Invoke | [`session::end`] | [`survey`] the aliases, [`cleanup`], [`remount`] each mount to what was found |
//! | nothing: it died | [`watch`], [`recover`] | end the session in its place |
//!
//! dpkg, which apt starts several times in one run, calls [`dpkg::begin`] before each: what came into use since. One that
//! nobody announced gets a session of its own there, and [`announce`] reads from its command line what apt would have
//! said; [`dpkg::end`] ends it.
//!
//! What stands on disk and in no journal is written down again by [`adopt`].
//!
//! A person asks [`report`] what is read-only, what is held, by whom, and what frees it; [`preview`] what a run would
//! protect; and [`check`] whether all that this needs is in place.
//!
//! What a person does without apt is in [`by_hand`]: a session around any program, or a mount that stays writable for a
//! while. [`release`] is for who removes rokeep, and [`leaving`] is how the package run ends that does.
//!
//! A mount that can never be writable gets an [`overlay`], which is opened and closed in its place.
//!
//! Where the kernel refuses to go back, [`blockers`] says who is in the way, and [`copies`] closes what other mounts there
//! are of that file system. [`pins`] looks for what is in use and shows nowhere, where somebody asks for it. [`settings`]
//! are optional. [`arguments`] is the command line.
//!
//! A stage gathers through [`sys`], asks [`core`], and performs what `core` answered. `core` is pure: values in, values
//! out. `sys` is the edge: it asks the kernel and decides nothing.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

pub mod arguments;
pub mod managed;
pub mod settings;

pub mod dpkg;
pub mod session;

pub mod announce;
pub mod plan;
pub mod preview;
pub mod protect;

pub mod blockers;
pub mod cleanup;
pub mod copies;
pub mod pins;
pub mod remount;
pub mod survey;

pub mod adopt;
pub mod recover;
pub mod watch;

pub mod by_hand;
pub mod check;
pub mod leaving;
pub mod overlay;
pub mod release;
pub mod report;

pub mod core;
pub mod sys;
