//! The packages: small, each of a shape that real ones have, in three versions; and the repository that apt finds them in.
//!
//! Every maintainer script asks `/etc/soak/act` what else it is to do ([`crate::acts`]).

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::acts;
use crate::support::debian::{Debian, Package};
use crate::support::kept::Kept;

/// Their names.
pub const NAMES: [&str; 24] = [
    "soak-tool0",
    "soak-tool1",
    "soak-tool2",
    "soak-tool3",
    "soak-tool4",
    "soak-tool5",
    "soak-merged",
    "soak-giver",
    "soak-taker",
    "soak-shape",
    "soak-dirlink",
    "soak-diverter",
    "soak-cacher",
    "soak-cached0",
    "soak-cached1",
    "soak-schema",
    "soak-many",
    "soak-odd",
    "soak-setid",
    "soak-deep",
    "soak-conf",
    "soak-needs",
    "soak-against",
    "soak-empty",
];

/// The versions that each has.
pub const VERSIONS: [u64; 3] = [1, 2, 3];

/// Files that packages have in some version, programs, and what no package has: who comes, uses one of these.
pub const FILES: [&str; 28] = [
    "/usr/lib/soak-tool0/lib.so",
    "/usr/lib/soak-tool1/lib.so",
    "/usr/lib/soak-tool2/hard",
    "/usr/lib/soak-tool3/data",
    "/usr/lib/soak-tool4/data",
    "/usr/lib/soak-tool5/lib.so",
    "/usr/bin/soak-tool0",
    "/usr/bin/soak-tool0.real",
    "/usr/bin/soak-tool1",
    "/usr/bin/soak-tool4",
    "/usr/lib/soak-merged/x",
    "/usr/bin/soak-merged",
    "/usr/lib/soak-moved/file",
    "/usr/lib/soak-moved/again",
    "/usr/lib/soak-shape/x",
    "/usr/lib/soak-shape/x/inner",
    "/usr/lib/soak-dirlink/d/file",
    "/usr/share/soak-cached.cache",
    "/usr/share/soak-cached/soak-cached0",
    "/usr/share/glib-2.0/schemas/gschemas.compiled",
    "/usr/lib/soak-many/17",
    "/usr/lib/soak-many/299",
    "/usr/lib/soak-odd/with space",
    "/usr/bin/soak-setid",
    "/usr/lib/soak-deep/a/b/c/file",
    "/usr/share/soak-conf/on-usr.conf",
    "/usr/share/soak-local/0",
    "/usr/share/soak-local/1",
];

/// Programs, as copies of sleep(1).
pub const PROGRAMS: [&str; 6] = [
    "/usr/bin/soak-tool0",
    "/usr/bin/soak-tool1",
    "/usr/bin/soak-tool2",
    "/usr/bin/soak-tool4",
    "/usr/bin/soak-merged",
    "/usr/bin/soak-setid",
];

/// Directories that are removed with their packages.
pub const DIRECTORIES: [&str; 6] = [
    "/usr/lib/soak-tool1",
    "/usr/lib/soak-many",
    "/usr/lib/soak-deep/a/b/c",
    "/usr/lib/soak-deep/a/b",
    "/usr/lib/soak-dirlink/d",
    "/usr/lib/soak-shape/x",
];

/// What a single run of dpkg may write more than once, or replace where no list says so. It is protected only if it was in
/// use when that dpkg began.
pub const WRITTEN_TWICE: [&str; 9] = [
    "/usr/share/soak-cached.cache",
    "/usr/share/glib-2.0/schemas/gschemas.compiled",
    "/usr/lib/soak-moved/",
    "/usr/bin/soak-tool0",
    "/usr/lib/soak-shape/x",
    "/usr/lib/soak-dirlink/d",
    "/usr/share/soak-local/",
    "/usr/share/soak-conf/",
    "/usr/lib/soak-merged/",
];

/// What a package run that goes well may leave as it is, though an archive brings it: a configuration file, what another
/// package has taken over, and what a diversion gives another name.
pub const NOT_ALWAYS_REPLACED: [&str; 4] =
    ["/usr/share/soak-conf/on-usr.conf", "/usr/lib/soak-moved/file", "/usr/bin/soak-tool0", "/usr/bin/soak-tool0.real"];

/// Directories that nothing keeps when they go, whoever uses them or a file in them: something else takes their place, or a
/// script minds what it finds there.
pub const NOT_TO_BE_KEPT: [&str; 2] = ["/usr/lib/soak-dirlink/d", "/usr/lib/soak-shape/x"];

/// The repository, inside.
const REPOSITORY: &str = "/var/tmp/repository";

/// The archive of a package, inside.
pub fn archive(name: &str, version: u64) -> String {
    format!("{REPOSITORY}/{name}_{version}_all.deb")
}

