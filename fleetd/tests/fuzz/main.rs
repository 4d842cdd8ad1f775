//! What comes from outside may be anything. A fixed budget in `cargo test`; any number of cases by
//! `PROPTEST_CASES=100000 cargo test --package fleetd --test fuzz`. A failing case is shrunk and printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod api;
mod config;
mod records;
