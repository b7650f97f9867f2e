//! Files of packages that apt does not announce, because others take them over: only the new archives name them.

use anyhow::Result;

use super::scene::{Scene, scene};

/// Every compression that dpkg-deb knows, with the list of files that debhelper makes and without it.
const KINDS: [(&str, Sums); 8] = [
    ("xz", Sums::With),
    ("zstd", Sums::With),
    ("gzip", Sums::With),
    ("none", Sums::With),
    ("xz", Sums::Without),
    ("zstd", Sums::Without),
    ("gzip", Sums::Without),
    ("none", Sums::Without),
];

#[derive(Clone, Copy, Debug)]
enum Sums {
    With,
    Without,
}

#[test]
fn through_a_field_of_the_new_package() -> Result<()> {
    scene(|scene| {
        let files = install_owner(scene)?;
        let takers = takers(scene, &files, ("Replaces", "owner"))?;
        taken_over(scene, &["install"], &takers, &files)
    })
}

#[test]
fn by_force() -> Result<()> {
    scene(|scene| {
        let files = install_owner(scene)?;
        let takers = takers(scene, &files, ("Section", "misc"))?;
        taken_over(scene, &["-o", "Dpkg::Options::=--force-overwrite", "install"], &takers, &files)
    })
}

#[test]
fn of_a_package_that_disappears_with_them() -> Result<()> {
    scene(|scene| {
        let build = |name, also| {
            let package = scene.package(name, "1")?.field("Replaces", also);
            package.program("/usr/bin/tool")?.file("/usr/share/data-of-tool")?.build()
        };
        scene.installed(&[&build("owner", "nobody")?])?;

        let new = build("successor", "owner")?;
        scene.when_apt(&["install", &new]).frees(&["/usr/bin/tool", "/usr/share/data-of-tool"])?;

        assert_eq!(scene.installed_version("owner")?, None);
        Ok(())
    })
}

#[test]
fn a_conffile() -> Result<()> {
    scene(|scene| {
        let owner = scene.package("owner", "1")?.conffile("/usr/share/settings")?.file("/usr/share/owner")?.build()?;
        scene.installed(&[&owner])?;

        let taker = scene.package("taker", "1")?.field("Replaces", "owner").conffile("/usr/share/settings")?.build()?;
        let keep_no_old = ["-o", "Dpkg::Options::=--force-confnew", "install", &taker];
        scene.when_apt(&keep_no_old).frees(&["/usr/share/settings"])
    })
}

/// A package with a file for each kind of taker, and one that stays; the former.
fn install_owner(scene: &Scene) -> Result<Vec<String>> {
    let mut owner = scene.package("owner", "1")?.file("/usr/share/stays-with-owner")?;
    let mut files = Vec::new();
    for (compression, sums) in KINDS {
        let file = format!("/usr/share/taken-{compression}-{sums:?}");
        owner = owner.file(&file)?;
        files.push(file);
    }
    scene.installed(&[&owner.build()?])?;
    Ok(files)
}

fn takers(scene: &Scene, files: &[String], (field, value): (&str, &str)) -> Result<Vec<String>> {
    let mut takers = Vec::new();
    for ((compression, sums), file) in KINDS.into_iter().zip(files) {
        let name = format!("taker-{compression}-{sums:?}").to_lowercase();
        let taker = scene.package(&name, "1")?.field(field, value).compressed(compression).file(file)?;
        takers.push(match sums {
            Sums::With => taker.build()?,
            Sums::Without => taker.without_md5sums().build()?,
        });
    }
    Ok(takers)
}

fn taken_over(scene: &Scene, arguments: &[&str], takers: &[String], files: &[String]) -> Result<()> {
    let takers: Vec<&str> = takers.iter().map(String::as_str).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let left = ["/usr/share/stays-with-owner"];
    scene.when_apt(&[arguments, &takers].concat()).leaves(&left).frees(&files)
}
