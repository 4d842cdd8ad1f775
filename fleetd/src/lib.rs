//! fleetd: the agent and the engine of one machine, as a library around a thin `main`.
//!
//! The rooms, by what they know: [`registry`] (the store) and [`init`] (systemd) are the edges, each a small trait with
//! a real and an in-memory side; [`cluster`] is what the registry says, as a value; [`engine`] decides which machine runs
//! what. See `docs/architecture.md`.

pub mod agent;
pub mod api;
pub mod arguments;
pub mod bootstrap;
pub mod cluster;
pub mod config;
pub mod daemon;
pub mod dump;
pub mod engine;
pub mod gateway;
pub mod guard;
pub mod host;
pub mod init;
pub mod log;
pub mod metrics;
pub mod pem;
pub mod recovery;
pub mod registry;
pub mod reload;
pub mod watchdog;
