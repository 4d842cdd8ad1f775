//! Whole invocations: the real binary against a scripted fleetd, with everything it printed, its exit code and every
//! request that changes something.

mod bring;
mod broken;
mod fake;
mod inspect;
mod list;
mod outcome;
mod say;
mod usage;
mod withdraw;