/// All archives and an index of them; made once.
pub fn made() -> Result<Kept> {
    Kept::of("soak", &[include_str!("packages.rs"), acts::SCRIPT].concat(), |partial| {
        let debian = Debian::bookworm()?;
        for name in NAMES {
            for version in VERSIONS {
                let archive = shaped(debian.package(name, &version.to_string())?, name, version)?.build()?;
                let file = Path::new(&archive).file_name().unwrap_or_default();
                fs::copy(debian.outside(&archive), partial.join(file))?;
                fs::copy(debian.outside(&archive), debian.outside(&format!("/var/tmp/{}", file.to_string_lossy())))?;
            }
        }
        fs::write(partial.join("Packages"), debian.must("sh", &["-euc", INDEX])?)?;
        Ok(())
    })
}

const INDEX: &str = r#"
cd /var/tmp
for archive in soak-*.deb; do
    dpkg-deb --field "$archive"
    echo "Filename: ./$archive"
    echo "Size: $(stat --format %s "$archive")"
    echo "SHA256: $(sha256sum "$archive" | cut -d ' ' -f 1)"
    echo
done
"#;

/// Has apt find them, and nothing else.
pub fn offer(made: &Kept, debian: &Debian) -> Result<()> {
    let inside = debian.outside(REPOSITORY);
    fs::create_dir_all(&inside)?;
    for entry in fs::read_dir(made.directory())? {
        let entry = entry?;
        fs::copy(entry.path(), inside.join(entry.file_name()))?;
    }
    debian.write("/etc/apt/sources.list", &format!("deb [trusted=yes] file:{REPOSITORY} ./\n"))?;
    // Its cache is out of date, unnoticed, when dpkg's status has changed within the same second and is as long as it was.
    let settings = "Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\nDir::Cache::pkgcache \"\";\n";
    debian.write("/etc/apt/apt.conf.d/10soak", settings)?;
    // It asks in Perl what no package here asks.
    debian.must("rm", &["/etc/apt/apt.conf.d/70debconf"])?;
    debian.must("apt-get", &["update"])?;
    Ok(())
}

/// Installs the first version of nearly all.
pub fn install(debian: &Debian) -> Result<()> {
    let archives: Vec<String> = NAMES
        .iter()
        .filter(|name| !["soak-against", "soak-needs"].contains(name))
        .map(|name| archive(name, 1))
        .collect();
    let archives: Vec<&str> = archives.iter().map(String::as_str).collect();
    debian.must("dpkg", &[&["--install"], &archives[..]].concat())?;
    Ok(())
}

/// A package of that name.
fn shaped<'a>(package: Package<'a>, name: &str, version: u64) -> Result<Package<'a>> {
    let package = package.compressed(if version == 2 { "xz" } else { "gzip" });
    let odd = version % 2 == 1;
    let package = match name {
        "soak-merged" if odd => package.file("/lib/soak-merged/x")?.program("/bin/soak-merged")?,
        "soak-merged" => {
            package.file("/usr/lib/soak-merged/y")?.program("/bin/soak-merged")?.file("/lib/soak-merged/x")?
        }
        "soak-giver" if version == 1 => package.file("/usr/lib/soak-moved/file")?.file("/usr/lib/soak-giver/own")?,
        "soak-giver" => package.file("/usr/lib/soak-giver/own")?,
        "soak-taker" if version == 1 => package.file("/usr/lib/soak-moved/again")?,
        "soak-taker" => package
            .field("Replaces", "soak-giver")
            .file("/usr/lib/soak-moved/file")?
            .file("/usr/lib/soak-moved/again")?,
        "soak-shape" if odd => package.file("/usr/lib/soak-shape/x")?.file("/usr/lib/soak-shape/y/z")?,
        "soak-shape" => package.file("/usr/lib/soak-shape/x/inner")?.file("/usr/lib/soak-shape/y")?,
        "soak-dirlink" if version == 1 => package.file("/usr/lib/soak-dirlink/d/file")?,
        "soak-dirlink" => package.file("/usr/lib/soak-dirlink/e/file")?.symlink("/usr/lib/soak-dirlink/d", "e")?,
        "soak-diverter" => package.program("/usr/bin/soak-tool0")?,
        "soak-cacher" => package.file("/usr/lib/soak-cacher/own")?.interested_in("/usr/share/soak-cached"),
        "soak-cached0" | "soak-cached1" => package.file(&format!("/usr/share/soak-cached/{name}"))?,
        "soak-schema" => package.text("/usr/share/glib-2.0/schemas/org.soak.gschema.xml", &schema(version))?,
        "soak-many" => {
            let files = (0..300).filter(|file| file % 7 != version || file % 10 == 9);
            files
                .map(|file| format!("/usr/lib/soak-many/{file}"))
                .try_fold(package, |package, file| package.file(&file))?
        }
        "soak-odd" => odd_names().iter().try_fold(package, |package, path| package.file_by_bytes(path))?,
        "soak-setid" => package.program("/usr/bin/soak-setid")?.mode("/usr/bin/soak-setid", 0o4755)?,
        "soak-deep" if odd => {
            package.file("/usr/lib/soak-deep/a/b/c/file")?.directory("/usr/lib/soak-deep/empty/empty")?
        }
        "soak-deep" => package.file("/usr/lib/soak-deep/a/file")?,
        "soak-conf" => package
            .conffile("/etc/soak-conf/a.conf")?
            .conffile("/usr/share/soak-conf/on-usr.conf")?
            .text("/usr/share/soak-conf/always-the-same", "the same\n")?,
        "soak-needs" => package.field("Depends", "soak-tool1 (>= 2), soak-giver").file("/usr/lib/soak-needs/own")?,
        "soak-against" => package
            .field("Conflicts", "soak-tool2")
            .field("Replaces", "soak-tool2")
            .file("/usr/lib/soak-against/own")?,
        "soak-empty" => package,
        tool => tool_like(package, tool, version)?,
    };
    ["preinst", "postinst", "prerm", "postrm"]
        .into_iter()
        .try_fold(package, |package, script| package.script(script, &script_of(name, script)))
}

