//! Package archives: what rokeep reads in them is what dpkg-deb and tar say is in them.
//!
//! [`whole`] ones are built by the real dpkg-deb, in every compression that it offers. [`odd`] ones are put together by
//! hand: what dpkg takes though dpkg-deb does not write it, and what is no package at all.

#[path = "../support/tar_entry.rs"]
mod tar_entry;

mod building;
mod odd;
mod whole;
