//! Usage: how much a caller may ask.

mod limit;

pub use limit::{Decision, LimitKey, Limits, LimitsConfig};
