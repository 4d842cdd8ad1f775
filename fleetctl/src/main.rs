//! fleetctl.
fn main() {}
