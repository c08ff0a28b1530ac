//! The one seam of the simulation: the time of day and the randomness of a thread.
//!
//! Whatever reads the wall clock or draws random bytes, in this workspace, in a dependency or in the standard library,
//! calls libc's `clock_gettime` or `getrandom` in the end. A program that links this crate has its own of both. On a
//! thread started by [`run`] they follow a seed and a clock of the caller; on every other thread they ask the kernel.
//! So uuids, nonces, jitter, hash seeds and times are the same each time that a seed is run, and the code under test
//! has no switch for it.
//!
//! The crate `getrandom` looks `getrandom` up by name at run time, so a program needs
//! `-Wl,--export-dynamic-symbol=getrandom` in its build script. Without it [`run`] panics.
//!
//! This works on Linux with glibc or musl. On other systems [`run`] runs its work on a thread of its own, but not the
//! same way each time, and [`IS_DETERMINISTIC`] is false.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

/// Whether a seed fixes everything on this system.
pub const IS_DETERMINISTIC: bool = cfg!(target_os = "linux");

/// The stack of a simulated thread: debug builds nest the SDK's futures deeply.
const STACK: usize = 16 * 1024 * 1024;

/// The clock and the randomness of a thread.
#[derive(Clone, Copy)]
struct Simulated {
    random: u64,
    /// The time since the Unix epoch.
    time_of_day: fn() -> Duration,
}

thread_local! {
    // Without a destructor and without lazy initialisation, so that it can be read inside libc's functions.
    static SIMULATED: Cell<Option<Simulated>> = const { Cell::new(None) };
}

/// Runs `work` on a new thread whose randomness follows `seed` and whose time since the Unix epoch is `time_of_day()`.
///
/// # Panics
/// If `work` panics, or if the program does not export the symbols.
pub fn run<T: Send>(seed: u64, time_of_day: fn() -> Duration, work: impl FnOnce() -> T + Send) -> T {
    let begin = move || {
        SIMULATED.set(Some(Simulated { random: seed, time_of_day }));
        // It seeds itself from a monotonic clock and the thread's number.
        fastrand::seed(seed);
        assert!(!IS_DETERMINISTIC || is_replaced(), "link with -Wl,--export-dynamic-symbol=getrandom");
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, begin);
        let thread = thread.expect("the system can start a thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The next number of SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whether a look-up by name finds the function of this crate.
#[cfg(target_os = "linux")]
fn is_replaced() -> bool {
    // SAFETY: the name is a C string, and the look-up has no other requirement.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getrandom".as_ptr()) };
    std::ptr::eq(found, linux::getrandom as *const std::ffi::c_void)
}

#[cfg(not(target_os = "linux"))]
fn is_replaced() -> bool {
    true
}

#[cfg(target_os = "linux")]
#[allow(unreachable_pub, reason = "the linker reaches them")]
mod linux {
    use std::ffi::{c_int, c_uint, c_void};

    use super::{SIMULATED, next_random};

    /// Replaces libc's.
    ///
    /// # Safety
    /// `buffer` must be valid for writes of `length` bytes.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
        let Some(mut simulated) = SIMULATED.get() else {
            // SAFETY: the arguments are the caller's.
            return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as isize;
        };
        // SAFETY: the caller vouches for `length` bytes, and `u8` has no invalid values.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&next_random(&mut simulated.random).to_le_bytes()[..chunk.len()]);
        }
        SIMULATED.set(Some(simulated));
        length as isize
    }

    /// Replaces libc's.
    ///
    /// # Safety
    /// `time` must be valid for a write.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
        match SIMULATED.get() {
            Some(simulated) if clock == libc::CLOCK_REALTIME => {
                let now = (simulated.time_of_day)();
                let now = libc::timespec { tv_sec: now.as_secs() as i64, tv_nsec: now.subsec_nanos().into() };
                // SAFETY: the caller vouches for `time`.
                unsafe { time.write(now) };
                0
            }
            // SAFETY: the arguments are the caller's.
            _ => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int },
        }
    }
}
