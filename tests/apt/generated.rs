//! Files that no package lists, because programs make them: caches that triggers and maintainer scripts build anew.

use anyhow::{Result, ensure};

use super::scene::{Scene, scene, use_in_script};

#[test]
fn the_schemas_of_glib() -> Result<()> {
    is_built_anew("/usr/share/glib-2.0/schemas/gschemas.compiled", |version| {
        let schema = format!(
            "<schemalist><schema id='org.example.tool' path='/org/example/tool/'><key name='version' type='s'>\
             <default>'{version}'</default></key></schema></schemalist>\n"
        );
        ("/usr/share/glib-2.0/schemas/org.example.tool.gschema.xml", schema, "")
    })
}

#[test]
fn the_types_of_shared_mime_info() -> Result<()> {
    is_built_anew("/usr/share/mime/mime.cache", |version| {
        let types = format!(
            "<mime-info xmlns='http://www.freedesktop.org/standards/shared-mime-info'>\
             <mime-type type='application/x-tool'><glob pattern='*.tool{version}'/></mime-type></mime-info>\n"
        );
        ("/usr/share/mime/packages/tool.xml", types, "")
    })
}

#[test]
fn the_archive_of_locales() -> Result<()> {
    is_built_anew("/usr/lib/locale/locale-archive", |version| {
        ("/usr/share/locales-of-tool", format!("{version}\n"), "echo 'en_US ISO-8859-1' > /etc/locale.gen; locale-gen")
    })
}

/// A package with this file, and this postinst, has `cache` made again, whether it was in use before apt started or only
/// since the first of several dpkgs did.
fn is_built_anew(cache: &str, of: impl Fn(&str) -> (&'static str, String, &'static str)) -> Result<()> {
    scene(|scene| {
        let build = |version| {
            let (file, text, commands) = of(version);
            scene.package("tool", version)?.text(file, &text)?.script("postinst", commands)?.build()
        };
        scene.installed(&[&build("1")?])?;

        scene.when_apt(&["install", &build("2")?]).mapped_before().frees(&[cache])?;
        scene.when_apt(&["install", &build("3")?]).frees(&[cache])
    })
}

/// One package starts a service that uses a cache, and another has it made again, in a later dpkg of the same apt.
#[test]
fn what_came_into_use_between_two_dpkgs_of_one_apt() -> Result<()> {
    const CACHE: &str = "/usr/share/cache-of-library";
    scene(|scene| {
        let library = |version| {
            let build_anew = format!("echo {version} > {CACHE}.new; mv {CACHE}.new {CACHE}");
            let library = scene.package("library", version)?.field("Pre-Depends", &format!("service (>= {version})"));
            library.script("postinst", &build_anew)?.build()
        };
        let service =
            |version, commands: &str| scene.package("service", version)?.script("postinst", commands)?.build();
        let service_1 = service("1", "true")?;
        scene.installed(&[&service_1])?;
        scene.installed(&[&library("1")?])?;

        let (service_2, library_2) = (service("2", &use_in_script(CACHE))?, library("2")?);
        let before = configurations(scene);
        scene.when_apt(&["install", &service_2, &library_2]).used_by_scripts().frees(&[CACHE])?;

        ensure!(configurations(scene) > before + 1, "dpkg configured everything in one run");
        Ok(())
    })
}

/// One package brings a file and starts what uses it, and another takes that file over, in a later dpkg of the same apt.
#[test]
fn what_was_installed_between_two_dpkgs_of_one_apt() -> Result<()> {
    const FILE: &str = "/usr/share/file-of-service";
    scene(|scene| {
        let service = scene.package("service", "1")?.file(FILE)?.file("/usr/share/stays-with-service")?;
        let service = service.script("postinst", &use_in_script(FILE))?.build()?;
        let taker = scene.package("taker", "1")?.field("Pre-Depends", "service").field("Replaces", "service");
        let taker = taker.file(FILE)?.build()?;
        let before = configurations(scene);
        scene.when_apt(&["install", &service, &taker]).used_by_scripts().frees(&[FILE])?;

        ensure!(configurations(scene) > before + 1, "dpkg configured everything in one run");
        Ok(())
    })
}

/// How often dpkg was called to configure packages.
fn configurations(scene: &Scene) -> usize {
    // There is no log before the first time.
    let log = scene.read("/var/log/dpkg.log").unwrap_or_default();
    log.lines().filter(|line| line.ends_with(" startup packages configure")).count()
}
