//! Everybody at once: hooks of several package managers, cleanups, the watch, whoever asks, and a person, with processes that
//! come and go.
//!
//! A round chooses who comes, when, and what befalls them: a rokeep is stopped for a moment, or killed, at any instant; an apt
//! dies. [`rules`] says what has to be so meanwhile and afterwards. The mounts are real, so are the processes that use the
//! files: the kernel is the judge.
//!
//! `make test` plays for half a minute, `make at-once` some thousands of rounds (`AT_ONCE`, `AT_ONCE_SEED`). A failure says
//! the round, who said what and when, and how to have the same actors once more: `ROKEEP_AT_ONCE=SEED:ROUND`. What the kernel
//! makes of it is never twice the same, so that plays it many times.

#[path = "../support/mod.rs"]
mod support;

mod actors;
mod rounds;
mod rules;
mod scene;
mod trouble;

#[test]
fn nobody_hangs_and_nothing_in_use_is_lost() {
    rounds::play();
}
