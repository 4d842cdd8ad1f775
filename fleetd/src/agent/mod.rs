//! The agent: makes this machine present in the cluster, has systemd run what was placed on it, says what became of it.
//!
//! Pure half: [`plan`] (what to do about one unit), `orders` (how far the registry's word carries), `publish` (when to
//! say what). IO half: the loop in `run`, workers that carry out steps, the presence.

pub mod local;
mod orders;
pub mod plan;
mod presence;
mod publish;
mod reload;
pub mod request;
mod run;
mod standing;
mod unit;
mod worker;

pub use presence::Identity;
pub use request::Request;
pub use run::Agent;
pub use standing::Standing;
