use rokeep::core::apt_stream::Name;
use rokeep::core::dpkg_db::{has_files, installed, selected_for_removal};

use super::bounds::in_proportion;

/// What is installed of a package is what each paragraph by itself says is; a package that is to go is installed, and one
/// that is installed has files; one of which only settings are left has none.
pub fn status(text: &[u8]) {
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let paragraphs: Vec<Vec<u8>> = lines.split(|line| line.is_empty()).map(|lines| lines.join(&b'\n')).collect();

    let selected = in_proportion(text, || selected_for_removal(text));
    assert_eq!(selected, paragraphs.iter().flat_map(|text| selected_for_removal(text)).collect::<Vec<_>>());
    for (package, version) in &selected {
        assert!(installed(text, package).contains(version), "{package} is to go, and not there");
    }

    for package in lines.iter().filter_map(|line| Name::parse(value(line)?)).take(4) {
        for paragraph in paragraphs.iter().filter(|paragraph| is_without_files(paragraph)) {
            assert_eq!(installed(paragraph, &package), []);
        }
        let versions = in_proportion(text, || installed(text, &package));
        assert_eq!(versions, paragraphs.iter().flat_map(|text| installed(text, &package)).collect::<Vec<_>>());
        for version in versions {
            let says = |text| has_files(text, &package, &version.arch);
            assert!(paragraphs.iter().any(|text| says(text) == Some(true)), "{package} is installed without files");
        }
    }
}

fn is_without_files(paragraph: &[u8]) -> bool {
    let mut lines = paragraph.split(|b| *b == b'\n');
    let status = lines.find(|line| line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"Status:")));
    let words = [&b"not-installed"[..], b"config-files", b"half-installed"];
    status.is_some_and(|status| words.iter().any(|word| status.trim_ascii().ends_with(word)))
}

fn value(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|b| *b == b':')?;
    Some(line[colon + 1..].trim_ascii())
}
