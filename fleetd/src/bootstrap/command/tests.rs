//! The command on machines in memory.

mod again;
mod bad;
mod good;
mod refused;
mod units;

use std::net::IpAddr;
use std::sync::Mutex;

use super::*;
use crate::bootstrap::system::memory::Memory;

/// What came of a run.
struct Ran {
    code: u8,
    out: String,
    said: Vec<String>,
    changes: Vec<String>,
}

fn facts() -> Facts {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Facts {
        hostname: "core-01".to_owned(),
        machine_id: "01010101010101010101010101010101".to_owned(),
        addresses: vec![address("127.0.0.1"), address("172.17.0.1"), address("10.0.0.11")],
        default_address: Some(address("10.0.0.11")),
        ..Facts::default()
    }
}

fn run_on(system: &Memory, arguments: &[&str], text: &[u8], facts: Facts) -> Ran {
    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }
    let line = [&["bootstrap", "f.yaml"], arguments].concat();
    let arguments = <Line as clap::Parser>::parse_from(line).arguments;
    let (out, said) = (Mutex::new(String::new()), Mutex::new(Vec::new()));
    let outside = Outside {
        name: "f.yaml".to_owned(),
        bytes: text.to_vec(),
        facts,
        system,
        out: &|line| {
            let mut out = out.lock().unwrap();
            out.push_str(line);
            out.push('\n');
        },
        talk: &|line| said.lock().unwrap().push(line.to_owned()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let code = runtime.block_on(carry_out(&arguments, &outside));
    drop(outside);
    Ran {
        code,
        out: out.into_inner().unwrap(),
        said: said.into_inner().unwrap(),
        changes: system.changes(),
    }
}

fn run_new(arguments: &[&str], text: &str) -> Ran {
    run_on(&Memory::new("core-01"), arguments, text.as_bytes(), facts())
}
