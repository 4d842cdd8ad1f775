//! End-to-end scenarios on real machines.
//!
//! Run one with `cargo test --package lab --test scenarios NAME`. They need root and a Debian; elsewhere each of them
//! is counted as ignored, with the reason. They run one after the other: one host, one cluster at a time.

mod alone;
mod api;
mod containers;
mod corpus;
mod errors;
mod faults;
mod forming;
mod harness;
mod job;
mod keeps;
mod leaving;
mod pki;
mod placement;
mod proofs;
mod registry;
mod reload;
mod remote;
mod store;
mod tls;
mod unit;

use std::process::ExitCode;

fn main() -> ExitCode {
    let themes = [
        store::scenarios(),
        containers::scenarios(),
        faults::scenarios(),
        registry::scenarios(),
        reload::scenarios(),
        tls::scenarios(),
        unit::scenarios(),
        corpus::scenarios(),
        placement::scenarios(),
        errors::scenarios(),
        api::scenarios(),
        remote::scenarios(),
        job::scenarios(),
        keeps::scenarios(),
        leaving::scenarios(),
        forming::scenarios(),
        proofs::scenarios(),
    ];
    harness::run(themes.concat())
}
