//! Crate docs with [`Kit`].
#![doc = include_str!("../README.md")]

/// A kit.
///
/// # Examples
/// ```
/// # use kit::Kit;
/// Kit::new();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Kit<T: Copy = u8> where T: Send {
    /// Field.
    pub a: T,
}

impl<T: Copy> Kit<T> {
    /// Makes one.
    #[deprecated(since = "1", note = "no")]
    pub const unsafe fn new(x: impl Into<T>, _: [u8; 3]) -> Result<Self, ()> { loop {} }
}

/** Block. */
pub trait Do: Sized { type Out; const N: usize; fn go(&self) -> Self::Out; }
pub enum E { A, B(u8), C { x: i32 } }
#[macro_export]
macro_rules! m { ($a:expr) => { $a }; }
pub use inner::{Thing as Other, *};
mod inner { /// T
pub struct Thing; }
pub type Alias = fn(u8) -> u8;
extern "C" { pub fn c(); }
