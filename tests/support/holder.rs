//! A process in a named kernel state.
//!
//! `holder init` is process 1 of a sandbox: makes the working directory the root, lets go of the old one, says "ready",
//! then reaps orphans for ever.

use std::io::Write;

fn main() {
    let mut args = std::env::args_os().skip(1);
    match args.next().and_then(|word| word.into_string().ok()).as_deref() {
        Some("init") => {
            enter_root().expect("the working directory cannot become the root");
            init()
        }
        _ => {
            eprintln!("usage: holder init");
            std::process::exit(2);
        }
    }
}

fn enter_root() -> nix::Result<()> {
    // pivot_root(2), notes: with "." twice the old root ends up mounted over the new one.
    nix::unistd::pivot_root(".", ".")?;
    nix::mount::umount2(".", nix::mount::MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")
}

fn init() -> ! {
    println!("ready");
    let _ = std::io::stdout().flush();
    loop {
        if nix::sys::wait::wait().is_err() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
