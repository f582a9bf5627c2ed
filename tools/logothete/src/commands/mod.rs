//! The commands, one file each: their options (`Arguments`) and what they do (`run`).

pub mod doctor;
pub mod init;
pub mod local;
pub mod publish;
pub mod session;
pub mod subscribe;
