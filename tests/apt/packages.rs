//! Small package runs of other kinds than an upgrade.

use std::os::unix::fs::MetadataExt;

use anyhow::Result;

use crate::support::debian::Debian;
use crate::support::sandbox::Access::ReadOnly;

/// Removed, installed, reinstalled, and each version is still being run.
#[test]
fn a_removal_and_a_reinstallation_of_a_running_program_end_read_only() -> Result<()> {
    let debian = Debian::bookworm()?.with_rokeep()?;
    let package = debian.package("tool", "1")?.program("/usr/bin/tool")?.build()?;
    let debian = debian.read_only()?;
    run_apt(&debian, &["-y", "install", &package])?;

    let removed = start_tool(&debian)?;
    run_apt(&debian, &["-y", "remove", "tool"])?;
    assert_held(&debian, &[&removed])?;

    run_apt(&debian, &["-y", "install", &package])?;
    let reinstalled = start_tool(&debian)?;
    run_apt(&debian, &["-y", "install", "--reinstall", &package])?;
    assert_held(&debian, &[&removed, &reinstalled])?;

    for tool in [removed, reinstalled] {
        debian.kill(tool.pid)?;
    }
    debian.must("rokeep", &["cleanup"])?;
    assert_held(&debian, &[])
}

/// A process, and the inode that it runs.
struct Tool {
    pid: u32,
    inode: u64,
}

fn start_tool(debian: &Debian) -> Result<Tool> {
    let inode = debian.outside("/usr/bin/tool").metadata()?.ino();
    Ok(Tool { pid: debian.spawn("/usr/bin/tool", &["1000"])?, inode })
}

fn run_apt(debian: &Debian, arguments: &[&str]) -> Result<()> {
    let run = debian.apt(arguments)?;
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(debian.settled()?.usr()?, ReadOnly);
    Ok(())
}

/// Exactly these are kept, and named.
fn assert_held(debian: &Debian, tools: &[&Tool]) -> Result<()> {
    let expected: Vec<(u64, u32)> = tools.iter().map(|tool| (tool.inode, tool.pid)).collect();
    let status = debian.status()?;
    let mut held: Vec<(u64, u32)> = status
        .held
        .iter()
        .flat_map(|file| file.holders.iter().filter_map(|holder| Some((file.inode, holder.pid?))))
        .collect();
    held.sort_by_key(|holding| expected.iter().position(|known| known == holding));
    assert_eq!(held, expected, "{status:#?}");
    assert_eq!(debian.aliases()?.len(), expected.len());
    assert_eq!(debian.usr()?, ReadOnly);
    Ok(())
}
