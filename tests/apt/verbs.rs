//! Everything that apt can be told to do with packages, while their files are in use.

use anyhow::{Result, ensure};

use super::scene::scene;

#[test]
fn an_upgrade_a_reinstallation_a_downgrade_a_removal_and_a_purge() -> Result<()> {
    scene(|scene| {
        let version = |version| {
            let tool = scene.package("tool", version)?.program("/usr/bin/tool")?.file("/usr/share/data-of-tool")?;
            tool.conffile("/etc/tool.conf")?.build()
        };
        let (old, new) = (version("1")?, version("2")?);
        scene.installed(&[&old])?;
        let files = ["/usr/bin/tool", "/usr/share/data-of-tool"];

        scene.when_apt(&["install", &new]).frees(&files)?;
        scene.when_apt(&["install", "--reinstall", &new]).frees(&files)?;
        scene.when_apt(&["install", &old]).frees(&files)?;
        scene.when_apt(&["remove", "tool"]).frees(&files)?;
        // Only its settings are there any more.
        scene.when_apt(&["purge", "tool"]).frees_nothing()?;
        scene.installed(&[&new])?;
        scene.when_apt(&["purge", "tool"]).frees(&files)
    })
}

#[test]
fn an_autoremoval() -> Result<()> {
    scene(|scene| {
        let library = scene.package("libtool-of-test", "1")?.file("/usr/lib/libtool-of-test.so")?.build()?;
        let tool = scene.package("tool", "1")?.field("Depends", "libtool-of-test").program("/usr/bin/tool")?.build()?;
        scene.installed(&[&library, &tool])?;
        scene.must("apt-mark", &["auto", "libtool-of-test"])?;

        scene.when_apt(&["remove", "tool"]).leaves(&["/usr/lib/libtool-of-test.so"]).frees(&["/usr/bin/tool"])?;
        scene.when_apt(&["autoremove"]).frees(&["/usr/lib/libtool-of-test.so"])
    })
}

/// Neither can be unpacked while the other is still old: apt removes one of them first.
#[test]
fn a_package_that_is_removed_for_a_moment_and_installed_again() -> Result<()> {
    scene(|scene| {
        let build = |name: &str, other: &str, version: &str| {
            let package = scene.package(name, version)?.field("Conflicts", &format!("{other} (<< {version})"));
            package.program(&format!("/usr/bin/{name}"))?.build()
        };
        scene.installed(&[&build("one", "other", "1")?, &build("other", "one", "1")?])?;

        let (one, other) = (build("one", "other", "2")?, build("other", "one", "2")?);
        scene.when_apt(&["install", &one, &other]).frees(&["/usr/bin/one", "/usr/bin/other"])?;

        let announced = scene.announced()?;
        let returns = |line: &str| line.contains(" 1 all none < 2 all none ") && line.ends_with("**REMOVE**");
        ensure!(announced.lines().any(returns), "apt removed neither for a moment: {announced}");
        Ok(())
    })
}

#[test]
fn a_package_for_two_architectures_shares_files() -> Result<()> {
    scene(|scene| {
        let native = scene.must("dpkg", &["--print-architecture"])?.trim().to_owned();
        scene.must("dpkg", &["--add-architecture", FOREIGN])?;
        let build = |architecture: &str, version: &str| {
            let library = scene.package("libsame", version)?.architecture(architecture).field("Multi-Arch", "same");
            let shared = library.text(SHARED, &format!("the same in every libsame {version}\n"))?;
            shared.file(&format!("/usr/lib/libsame-{architecture}.so"))?.build()
        };
        let (native_file, foreign_file) =
            (format!("/usr/lib/libsame-{native}.so"), format!("/usr/lib/libsame-{FOREIGN}.so"));
        let (native_1, foreign_1) = (build(&native, "1")?, build(FOREIGN, "1")?);
        let (native_2, foreign_2) = (build(&native, "2")?, build(FOREIGN, "2")?);
        scene.installed(&[&native_1])?;

        // The second one brings a file that is there already, and dpkg leaves that alone.
        scene.when_apt(&["install", &foreign_1]).leaves(&[SHARED, &native_file]).frees_nothing()?;
        scene.when_apt(&["install", &native_2, &foreign_2]).frees(&[SHARED, &native_file, &foreign_file])?;
        let foreign = format!("libsame:{FOREIGN}");
        scene.when_apt(&["remove", &foreign]).leaves(&[SHARED, &native_file]).frees(&[&foreign_file])?;
        scene.installed(&[&foreign_2])?;
        scene.when_apt(&["remove", "libsame", &foreign]).frees(&[SHARED, &native_file, &foreign_file])
    })
}

/// Not the machine's own, whatever that is; nothing of it is ever run.
const FOREIGN: &str = "armel";
const SHARED: &str = "/usr/share/shared-by-libsame";

#[test]
fn a_package_that_changes_its_architecture() -> Result<()> {
    scene(|scene| {
        let native = scene.must("dpkg", &["--print-architecture"])?.trim().to_owned();
        let build = |architecture: &str, version: &str| {
            scene.package("tool", version)?.architecture(architecture).program("/usr/bin/tool")?.build()
        };
        scene.installed(&[&build(&native, "1")?])?;

        scene.when_apt(&["install", &build("all", "2")?]).frees(&["/usr/bin/tool"])?;
        scene.when_apt(&["install", &build(&native, "3")?]).frees(&["/usr/bin/tool"])
    })
}

#[test]
fn lists_from_before_and_after_usr_was_merged() -> Result<()> {
    scene(|scene| {
        let build = |version, usr: &str| {
            let tool = scene.package("tool", version)?.program(&format!("{usr}/bin/tool"))?;
            tool.file(&format!("{usr}/lib/data-of-tool"))?.build()
        };
        let (split, merged) = (build("1", "")?, build("2", "/usr")?);
        scene.installed(&[&split])?;
        let files = ["/usr/bin/tool", "/usr/lib/data-of-tool"];

        scene.when_apt(&["install", &merged]).frees(&files)?;
        scene.when_apt(&["install", &split]).frees(&files)?;
        scene.when_apt(&["install", "--reinstall", &split]).frees(&files)?;
        scene.when_apt(&["remove", "tool"]).frees(&files)
    })
}
