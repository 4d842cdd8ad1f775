//! The proofs of `cargo lab prove`, short: the same functions on fewer units and for less time.

use std::time::Duration;

use anyhow::Result;
use lab::cluster::{Cluster, Etcd, Options};
use lab::printer::Printer;
use lab::prove::soak::{self, Soak};
use lab::prove::{Report, Settings, crash, cut, flap, identity, leader, member, moved, outage};

use crate::harness::{Scenario, fresh};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        fresh(
            "proofs::an_outage_of_a_single_etcd_3_4_touches_no_unit",
            Options {
                etcd: Etcd::Host,
                members: 1,
                ..machines(3)
            },
            |cluster| kept(outage::stopped, cluster),
        ),
        fresh(
            "proofs::a_wiped_etcd_touches_no_unit_and_says_what_to_do",
            machines(3),
            |cluster| kept(outage::wiped, cluster),
        ),
        fresh(
            "proofs::a_restored_etcd_touches_no_unit_and_says_what_to_do",
            machines(3),
            |cluster| kept(outage::restored, cluster),
        ),
        fresh("proofs::the_next_leader_places_soon", machines(3), |cluster| {
            kept(leader::lost, cluster)
        }),
        fresh(
            "proofs::a_machine_cut_off_runs_what_keeps_and_ends_what_stops",
            machines(3),
            |cluster| kept(cut::one, cluster),
        ),
        fresh(
            "proofs::three_of_five_machines_cut_off_for_a_ttl_move_nothing",
            machines(5),
            |cluster| kept(cut::three_of_five, cluster),
        ),
        fresh(
            "proofs::changes_go_through_while_the_leaders_own_etcd_is_frozen",
            machines(3),
            |cluster| kept(member::lost, cluster),
        ),
        fresh(
            "proofs::a_machine_with_the_id_of_another_is_refused",
            machines(4),
            |cluster| kept(identity::cloned, cluster),
        ),
        fresh("proofs::a_slow_stop_delays_the_move", machines(3), |cluster| {
            kept(moved::slow_stop, cluster)
        }),
        fresh(
            "proofs::units_that_flap_do_not_keep_a_start_waiting",
            machines(3),
            |cluster| kept(flap::flapping, cluster),
        ),
        fresh(
            "proofs::fleetd_killed_in_the_middle_ends_up_right",
            machines(3),
            |cluster| kept(crash::safety, cluster),
        ),
        fresh(
            "proofs::a_minute_of_random_changes_and_faults_loses_nothing",
            machines(3),
            |cluster| {
                let soak = Soak {
                    duration: Duration::from_secs(60),
                    seed: 1,
                    etcd: Etcd::Image,
                };
                soak::on(cluster, &soak, &Printer::silent(), |_| {})?.kept()
            },
        ),
    ]
}

type Proof = fn(&Cluster, &Settings, &Printer) -> Result<Report>;

fn kept(proof: Proof, cluster: &Cluster) -> Result<()> {
    proof(cluster, &Settings::short(), &Printer::silent())?.kept()
}

/// As `cargo lab prove` has them: in zones a, b and a.
fn machines(count: usize) -> Options {
    Options {
        machines: count,
        zones: ["a", "b", "a"].map(str::to_owned).into(),
        ..Options::default()
    }
}
