//! Panics on simulated threads. A task that panics looks like a lost environment or a cut connection to those that wait
//! for it, so each panic is kept by itself.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Keeps the panics of each thread that has called [`begin`], besides what is done with them anyhow.
pub(crate) fn record() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.with_borrow_mut(|panics| panics.iter_mut().for_each(|panics| panics.push(info.to_string())));
        before(info);
    }));
}

/// Begins to keep the panics of this thread.
pub(crate) fn begin() {
    PANICS.set(Some(Vec::new()));
}

/// The panics of this thread since [`begin`].
pub(crate) fn take() -> Vec<String> {
    PANICS.take().unwrap_or_default()
}
