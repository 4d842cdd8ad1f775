//! What every unit costs that is submitted, read or compared: `cargo bench -p units`.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot build its input fails by panicking"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use units::{Glob, Requirements, UnitFile, UnitName};

/// What people submit.
const TYPICAL: &str = include_str!("../examples/web@.service");

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    texts(&mut criterion);
    names(&mut criterion);
    patterns(&mut criterion);
    criterion.final_summary();
}

/// The typical unit, and the same with a long environment, up to so many bytes.
fn corpus() -> Vec<(&'static str, String)> {
    let grown = |bytes: usize| {
        let mut text = TYPICAL.to_owned();
        text.push_str("\n[Service]\n");
        for n in 0.. {
            let line = format!("Environment=\"SETTING_{n}=value of setting {n}\"\n");
            if text.len() + line.len() > bytes {
                break;
            }
            text.push_str(&line);
        }
        text
    };
    vec![
        ("typical", TYPICAL.to_owned()),
        ("4-KiB", grown(4 << 10)),
        ("64-KiB", grown(64 << 10)),
    ]
}

fn texts(criterion: &mut Criterion) {
    let name = UnitName::parse("web@1.service").unwrap();
    for (size, text) in corpus() {
        let file = UnitFile::parse(&text).unwrap();
        let mut group = criterion.benchmark_group("text");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("parse", size), |bencher| {
            bencher.iter(|| UnitFile::parse(black_box(&text)));
        });
        group.bench_function(BenchmarkId::new("hash", size), |bencher| {
            bencher.iter(|| black_box(&file).hash());
        });
        group.bench_function(BenchmarkId::new("requirements", size), |bencher| {
            bencher.iter(|| Requirements::parse(black_box(&name), black_box(&file)));
        });
        group.finish();
    }
}

fn names(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("name");
    for name in ["hello.service", "web@1.service"] {
        group.bench_with_input(BenchmarkId::new("parse", name), name, |bencher, name| {
            bencher.iter(|| UnitName::parse(black_box(name)));
        });
    }
    group.finish();
}

fn patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("glob");
    for (case, pattern, name) in [
        ("hit", "web@*", "web@12345.service"),
        ("miss", "web@*", "database@12345.service"),
        ("exact", "web@12345.service", "web@12345.service"),
        // Every star may take more before it is given up.
        ("hard", "*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.service"),
    ] {
        let glob = Glob::parse(pattern).unwrap();
        group.bench_function(BenchmarkId::new("match", case), |bencher| {
            bencher.iter(|| black_box(&glob).matches(black_box(name)));
        });
    }
    group.finish();
}
