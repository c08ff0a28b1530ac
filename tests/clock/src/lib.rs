//! The movable clock of a local cloud, for processes that have no switch for it.
//!
//! `LD_PRELOAD` puts this library before libc in a function's process. Its `clock_gettime`, `gettimeofday` and `time` add
//! an offset to the time of day, which they read from a file that is mapped into memory: 16 bytes, the offset in
//! milliseconds as an `i64` in the machine's byte order, then the same bits inverted. `EPRO_CLOCK` names the file. The
//! local cloud writes both halves in one call; where they do not match, that call is under way, and they are read again.
//!
//! Monotonic clocks and the clocks of processor time are the machine's: what waits or measures is not affected. Nothing in
//! the replaced functions allocates, locks or panics, since they are called from anywhere, a signal handler included.
//!
//! Linux with glibc only; elsewhere the library is empty.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unreachable_pub, reason = "the linker reaches them")]
mod linux {
    use std::ffi::{CStr, c_int, c_void};
    use std::mem::transmute;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

    /// The variable that names the file.
    const FILE: &CStr = c"EPRO_CLOCK";

    const MILLIS: i64 = 1_000;
    const NANOS_OF_MILLI: i64 = 1_000_000;
    const NANOS: i64 = 1_000_000_000;

    /// How often halves that do not match are read again: far longer than a write of 16 bytes takes. A writer that was
    /// stopped in its middle leaves the time where it was read last.
    const READS: u32 = 100_000;

    /// The offset and its inverted bits.
    #[repr(C)]
    struct Shared {
        offset: AtomicI64,
        inverted: AtomicI64,
    }

    type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

    /// The mapped file; null before the constructor has run, or without the variable.
    static SHARED: AtomicPtr<Shared> = AtomicPtr::new(null_mut());
    /// libc's own `clock_gettime`, which makes no system call; null before the constructor has run.
    static ORIGINAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    /// The offset that was read last.
    static LAST: AtomicI64 = AtomicI64::new(0);

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn() = construct;

    /// Runs once, before `main` and before the process has a second thread.
    extern "C" fn construct() {
        // SAFETY: the name is a C string, and the look-up has no other requirement.
        let original = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
        ORIGINAL.store(original, Ordering::Release);
        // SAFETY: no other thread changes the environment yet.
        let file = unsafe { libc::getenv(FILE.as_ptr()) };
        if file.is_null() {
            return;
        }
        // SAFETY: the variable's value is a C string.
        match unsafe { map(file) } {
            Some(shared) => SHARED.store(shared, Ordering::Release),
            None => end(c"clock: the file that EPRO_CLOCK names cannot be mapped\n"),
        }
    }

    /// Maps the file at `path` for reading.
    ///
    /// # Safety
    /// `path` must be a C string.
    unsafe fn map(path: *const libc::c_char) -> Option<*mut Shared> {
        let length = size_of::<Shared>();
        // SAFETY: the caller vouches for `path`.
        let file = unsafe { libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC) };
        if file < 0 {
            return None;
        }
        // A page beyond the end of a file can be mapped, but not read.
        // SAFETY: `stat` is plain data, for which zeros are valid.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, and `stat` valid for a write.
        let is_whole = unsafe { libc::fstat(file, &mut stat) } == 0 && stat.st_size >= length as i64;
        let mapped = if is_whole {
            // SAFETY: a new mapping at an address that the system chooses affects no other memory.
            unsafe { libc::mmap(null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file, 0) }
        } else {
            libc::MAP_FAILED
        };
        // SAFETY: the descriptor is open, and the mapping does not need it.
        unsafe { libc::close(file) };
        (mapped != libc::MAP_FAILED).then(|| mapped.cast())
    }

    /// Ends the process: with another time of day than its local cloud's it would answer wrongly.
    fn end(message: &CStr) -> ! {
        let text = message.to_bytes();
        // SAFETY: the text is valid for its length.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        // SAFETY: it has no requirement.
        unsafe { libc::_exit(1) }
    }

    /// The offset in milliseconds.
    fn offset() -> i64 {
        let shared = SHARED.load(Ordering::Acquire);
        // SAFETY: it is null, or the mapping, which stays until the process ends.
        let Some(shared) = (unsafe { shared.as_ref() }) else { return 0 };
        for _ in 0..READS {
            let offset = shared.offset.load(Ordering::Acquire);
            if shared.inverted.load(Ordering::Acquire) == !offset {
                LAST.store(offset, Ordering::Relaxed);
                return offset;
            }
            std::hint::spin_loop();
        }
        LAST.load(Ordering::Relaxed)
    }

    fn is_time_of_day(clock: libc::clockid_t) -> bool {
        clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE
    }

    /// The machine's time, in whole seconds and nanoseconds.
    ///
    /// # Safety
    /// `time` must be valid for a write.
    unsafe fn of_machine(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
        let original = ORIGINAL.load(Ordering::Acquire);
        if original.is_null() {
            // SAFETY: the arguments are the caller's.
            return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
        }
        // SAFETY: libc's symbol of this name has this type.
        let original: ClockGettime = unsafe { transmute(original) };
        // SAFETY: the arguments are the caller's.
        unsafe { original(clock, time) }
    }

    /// Replaces libc's.
    ///
    /// # Safety
    /// `time` must be valid for a write.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
        // SAFETY: the caller vouches for `time`.
        let result = unsafe { of_machine(clock, time) };
        if result == 0 && is_time_of_day(clock) {
            let offset = offset();
            // SAFETY: it was written to just now.
            let time = unsafe { &mut *time };
            let nanos = time.tv_nsec + offset.rem_euclid(MILLIS) * NANOS_OF_MILLI;
            time.tv_sec = time.tv_sec.wrapping_add(offset.div_euclid(MILLIS)).wrapping_add(nanos / NANOS);
            time.tv_nsec = nanos % NANOS;
        }
        result
    }

    /// Replaces libc's.
    ///
    /// # Safety
    /// `time` must be null or valid for a write, and `zone` must be null or valid for a write.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn gettimeofday(time: *mut libc::timeval, zone: *mut c_void) -> c_int {
        if !zone.is_null() {
            // The zone of the kernel, which no program uses, is that of UTC.
            // SAFETY: the caller vouches for a `struct timezone`, two ints.
            unsafe { zone.cast::<[c_int; 2]>().write([0, 0]) };
        }
        if time.is_null() {
            return 0;
        }
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is valid for a write.
        let result = unsafe { clock_gettime(libc::CLOCK_REALTIME, &mut now) };
        if result == 0 {
            // SAFETY: the caller vouches for `time`.
            unsafe { time.write(libc::timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1_000 }) };
        }
        result
    }

    /// Replaces libc's.
    ///
    /// # Safety
    /// `seconds` must be null or valid for a write.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn time(seconds: *mut libc::time_t) -> libc::time_t {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is valid for a write.
        if unsafe { clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now) } != 0 {
            return -1;
        }
        if !seconds.is_null() {
            // SAFETY: the caller vouches for it.
            unsafe { seconds.write(now.tv_sec) };
        }
        now.tv_sec
    }
}
