//! Time and randomness as seams: whoever needs them is handed them, so that a test or a simulation
//! decides what they say.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This moment and `millis` later; stays at the end of time instead of wrapping.
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment; zero when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-23T12:46:10.123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, millis_of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let seconds = millis_of_day / 1000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            millis_of_day % 1000
        )
    }
}

/// Text that is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no day and no moment in UTC, as `2026-11-23` or `2026-11-23T12:46:10Z`")]
pub struct InvalidTimestamp;

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// A day (its first moment), or RFC 3339 in UTC, with up to three digits of a second or none; from 1970 to 9999.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time.strip_suffix('Z').ok_or(InvalidTimestamp)?),
            None => (text, "00:00:00"),
        };
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        let digits = fraction.len();
        if digits > 3 {
            return Err(InvalidTimestamp);
        }
        let [fraction] = numbers(fraction, '.', [digits])?;
        let millis = [1000, 100, 10, 1][digits] * fraction;
        let days = days_from_civil(year, month, day).ok_or(InvalidTimestamp)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(InvalidTimestamp);
        }
        Ok(Self(days * 86_400_000 + ((hour * 60 + minute) * 60 + second) * 1000 + millis))
    }
}

/// The numbers between `separator`, each of exactly so many digits.
fn numbers<const N: usize>(
    text: &str,
    separator: char,
    digits: [usize; N],
) -> Result<[u64; N], InvalidTimestamp> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next().ok_or(InvalidTimestamp)?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidTimestamp);
        }
        *number = part.parse().map_err(|_| InvalidTimestamp)?;
    }
    parts.next().map_or(Ok(found), |_| Err(InvalidTimestamp))
}

/// The way back of [`civil_from_days`]; `None` for a day that there is not, or before 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted_year = year.checked_sub(u64::from(month <= 2))?;
    let era = shifted_year / 400;
    let year_of_era = shifted_year % 400;
    let shifted_month = if month > 2 { month.checked_sub(3)? } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Days since 1970-01-01 as year, month and day of the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The moment of the call.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock the ban points to")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since_epoch.map_or(0, |elapsed| elapsed.as_millis().try_into().unwrap_or(u64::MAX)))
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves the clock forward.
    pub fn advance_millis(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the clock, also backwards, as a bad time server would.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Fills buffers with random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Overwrites `buffer` with unpredictable bytes.
    ///
    /// # Errors
    /// When the operating system has none to give.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError(#[source] getrandom::Error);

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(EntropyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_as_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_437_970_123, "2026-11-23T12:46:10.123Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
    }
    #[test]
    fn a_moment_is_read_as_it_is_written() {
        for millis in [0, 951_782_399_999, 951_782_400_000, 1_795_437_970_123, 4_102_444_800_000] {
            let written = Timestamp::from_millis(millis);
            assert_eq!(written.to_string().parse(), Ok(written));
        }
        let read = |text: &str| text.parse::<Timestamp>().map(|at| at.to_string()).ok();
        assert_eq!(read("2026-11-23").as_deref(), Some("2026-11-23T00:00:00.000Z"));
        assert_eq!(read("2026-11-23T12:46:10Z").as_deref(), Some("2026-11-23T12:46:10.000Z"));
        assert_eq!(read("2026-11-23T12:46:10.5Z").as_deref(), Some("2026-11-23T12:46:10.500Z"));
        for wrong in [
            "",
            "yesterday",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-00",
            "1969-12-31",
            "0000-01-01",
            "2026-1-1",
            "+026-11-23",
            "2026-11-23T24:00:00Z",
            "2026-11-23T12:60:00Z",
            "2026-11-23T12:46:10",
            "2026-11-23T12:46:10+01:00",
            "2026-11-23T12:46:10.Z",
            "2026-11-23T12:46:10.1234Z",
            "2026-11-23-01",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
