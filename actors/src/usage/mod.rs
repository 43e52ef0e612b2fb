//! Usage: how much a caller may ask, and how often libraries were asked.

mod client;
mod limit;
mod meter;
mod report;

pub use client::Client;
pub(crate) use limit::network_of;
pub use limit::{Decision, LimitKey, Limits, LimitsConfig};
pub use meter::{Asker, Usage};
pub use report::{BySurface, DayReport, UsageError, UsageReport};
