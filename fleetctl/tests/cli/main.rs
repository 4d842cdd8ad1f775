//! Whole invocations: the real binary against a scripted fleetd, with everything it printed, its exit code and every
//! request that changes something.

#![allow(clippy::unwrap_used)] // clippy takes only functions marked as tests for such

mod broken;
mod complete;
mod fake;
mod fuzz;
mod inspect;
mod list;
mod machines;
mod on_this_machine;
mod outcome;
mod recover;
mod reference;
mod say;
mod ssh;
mod start;
mod submit;
mod tunnel;
mod usage;
mod withdraw;
