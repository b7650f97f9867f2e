//! Work in pieces of which the next one is got ready by another thread while this one does its part.

use std::panic::resume_unwind;
use std::thread;

use anyhow::Result;

/// Gets each piece `ready` and then `uses` it, in the order in which they come. There is never more than one ready that is
/// not in use yet. A single piece takes no other thread.
///
/// # Errors
/// The first of either; what comes after it in the row is not used.
pub fn each<T: Send, R: Send>(
    mut pieces: impl ExactSizeIterator<Item = T> + Send,
    mut ready: impl FnMut(T) -> Result<R> + Send,
    mut uses: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let mut get_ready = || pieces.next().map(&mut ready).transpose().map(|piece| (piece, pieces.len()));
    let (mut next, mut left) = get_ready()?;
    while let Some(piece) = next {
        if left == 0 {
            return uses(piece);
        }
        (next, left) = thread::scope(|scope| {
            let ahead = thread::Builder::new().spawn_scoped(scope, &mut get_ready).ok();
            let used = uses(piece);
            let ahead = ahead.map(|ahead| ahead.join().unwrap_or_else(|panic| resume_unwind(panic)));
            used.and_then(|()| ahead.transpose())
        })?
        .map_or_else(&mut get_ready, Ok)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::ensure;

    fn used(pieces: &[u32], bad: u32) -> (Vec<u32>, Result<()>) {
        let mut used = Vec::new();
        let ready = |piece: u32| {
            ensure!(piece != bad, "not {piece}");
            Ok(10 * piece)
        };
        let done = each(pieces.iter().copied(), ready, |piece| {
            used.push(piece);
            Ok(())
        });
        (used, done)
    }

    #[test]
    fn each_is_used_in_its_turn() {
        for count in 0..5 {
            let pieces: Vec<u32> = (1..=count).collect();
            let (used, done) = used(&pieces, 9);
            assert_eq!(used, pieces.iter().map(|piece| 10 * piece).collect::<Vec<_>>());
            assert!(done.is_ok());
        }
    }

    #[test]
    fn what_cannot_be_got_ready_ends_it_and_what_was_ready_before_is_used() {
        let (used, done) = used(&[1, 2, 3, 4], 3);
        assert_eq!(used, [10, 20]);
        assert_eq!(done.map_err(|error| error.to_string()), Err("not 3".to_owned()));
    }
}