/// A program, a library with two names, a link, a configuration file; no two versions have the same files.
fn tool_like<'a>(package: Package<'a>, name: &str, version: u64) -> Result<Package<'a>> {
    package
        .program(&format!("/usr/bin/{name}"))?
        .program(&format!("/usr/lib/{name}/lib.so"))?
        .hard_link(&format!("/usr/lib/{name}/hard"), &format!("/usr/lib/{name}/lib.so"))?
        .file(&format!("/usr/lib/{name}/data"))?
        .symlink(&format!("/usr/lib/{name}/current"), "data")?
        .file(&format!("/usr/share/doc/{name}/only-in-{version}"))?
        .conffile(&format!("/etc/{name}.conf"))
}

/// dpkg refuses a newline, and needs nine bytes of a name for itself.
fn odd_names() -> Vec<Vec<u8>> {
    let names: [&[u8]; 8] = [
        b"with space",
        b" leading",
        b"not\xffutf8",
        b"\xe2\x80\xae\xcc\x81",
        b"tab\there",
        b"quote'\"$(x)`;&*?[",
        b"#hash:colon,comma|pipe",
        &[b'n'; 246],
    ];
    names.iter().map(|name| [b"/usr/lib/soak-odd/", *name].concat()).collect()
}

fn schema(version: u64) -> String {
    format!(
        r#"<schemalist><schema id="org.soak" path="/org/soak/"><key name="version" type="i"><default>{version}</default></key></schema></schemalist>"#
    )
}

fn script_of(name: &str, script: &str) -> String {
    let own = match (name, script) {
        ("soak-dirlink", "preinst" | "postinst" | "postrm") => {
            "dpkg-maintscript-helper dir_to_symlink /usr/lib/soak-dirlink/d e 2~ soak-dirlink -- \"$@\"\n"
        }
        ("soak-diverter", "preinst") => {
            "case $1 in install|upgrade) dpkg-divert --package soak-diverter --add --rename \
             --divert /usr/bin/soak-tool0.real /usr/bin/soak-tool0;; esac\n"
        }
        ("soak-diverter", "postrm") => {
            "case $1 in remove|abort-install|disappear) dpkg-divert --package soak-diverter --remove --rename \
             --divert /usr/bin/soak-tool0.real /usr/bin/soak-tool0;; esac\n"
        }
        ("soak-cacher", "postinst") => {
            "cd /usr/share; (ls -1 soak-cached; cat soak-cached/* || :) >soak-cached.new 2>/dev/null || :\n\
             mv soak-cached.new soak-cached.cache\n"
        }
        ("soak-cacher", "prerm") => "case $1 in remove) rm -f /usr/share/soak-cached.cache;; esac\n",
        _ => "",
    };
    format!("if [ -x {act} ]; then {act} {name} {script} $PPID; fi\n{own}", act = acts::PATH)
}

/// Whether a file may be freed within the run of dpkg in which it came into use.
pub fn is_written_twice(path: &str) -> bool {
    WRITTEN_TWICE.iter().any(|written| path.starts_with(written))
}

/// Whether a file is in a directory that goes with its package: who uses the one keeps the other.
pub fn is_in_a_directory_of_its_own(path: &str) -> bool {
    ["/usr/lib/soak-", "/usr/share/soak-"].iter().any(|parent| path.starts_with(parent))
}

/// Whether a file is in a directory of what a dpkg without apt removes to make room for another package, which its command
/// line does not say.
pub fn is_in_the_way(path: &str) -> bool {
    path.starts_with("/usr/lib/soak-tool2/")
}
