//! Many small questions to the kernel, on two threads.

use std::thread;

/// So many are answered in a few milliseconds by one thread: more are worth a second one.
const MANY: usize = 1000;

/// Does this for each of them, on two threads where there are many, and answers in the same order.
pub fn map<T: Sync, A: Send>(all: &[T], each: impl Fn(&T) -> A + Sync) -> Vec<A> {
    let answer = |some: &[T]| some.iter().map(&each).collect::<Vec<A>>();
    if all.len() < MANY {
        return answer(all);
    }
    let (here, there) = all.split_at(all.len() / 2);
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, || answer(there));
        let mut answers = answer(here);
        // Where there can be no other thread, or it broke off, this one does it all.
        let others = other.ok().and_then(|other| other.join().ok());
        answers.extend(others.unwrap_or_else(|| answer(there)));
        answers
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        for count in [0, 1, MANY - 1, 2 * MANY + 1] {
            let all: Vec<usize> = (0..count).collect();
            assert_eq!(map(&all, |number| number + 1), (1..=count).collect::<Vec<_>>());
        }
    }
}
