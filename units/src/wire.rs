//! The JSON of the HTTP API.

pub mod v1;
