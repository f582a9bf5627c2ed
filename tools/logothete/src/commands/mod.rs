//! The commands, one file each: their options (`Arguments`) and what they do (`run`).

pub mod bench;
pub mod demo;
pub mod doctor;
pub mod drill;
pub mod driver;
pub mod generals;
pub mod init;
pub mod inspect;
pub mod local;
pub mod null_replica;
pub mod process;
pub mod publish;
pub mod replica;
pub mod rotate_keys;
pub mod session;
pub mod simulate;
pub mod status;
pub mod subscribe;
pub mod unreplicated;
