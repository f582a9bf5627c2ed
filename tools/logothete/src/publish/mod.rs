//! Appending a stream of operations to the ordered log.
//!
//! What this room is for: cutting input into operations ([`input`]) and keeping many of them in flight ([`appender`]).
//! What must never happen here: an operation appended twice, or counted as acknowledged before it is.

pub mod appender;
pub mod input;
