//! The engine: one fleetd of the cluster, elected, decides which machine runs what.
//!
//! Pure half: [`plan`] takes the cluster at one revision to a list of [`Step`]s with reasons. IO half: the election and
//! the run loop, which writes each step as one transaction behind the leader's fence.

mod aim;
mod balance;
mod candidacy;
mod decision;
mod draft;
pub mod election;
mod filter;
mod groups;
mod loads;
mod memory;
mod occupancy;
mod plan;
mod replacing;
mod returned;
mod run;
mod scheduler;
#[cfg(test)]
mod tests;
mod verdict;
mod version;
mod view;

pub use candidacy::Candidacy;
pub use decision::{Change, Decision, Step};
pub use filter::Rejection;
pub use memory::{Allowance, Memory, Policy};
pub use plan::{Plan, plan};
pub use run::Engine;
pub use scheduler::Scheduler;
pub use version::VERSION;
