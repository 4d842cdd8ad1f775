//! Tests of the plan: tables of what it decides, and random clusters that it has to bring to rest.
//!
//! All of them run on a [`bed::Bed`]: real keys and values in a map that obeys etcd's rules for transactions, and
//! scripted agents that answer what they are told.

mod agents;
mod bed;

mod brake;
mod conflicts;
mod filters;
mod globals;
mod guarded;
mod lost;
mod moves;
mod random;
mod replaces;
mod returned;
mod spread;
mod unreadable;
mod verdicts;
mod versions;
