//! `coreos.etcd2` and the older `coreos.etcd`, carried to today's etcd.

mod keys;
mod old;
mod settle;
mod url;

pub(super) use keys::{expand, read as read_etcd2};
pub(super) use old::read as read_etcd;
pub(super) use settle::settle;

use std::collections::BTreeMap;

use super::section::Field;

/// A value with where it stands.
#[derive(Debug)]
pub(super) struct At<'a, T> {
    field: Field<'a>,
    value: T,
}

/// What a section asks for, before it is known what this machine is to the cluster.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Settings that are taken as they are.
    environment: BTreeMap<String, String>,
    name: Option<At<'a, String>>,
    /// Names and peer addresses of the first members.
    initial_cluster: Option<At<'a, Vec<(String, String)>>>,
    /// `initial_cluster_state: existing`.
    existing: Option<Field<'a>>,
    /// `proxy: on`.
    proxy: Option<Field<'a>>,
    /// Something says which machines make the cluster, right or wrong.
    has_cluster: bool,
    /// `peers` of the older section.
    peers: Option<At<'a, Vec<String>>>,
    listen_client: Option<At<'a, Vec<String>>>,
    listen_peer: Option<At<'a, Vec<String>>>,
    advertise_client: Option<At<'a, Vec<String>>>,
    advertise_peer: Option<At<'a, Vec<String>>>,
}

const WITHOUT_DISCOVERY: &str = "discovery services are gone: list the machines in initial-cluster instead, or use `fleetctl init` and `fleetctl join`";
const NO_V2_DATA: &str = "etcd 3 cannot read the data of etcd 2: the directory has to be empty";
