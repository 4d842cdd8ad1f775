//! fleetd: the agent and the engine of one machine, as a library around a thin `main`.
//!
//! The rooms, by what they know: [`registry`] (the store) and [`init`] (systemd) are the edges, each a small trait with
//! a real and an in-memory side. See `docs/architecture.md`.

pub mod init;
pub mod registry;
