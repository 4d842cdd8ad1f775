//! End-to-end scenarios on real machines.
//!
//! Run one with `cargo test --package lab --test scenarios NAME`. They need root and a Debian; elsewhere each of them
//! is counted as ignored, with the reason. They run one after the other: one host, one cluster at a time.

mod containers;
mod faults;
mod harness;
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::run([store::scenarios(), containers::scenarios(), faults::scenarios()].concat())
}
