//! The API over the registry in memory, request by request.

#![expect(clippy::unwrap_used, reason = "a test: what is not as expected ends it")]

mod events;
mod health;
mod metadata;
mod pages;
mod put;
mod stage;
mod v1;
