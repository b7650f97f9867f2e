#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rokeep_fuzz::laws::dump(bytes));
