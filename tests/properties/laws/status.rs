use rokeep::core::apt_stream::Name;
use rokeep::core::dpkg_db::{has_files, installed, selected_for_removal};

use super::bounds::in_proportion;

/// What is installed of a package is what each paragraph by itself says is; a package that is to go is installed, and one
/// that is installed has files.
pub fn status(text: &[u8]) {
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let paragraphs: Vec<Vec<u8>> = lines.split(|line| line.is_empty()).map(|lines| lines.join(&b'\n')).collect();

    let selected = in_proportion(text, || selected_for_removal(text));
    assert_eq!(selected, paragraphs.iter().flat_map(|text| selected_for_removal(text)).collect::<Vec<_>>());
    for (package, version) in &selected {
        assert!(installed(text, package).contains(version), "{package} is to go, and not there");
    }

    for package in lines.iter().filter_map(|line| Name::parse(value(line)?)).take(4) {
        let versions = in_proportion(text, || installed(text, &package));
        assert_eq!(versions, paragraphs.iter().flat_map(|text| installed(text, &package)).collect::<Vec<_>>());
        for version in versions {
            let says = |text| has_files(text, &package, &version.arch);
            assert!(paragraphs.iter().any(|text| says(text) == Some(true)), "{package} is installed without files");
        }
    }
}

fn value(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|b| *b == b':')?;
    Some(line[colon + 1..].trim_ascii())
}
