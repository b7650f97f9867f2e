//! How much memory is taken, and where a text is cut.

#![allow(unsafe_code, reason = "an allocator is told of everything, and passes it on to the system's own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What is asked on these bytes, which takes memory in proportion to them: some is always taken, and what is read takes more
/// than its text.
pub fn in_proportion<T>(bytes: &[u8], ask: impl FnOnce() -> T) -> T {
    within((256 << 10) + 200 * bytes.len(), ask)
}

/// What is asked, which takes no more memory than this at any time.
pub fn within<T>(most: usize, ask: impl FnOnce() -> T) -> T {
    let before = TAKEN.get();
    MOST.set(before);
    let answer = ask();
    let taken = usize::try_from(MOST.get() - before).unwrap_or(0);
    assert!(taken <= most, "{taken} bytes of memory are taken, and {most} are enough");
    answer
}

/// Where to cut a text: everywhere if it is short, in a few places if it is long.
pub fn cuts(text: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let length = text.len();
    let step = (length / 8).max(1);
    (0..length).step_by(step).chain(length.checked_sub(1))
}

/// The system's allocator, and how much of it is taken by each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// In bytes. Less than nothing, where a thread gives back what another one took.
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let taken = TAKEN.get() + bytes;
    TAKEN.set(taken);
    MOST.set(MOST.get().max(taken));
}

// SAFETY: every call is passed on as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}
