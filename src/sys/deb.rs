//! Package archives, read in this process: no child, no temporary file.
//!
//! Only as much is decompressed as tells which files a package brings: the control member, and the data member too if
//! there are no checksums. What is kept in memory is bounded, whatever an archive says or unpacks to.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::fcntl::OFlag;
use tar::{EntryType, PaxExtensions};

use crate::core::deb::{self, Compression, ControlFiles, Deb, DebError, Header, Member};
use crate::core::message;
use crate::core::paths::{ListedPath, PathReader};

/// A control member holds a few scripts, and some 100 bytes for each file of the package.
const MOST_CONTROL: u64 = 64 << 20;

/// All names of a package together; Debian's longest lists have 10 MiB.
const MOST_NAMES: usize = 64 << 20;

/// More files than any package has; the largest of Debian have some tens of thousands.
const MOST_FILES: usize = 1_000_000;

/// One name. The kernel takes 4 KiB.
const LONGEST_NAME: u64 = 64 << 10;

/// What decompressing may have to remember: dpkg-deb's strongest zstd asks for 128 MiB, its strongest xz for 64 MiB.
const MOST_WINDOW: u64 = 128 << 20;

/// What a package archive brings.
///
/// # Errors
/// What dpkg would not unpack either, and what would take too much memory. The message names the archive.
pub fn read(path: &Path) -> Result<Deb> {
    read_archive(path).with_context(|| format!("{} cannot be read as a package", message::path(path)))
}

/// Everything that a package archive brings, with or without checksums: all of it is decompressed.
///
/// # Errors
/// As [`read`].
pub fn read_everything(path: &Path) -> Result<Everything> {
    let read = || {
        let file = open(path)?;
        let (_, data) = find_members(&file)?;
        read_data(&data).with_context(|| format!("its {}", message::text(&data.name)))
    };
    read().with_context(|| format!("{} cannot be read as a package", message::path(path)))
}

/// What is in a data member.
#[derive(Debug, Default)]
pub struct Everything {
    /// Files, hard links, nodes.
    pub files: Vec<ListedPath>,
    /// Symbolic links, and what each says.
    pub links: Vec<(ListedPath, Vec<u8>)>,
    /// Directories, whatever is in them.
    pub directories: Vec<ListedPath>,
}

fn open(path: &Path) -> Result<File> {
    // It may be a pipe, and nobody at its other end.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    ensure!(file.metadata()?.is_file(), "it is not a file");
    Ok(file)
}

fn read_archive(path: &Path) -> Result<Deb> {
    let file = open(path)?;
    let (control, data) = find_members(&file)?;
    let control = read_control(&control).with_context(|| format!("its {}", message::text(&control.name)))?;
    let paths = match control.paths() {
        Some(paths) => paths,
        None => {
            let Everything { mut files, links, .. } =
                read_data(&data).with_context(|| format!("its {}", message::text(&data.name)))?;
            files.extend(links.into_iter().map(|(path, _)| path));
            files
        }
    };
    Ok(control.deb(paths)?)
}

/// Where a member is in the archive.
struct Found<'a> {
    file: &'a File,
    name: String,
    start: u64,
    size: u64,
}

/// The control member and the data member, in this order, both whole.
fn find_members(file: &File) -> Result<(Found<'_>, Found<'_>)> {
    let mut headers = Headers { file, next: deb::MAGIC.len() as u64, length: file.metadata()?.len() };
    let mut magic = [0; deb::MAGIC.len()];
    ensure!(file.read_exact_at(&mut magic, 0).is_ok() && magic == *deb::MAGIC, DebError::NoArchive);
    let (version, start) = headers.next(deb::VERSION_MEMBER)?;
    ensure!(version.name == deb::VERSION_MEMBER, DebError::Misplaced(version.name));
    let mut format = vec![0; version.size.min(64) as usize];
    file.read_exact_at(&mut format, start)?;
    deb::check_format(&format)?;

    let mut control = None;
    loop {
        let missing = if control.is_none() { "control.tar" } else { "data.tar" };
        let (Header { name, size }, start) = headers.next(missing)?;
        match (Member::parse(&name)?, control.take()) {
            (Member::Unimportant, before) => control = before,
            (Member::Control, None) => control = Some(Found { file, name, start, size }),
            (Member::Data, Some(control)) => return Ok((control, Found { file, name, start, size })),
            (Member::Control, Some(_)) | (Member::Data, None) => bail!(DebError::Misplaced(name)),
        }
    }
}

/// Walks from member to member.
struct Headers<'a> {
    file: &'a File,
    next: u64,
    length: u64,
}

impl Headers<'_> {
    /// The next member, and where its content starts; all of it is there.
    fn next(&mut self, expected: &'static str) -> Result<(Header, u64)> {
        ensure!(self.next < self.length, DebError::NoMember(expected));
        let mut header = [0; deb::HEADER];
        match self.file.read_exact_at(&mut header, self.next) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                bail!(DebError::EndsInside("a member's header".to_owned()))
            }
            read => read?,
        }
        let header = Header::parse(&header)?;
        let start = self.next + deb::HEADER as u64;
        let end = start.checked_add(header.size).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| DebError::EndsInside(header.name.clone()))?;
        self.next = end + end % 2;
        Ok((header, start))
    }
}

fn read_control(member: &Found) -> Result<ControlFiles> {
    let unpacked = AtMost { inner: member.unpacked()?, left: MOST_CONTROL };
    let mut files = ControlFiles::default();
    let mut archive = tar::Archive::new(unpacked);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry.map_err(|error| in_one_line(&error))?;
        let name = entry.path_bytes().into_owned();
        if let Some(place) = files.place(&name) {
            entry.read_to_end(place)?;
        }
    }
    to_its_end(archive.into_inner())?;
    at_most_files(files.lines())?;
    Ok(files)
}

