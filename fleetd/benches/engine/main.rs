//! How long the engine takes to decide, by what units ask for and how many machines there are.
//!
//! `cargo bench -p fleetd` measures by criterion: the first placement of everything, and one change in a full cluster.
//! Names are `flavour/way/case/machines`, and any part of them picks: `cargo bench -p fleetd -- plain/full/first`.
//! More or other sizes: `FLEET_BENCH_MACHINES=5000 cargo bench -p fleetd -- plain`.
//!
//! `cargo bench -p fleetd -- growth` draws instead how the times grow with the cluster, see [`growth`].

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot build its cluster fails by panicking"
)]
#![allow(clippy::disallowed_types, reason = "real time is what is measured")]

mod bed;
mod case;
mod flavour;
mod growth;
mod leader;
mod plot;

use std::cell::{LazyCell, RefCell};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use bed::Bed;
use case::Case;
use flavour::Flavour;
use leader::Way;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "growth") {
        let sizes = words.iter().filter_map(|word| word.parse().ok()).collect();
        let named = |way: &Way| words.contains(&way.to_string());
        let ways: Vec<Way> = match Way::ALL.into_iter().filter(named).collect::<Vec<_>>() {
            none if none.is_empty() => Way::ALL.to_vec(),
            some => some,
        };
        return growth::run(&ways, sizes).unwrap();
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    // `cargo test --benches` runs each once, to see that it runs.
    let sizes = match words.iter().any(|word| word == "--bench") {
        true => sizes(),
        false => vec![10],
    };
    for (way, flavour) in all() {
        for &machines in &sizes {
            measure(&mut criterion, way, flavour, machines);
        }
    }
    criterion.final_summary();
}

fn sizes() -> Vec<usize> {
    let asked = std::env::var("FLEET_BENCH_MACHINES").unwrap_or_else(|_| "10,100,1000".to_owned());
    asked
        .split(',')
        .map(|size| size.trim().parse().unwrap())
        .collect()
}

fn all() -> impl Iterator<Item = (Way, Flavour)> {
    Way::ALL
        .into_iter()
        .flat_map(|way| Flavour::ALL.map(|flavour| (way, flavour)))
}

fn measure(criterion: &mut Criterion, way: Way, flavour: Flavour, machines: usize) {
    let mut group = criterion.benchmark_group(flavour.to_string());
    // Built only if something in it is asked for.
    let unplaced = LazyCell::new(|| RefCell::new(Bed::unplaced(way, flavour, machines)));
    let full = LazyCell::new(|| RefCell::new(Bed::full(way, flavour, machines)));
    let id = |case: Case| BenchmarkId::new(format!("{way}/{case}"), machines);

    group.throughput(Throughput::Elements(flavour.places(machines)));
    group.bench_function(id(Case::First), |bencher| {
        let mut bed = unplaced.borrow_mut();
        bencher.iter_custom(|times| (0..times).map(|_| bed.time(Case::First).0).sum());
    });
    for case in Case::CHANGES {
        group.throughput(Throughput::Elements(1));
        group.bench_function(id(case), |bencher| {
            let mut bed = full.borrow_mut();
            bencher.iter_custom(|times| (0..times).map(|_| bed.time(case).0).sum());
        });
    }
    group.finish();
}
