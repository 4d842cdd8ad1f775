//! From a bare machine to a machine of the cluster, and back.
//!
//! Two ways lead in. `fleetd bootstrap FILE` takes a CoreOS cloud-config: [`cloud_config`] reads and checks all of it,
//! [`plan`] turns it into steps, [`apply`] does them. `fleetctl init` and `join` (which run `fleetd init` and `join`) need no
//! file. Both end in [`etcd`], which makes this machine a member of etcd's cluster or a gateway to it. Everything may be
//! cut off at any moment and run again: a step looks at what is there before it changes anything.
//!
//! All that touches the machine goes through [`system::System`], whose twin is a machine in memory.

pub mod apply;
pub mod cloud_config;
pub mod command;
pub mod etcd;
pub mod facts;
pub mod fleet;
pub mod init;
pub mod join;
pub mod leave;
mod leaving;
pub mod pki;
pub mod plan;
pub mod settings;
pub mod standing;
pub mod step;
pub mod system;
pub mod talk;
pub mod this;
pub mod token;
