use rokeep::core::journal::{JournalError, Record, encode, encode_into, header, parse};

use super::bounds::{cuts, in_proportion};
use super::words::is_said_in_one_line;

/// A journal is read or refused. What was read is the same when it is written again; every part that a crash may leave is
/// the journal of its first records; and what is written behind its whole lines is read behind them.
pub fn journal(text: &[u8]) {
    let read = match in_proportion(text, || parse(text)) {
        Ok(read) => read,
        Err(error) => return refusal(text, error),
    };
    let whole = &text[..read.whole_bytes];
    assert!(whole.is_empty() || whole.ends_with(b"\n"));
    assert!(!text[read.whole_bytes..].contains(&b'\n'), "a whole line is taken for a torn one");
    assert_eq!(parse(whole).as_ref(), Ok(&read));

    let text_of = |records| written(header(), records);
    let written = text_of(&read.records);
    let again = parse(&written).expect("it was written just now");
    assert_eq!((&again.records, again.whole_bytes, again.is_old), (&read.records, written.len(), false));
    assert_eq!(text_of(&again.records), written);

    for cut in cuts(text) {
        let part = parse(&text[..cut]).expect("only its end is missing");
        assert_eq!(part.records[..], read.records[..part.records.len()]);
        assert_eq!(part.records.len(), text[..cut].iter().filter(|b| **b == b'\n').count().saturating_sub(1));
    }

    // An older one is written anew before anything is added.
    if !read.is_old {
        let start = if whole.is_empty() { header() } else { whole.to_vec() };
        let longer = parse(&written_on(start, &read.records)).expect("whole lines only");
        assert_eq!(longer.records, [&read.records[..], &read.records].concat());
    }
}

/// All before the line that is damaged is good.
fn refusal(text: &[u8], error: JournalError) {
    if let JournalError::Damaged(line) = error {
        let before: usize = text.split_inclusive(|b| *b == b'\n').take(line - 1).map(<[u8]>::len).sum();
        assert!(before < text.len(), "there is no line {line}");
        assert!(parse(&text[..before]).is_ok(), "a line before line {line} is damaged");
    }
    is_said_in_one_line(error);
}

fn written(start: Vec<u8>, records: &[Record]) -> Vec<u8> {
    records.iter().fold(start, |text, record| [text, encode(record)].concat())
}

fn written_on(mut text: Vec<u8>, records: &[Record]) -> Vec<u8> {
    let mut line = b"what was there before".to_vec();
    for record in records {
        encode_into(&mut line, record);
        text.extend_from_slice(&line);
    }
    text
}
