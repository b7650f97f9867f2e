//! Files that dpkg puts elsewhere, because a package or the administrator diverts them.

use anyhow::Result;

use super::scene::{Scene, scene};

#[test]
fn of_another_package() -> Result<()> {
    scene(|scene| {
        let [tool_1, tool_2, tool_3] = tools(scene)?;
        let [diverter_1, diverter_2, diverter_3] = diverters(scene)?;
        scene.installed(&[&tool_1, &diverter_1])?;

        scene.when_apt(&["install", &tool_2, &diverter_2]).frees(&[TOOL, REAL])?;
        scene.when_apt(&["install", &tool_3]).leaves(&[TOOL]).frees(&[REAL])?;
        scene.when_apt(&["install", &diverter_3]).leaves(&[REAL]).frees(&[TOOL])?;
        scene.when_apt(&["remove", "tool"]).leaves(&[TOOL]).frees(&[REAL])
    })
}

#[test]
fn of_the_administrator() -> Result<()> {
    scene(|scene| {
        let [tool_1, tool_2, _] = tools(scene)?;
        scene.installed(&[&tool_1])?;
        scene.prepared("dpkg-divert --local --rename --add /usr/bin/tool; cp /usr/bin/sleep /usr/bin/tool")?;

        scene.when_apt(&["install", &tool_2]).leaves(&[TOOL]).frees(&["/usr/bin/tool.distrib"])?;
        scene.when_apt(&["remove", "tool"]).leaves(&[TOOL]).frees(&["/usr/bin/tool.distrib"])
    })
}

/// The file gets another name before the new package brings its own.
#[test]
fn that_a_package_adds_in_the_same_run() -> Result<()> {
    scene(|scene| {
        let [tool_1, tool_2, _] = tools(scene)?;
        let [diverter, _, _] = diverters(scene)?;
        scene.installed(&[&tool_1])?;

        scene.when_apt(&["install", &diverter]).renames(&[TOOL]).frees_nothing()?;

        scene.prepared("dpkg --purge diverter")?;
        scene.when_apt(&["install", &diverter, &tool_2]).frees(&[TOOL])
    })
}

/// The file gets its own name back after the diverter's was removed.
#[test]
fn that_a_package_takes_away_in_the_same_run() -> Result<()> {
    scene(|scene| {
        let [tool_1, tool_2, _] = tools(scene)?;
        let [diverter, _, _] = diverters(scene)?;
        scene.installed(&[&tool_1, &diverter])?;

        scene.when_apt(&["remove", "diverter"]).leaves(&[REAL]).frees(&[TOOL])?;

        scene.installed(&[&diverter])?;
        scene.when_apt(&["install", &tool_2, "diverter-"]).frees(&[TOOL, REAL])
    })
}

const TOOL: &str = "/usr/bin/tool";
const REAL: &str = "/usr/bin/tool.real";

fn tools(scene: &Scene) -> Result<[String; 3]> {
    let build = |version| scene.package("tool", version)?.program(TOOL)?.build();
    Ok([build("1")?, build("2")?, build("3")?])
}

/// A package that has its own `tool`, and puts that of others aside, as long as it is there.
fn diverters(scene: &Scene) -> Result<[String; 3]> {
    let divert = |how| format!("dpkg-divert --package diverter --divert {REAL} --rename {how} {TOOL}");
    let build = |version| {
        let package = scene.package("diverter", version)?.program(TOOL)?.script("preinst", &divert("--add"))?;
        package.script("postrm", &format!("test \"$1\" != remove || {}", divert("--remove")))?.build()
    };
    Ok([build("1")?, build("2")?, build("3")?])
}
