//! The laws for the fuzz targets: the same files that the tests of rokeep are built from.

#[path = "../../tests/properties/laws/mod.rs"]
pub mod laws;