/// The name of a file stands in some of them, as it is in the archive.
fn in_one_line(error: &io::Error) -> anyhow::Error {
    anyhow!(message::text(&error.to_string()))
}

fn at_most_files(files: usize) -> Result<()> {
    ensure!(files <= MOST_FILES, "it has more than {MOST_FILES} files");
    Ok(())
}

fn read_data(member: &Found) -> Result<Everything> {
    let [mut files, mut links, mut directories] = [PathReader::default(), PathReader::default(), PathReader::default()];
    let mut targets = Vec::new();
    let mut bytes = 0;
    let mut archive = tar::Archive::new(member.unpacked()?);
    // A name that does not fit into a header comes in a pseudo-file of its own before it.
    let (mut long_name, mut long_target) = (None, None);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry.map_err(|error| in_one_line(&error))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(up_to_nul(&read_name(&mut entry)?)),
            EntryType::XHeader => long_name = path_of_pax(&read_name(&mut entry)?)?.or(long_name),
            EntryType::GNULongLink => long_target = Some(up_to_nul(&read_name(&mut entry)?)),
            EntryType::XGlobalHeader => {}
            kind => {
                let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                let target = long_target.take().or_else(|| entry.link_name_bytes().map(Cow::into_owned));
                let target = target.unwrap_or_default();
                bytes += name.len() + target.len();
                ensure!(bytes <= MOST_NAMES, "it has more than {} MiB of names", MOST_NAMES >> 20);
                // The slash is how a directory was written before tar had a type for it.
                match kind {
                    _ if kind == EntryType::Directory || name.ends_with(b"/") => {
                        deb::read_member(&name, &mut directories)
                    }
                    EntryType::Symlink => {
                        deb::read_member(&name, &mut links);
                        // What leads elsewhere is passed over.
                        targets.resize(links.count(), target);
                    }
                    _ => deb::read_member(&name, &mut files),
                }
                at_most_files((files.count() + links.count()).max(directories.count()))?;
            }
        }
    }
    to_its_end(archive.into_inner())?;
    let links = links.paths().into_iter().zip(targets).collect();
    Ok(Everything { files: files.paths(), links, directories: directories.paths() })
}

fn read_name(entry: &mut impl Read) -> Result<Vec<u8>> {
    let mut name = Vec::new();
    entry.take(LONGEST_NAME).read_to_end(&mut name)?;
    ensure!((name.len() as u64) < LONGEST_NAME, "a file's name is longer than {} KiB", LONGEST_NAME >> 10);
    Ok(name)
}

fn up_to_nul(name: &[u8]) -> Vec<u8> {
    name.split(|b| *b == 0).next().unwrap_or_default().to_vec()
}

/// dpkg refuses such archives to this day (1.22).
fn path_of_pax(records: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut path = None;
    for record in PaxExtensions::new(records) {
        let record = record?;
        if record.key_bytes() == b"path" {
            path = Some(record.value_bytes().to_vec());
        }
    }
    Ok(path)
}

/// The checksums of what was unpacked are at its end.
fn to_its_end(mut unpacked: impl Read) -> io::Result<u64> {
    io::copy(&mut unpacked, &mut io::sink())
}

impl Found<'_> {
    /// Like dpkg, only the first stream of .xz and .zst.
    fn unpacked(&self) -> Result<Box<dyn Read + '_>> {
        let compression = Compression::parse(&self.name)?;
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.start))?;
        let content = BufReader::with_capacity(64 << 10, file.take(self.size));
        // Its own tables take some KiB more than its window.
        let kibibytes = (MOST_WINDOW >> 10) as u32 + 1024;
        Ok(match compression {
            Compression::None => Box::new(content),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(content)),
            Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(content, false, kibibytes)),
            Compression::Lzma => Box::new(lzma_rust2::LzmaReader::new_mem_limit(content, kibibytes, None)?),
            Compression::Zstd => Box::new(Zstd::start(content)?),
        })
    }
}

/// Fails where [`Read::take`] would only end.
struct AtMost<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for AtMost<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| io::Error::other(format!("it is larger than {} MiB", MOST_CONTROL >> 20)))?;
        Ok(read)
    }
}

/// One frame, with what [`ruzstd`] leaves to its callers: a bounded window, and its checksum compared.
struct Zstd<R: Read>(ruzstd::decoding::StreamingDecoder<io::Chain<Cursor<Vec<u8>>, R>, ruzstd::decoding::FrameDecoder>);

impl<R: Read> Zstd<R> {
    fn start(mut content: R) -> Result<Zstd<R>> {
        const LONGEST_HEADER: u64 = 18;
        let mut header = Vec::new();
        content.by_ref().take(LONGEST_HEADER).read_to_end(&mut header)?;
        let window = deb::zstd_window(&header).context("it does not start as a zstd frame")?;
        ensure!(window <= MOST_WINDOW, "unpacking it takes {} MiB of memory", window >> 20);
        Ok(Zstd(ruzstd::decoding::StreamingDecoder::new(Cursor::new(header).chain(content))?))
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        let decoder = &self.0.decoder;
        let ended = read == 0 && !buffer.is_empty();
        let stored = decoder.get_checksum_from_data();
        if ended && stored.is_some() && stored != decoder.get_calculated_checksum() {
            return Err(io::Error::other("its checksum differs"));
        }
        Ok(read)
    }
}
