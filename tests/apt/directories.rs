//! Directories that dpkg removes while something in them, or they themselves, are in use.

use anyhow::Result;

use super::scene::{Scene, scene, use_in_script};

const OUTER: &str = "/usr/share/tool";
const INNER: &str = "/usr/share/tool/inner";
const FILE: &str = "/usr/share/tool/inner/file";

#[test]
fn that_a_process_is_in() -> Result<()> {
    removed_while(INNER, "cwd")
}

#[test]
fn that_a_process_has_for_its_root() -> Result<()> {
    removed_while(INNER, "root")
}

#[test]
fn that_a_process_has_open() -> Result<()> {
    removed_while(INNER, "open")
}

/// Who has the file open came to it through the directory, and the kernel keeps both.
#[test]
fn whose_file_a_process_has_mapped() -> Result<()> {
    removed_while(FILE, "mapped")
}

/// The list of what apt is to do is gone by then, and with it which directories may go: the file is kept, and nothing else.
#[test]
fn whose_file_came_into_use_between_two_dpkgs_of_one_apt() -> Result<()> {
    scene(|scene| {
        scene.installed(&[&tool(scene, "1")?])?;
        let service = scene.package("service", "1")?.script("postinst", &use_in_script(FILE))?.build()?;
        let tool = scene.package("tool", "2")?.field("Pre-Depends", "service").file("/usr/share/file-of-tool")?;
        let tool = tool.build()?;
        scene.when_apt(&["install", &service, &tool]).used_by_scripts().removes(&[OUTER]).degraded().frees(&[FILE])
    })
}

fn removed_while(used: &str, state: &'static str) -> Result<()> {
    scene(|scene| {
        scene.installed(&[&tool(scene, "1")?])?;
        scene.when_apt(&["remove", "tool"]).used_before(state).removes(&[OUTER]).frees(&[used])?;

        scene.installed(&[&tool(scene, "1")?])?;
        let without = scene.package("tool", "2")?.file("/usr/share/file-of-tool")?.build()?;
        scene.when_apt(&["install", &without]).used_before(state).removes(&[OUTER]).frees(&[used])
    })
}

fn tool(scene: &Scene, version: &str) -> Result<String> {
    scene.package("tool", version)?.file(FILE)?.build()
}
