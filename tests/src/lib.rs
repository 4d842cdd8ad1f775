//! The lab: a cluster of real machines on one host.
//!
//! Everything fleet promises is about machines that run systemd, so the tests run on such machines. Each is a Debian
//! booted by systemd-nspawn with its own PID 1, journal, machine-id and network address, with etcd answering on
//! 127.0.0.1:2379 and Docker and Podman at hand. Faults are verbs: kill, power off, cut off, freeze, heal.
//!
//! The rooms, from the ground up:
//!
//! * [`printer`]: the one place that prints: steps, progress, results;
//! * [`host`]: what this host must offer, and running its commands with errors that say what to do;
//! * [`wait`]: waiting for what cannot announce itself, and saying what was seen last when it does not come;
//! * [`image`]: the Debian trees that machines share, built once and cached;
//! * [`layer`]: what the lab adds to it for one cluster: small units, settings, fleet itself;
//! * [`network`]: names and addresses, the bridge;
//! * [`cgroup`], [`process`]: a machine's processes as the host sees them;
//! * [`machine`]: one machine, its life and its faults;
//! * [`cluster`]: n machines, etcd over them, where they are remembered;
//! * [`etcd`]: what the cluster's store says about itself;
//! * [`watch`]: when what was written to it;
//! * [`http`]: asking a service in a machine from the host;
//! * [`fleet`], [`package`]: building fleet, and handing it to a cluster;
//! * [`forming`]: making a cluster of bare machines with fleet's own commands;
//! * [`clean`]: taking away whatever a crashed run left;
//! * [`bench`]: how long a user waits, and what fleet takes;
//! * [`prove`]: faults on clusters, and whether what ran kept running, in figures;
//! * [`cli`], [`demo`], [`show`]: `cargo lab`.
//!
//! Nothing here remembers what it can ask the kernel for: whether a machine runs, which process is its PID 1, whether
//! its cable is plugged are read anew each time. So a second `cargo lab` sees the same cluster as the first, and a
//! lab that was killed leaves nothing that cannot be found by name.

pub mod bench;
pub mod cgroup;
pub mod clean;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod etcd;
pub mod fleet;
pub mod fleetctl;
pub mod forming;
pub mod host;
pub mod host_etcd;
pub mod http;
pub mod image;
pub mod job;
pub mod layer;
pub mod machine;
pub mod network;
pub mod package;
pub mod printer;
pub mod process;
pub mod prove;
pub mod show;
pub mod wait;
pub mod watch;
