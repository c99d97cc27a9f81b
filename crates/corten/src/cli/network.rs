//! `corten network`: networks, and who is in them.

pub mod connect;
pub mod create;
pub mod inspect;
pub mod ls;
pub mod prune;
pub mod reload;
pub mod rm;
