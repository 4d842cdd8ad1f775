//! Where the product meets its surroundings, and where the simulator listens, holds and plants bugs.

mod gate;
mod guard;
mod registry;
mod systemd;

pub use gate::Gate;
pub use guard::GuardService;
pub use registry::{Role, Wire};
pub use systemd::Pid1;
