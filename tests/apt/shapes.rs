//! Files that become something else, or that are not what the package made them.

use anyhow::Result;

use super::scene::{Change, Scene, scene};
use crate::support::debian::Package;

#[test]
fn a_file_that_becomes_a_directory() -> Result<()> {
    scene(|scene| {
        let [file, directory] = [scene.package("tool", "1")?.file(X)?.build()?, in_directory(scene, "2")?.build()?];
        scene.installed(&[&file])?;
        scene.when_apt(&["install", &directory]).frees(&[X])
    })
}

/// dpkg moves the directory aside and removes it with all that is in it: a marker cannot keep that.
#[test]
fn a_directory_that_becomes_a_file() -> Result<()> {
    scene(|scene| {
        let [directory, file] = [in_directory(scene, "1")?.build()?, scene.package("tool", "2")?.file(X)?.build()?];
        scene.installed(&[&directory])?;
        scene.when_apt(&["install", &file]).degraded().frees(&[X_Y])
    })
}

/// Debian's own way to do it puts the directory aside and removes it with all that is in it, and refuses a directory that
/// has something in it which is not the package's.
#[test]
fn a_directory_that_becomes_a_symbolic_link() -> Result<()> {
    becomes_a_symbolic_link(|change| change.degraded().frees(&[X_Y]))?;
    becomes_a_symbolic_link(|change| change.used_before("cwd").degraded().frees(&[X]))
}

fn becomes_a_symbolic_link(end: impl Fn(Change) -> Result<()>) -> Result<()> {
    scene(|scene| {
        let helper = format!("dpkg-maintscript-helper dir_to_symlink {X} elsewhere 2~ tool -- \"$@\"");
        let new = scene.package("tool", "2")?.symlink(X, "elsewhere")?.file("/usr/share/elsewhere/y")?;
        let new = new.script("preinst", &helper)?.script("postinst", &helper)?.script("postrm", &helper)?.build()?;
        scene.installed(&[&in_directory(scene, "1")?.build()?])?;
        end(scene.when_apt(&["install", &new]))
    })
}

#[test]
fn a_file_that_becomes_a_symbolic_link_and_a_file_again() -> Result<()> {
    scene(|scene| {
        let file = scene.package("tool", "1")?.file(X)?.build()?;
        let link = scene.package("tool", "2")?.file("/usr/share/x.2")?.symlink(X, "x.2")?.build()?;
        scene.installed(&[&file])?;
        scene.when_apt(&["install", &link]).frees(&[X])?;
        scene.when_apt(&["install", &file]).frees(&["/usr/share/x.2"])
    })
}

#[test]
fn a_file_with_two_names_in_one_package() -> Result<()> {
    scene(|scene| {
        let build = |version| {
            let package = scene.package("tool", version)?.program("/usr/bin/tool")?;
            package.hard_link("/usr/bin/tool-by-another-name", "/usr/bin/tool")?.build()
        };
        scene.installed(&[&build("1")?])?;
        let names = ["/usr/bin/tool", "/usr/bin/tool-by-another-name"];
        scene.when_apt(&["install", &build("2")?]).frees(&names)?;
        scene.when_apt(&["remove", "tool"]).frees(&names)
    })
}

#[test]
fn a_file_that_the_administrator_put_in_the_place_of_a_listed_one() -> Result<()> {
    scene(|scene| {
        let build = |version| scene.package("tool", version)?.program("/usr/bin/tool")?.build();
        scene.installed(&[&build("1")?])?;
        scene.prepared("rm /usr/bin/tool; cp /usr/bin/sleep /usr/bin/tool")?;
        scene.when_apt(&["install", &build("2")?]).frees(&["/usr/bin/tool"])
    })
}

#[test]
fn a_conffile_of_usr() -> Result<()> {
    scene(|scene| {
        let build = |version| scene.package("tool", version)?.conffile("/usr/share/settings")?.build();
        scene.installed(&[&build("1")?])?;
        scene.when_apt(&["install", &build("2")?]).frees(&["/usr/share/settings"])
    })
}

#[test]
fn files_that_dpkg_leaves_out() -> Result<()> {
    scene(|scene| {
        let build = |version| {
            let tool = scene.package("tool", version)?.directory("/usr/share/for-tool")?;
            tool.file("/usr/share/for-tool/left-out")?.file("/usr/share/for-tool/not-left-out")?.build()
        };
        let (old, new) = (build("1")?, build("2")?);
        scene.installed(&[&old])?;
        let leave_out = "path-exclude=/usr/share/for-tool/*\npath-include=/usr/share/for-tool/not-left-out\n";
        scene.write("/etc/dpkg/dpkg.cfg.d/leave-out", leave_out)?;

        let [left_out, not_left_out] = ["/usr/share/for-tool/left-out", "/usr/share/for-tool/not-left-out"];
        scene.when_apt(&["install", &new]).frees(&[left_out, not_left_out])?;
        scene.when_apt(&["install", &old]).frees(&[not_left_out])?;
        // dpkg has it in its list still, and takes it for what the package once brought.
        scene.prepared(&format!("echo of somebody else > {left_out}"))?;
        scene.when_apt(&["install", &new]).frees(&[left_out, not_left_out])
    })
}

#[test]
fn alternatives() -> Result<()> {
    scene(|scene| {
        let build = |name: &str, version, priority: &str| {
            let program = format!("/usr/bin/{name}");
            let choose = format!("update-alternatives --install /usr/bin/chosen chosen {program} {priority}");
            let forget = format!("update-alternatives --remove chosen {program}");
            let package = scene.package(name, version)?.program(&program)?.script("postinst", &choose)?;
            package.script("prerm", &format!("test \"$1\" != remove || {forget}"))?.build()
        };
        scene.installed(&[&build("first", "1", "10")?])?;

        // From now on the link leads elsewhere; the program is where it was.
        let second = build("second", "1", "20")?;
        scene.when_apt(&["install", &second]).leaves(&["/usr/bin/chosen"]).frees_nothing()?;
        let second = build("second", "2", "20")?;
        scene.when_apt(&["install", &second]).leaves(&["/usr/bin/first"]).frees(&["/usr/bin/second"])?;
        scene.when_apt(&["remove", "second"]).leaves(&["/usr/bin/first"]).frees(&["/usr/bin/second"])?;
        scene.when_apt(&["install", &build("first", "2", "10")?]).frees(&["/usr/bin/first"])
    })
}

const X: &str = "/usr/share/x";
const X_Y: &str = "/usr/share/x/y";

fn in_directory<'a>(scene: &'a Scene, version: &str) -> Result<Package<'a>> {
    scene.package("tool", version)?.file(X_Y)
}
