//! rokeep
fn main() {}
