//! fleet as its user has it: fleetctl on a machine, and what it says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::fleet::workspace;
use crate::http;
use crate::machine::Output;
use crate::wait::{Seen, seen, wait_until};

/// Where unit files lie on a machine.
pub const UNITS: &str = "/root/units";

/// A row of `fleetctl list-units`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The machine's number.
    pub machine: usize,
    /// systemd's ActiveState.
    pub active: String,
    /// systemd's SubState.
    pub sub: String,
}

impl Cluster {
    /// Puts a unit file where fleetctl on that machine finds it.
    pub fn unit_file(&self, number: usize, name: &str, text: &str) -> Result<()> {
        self.write(number, &format!("{UNITS}/{name}"), text)
    }

    /// Puts one of the project's examples there.
    pub fn example(&self, number: usize, name: &str) -> Result<()> {
        let path = workspace().join("units/examples").join(name);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("no example {}", path.display()))?;
        self.unit_file(number, name, &text)
    }

    /// fleetctl among the unit files of a machine, however it ends.
    pub fn fleet(&self, number: usize, arguments: &[&str]) -> Result<Output> {
        let script = format!("mkdir -p {UNITS} && cd {UNITS} && exec fleetctl \"$@\"");
        self.exec(number, &[&["sh", "-c", &script, "sh"], arguments].concat())
    }

    /// fleetctl among the unit files of a machine; it must succeed.
    pub fn fleet_ok(&self, number: usize, arguments: &[&str]) -> Result<String> {
        let output = self.fleet(number, arguments)?;
        output
            .ok()
            .with_context(|| format!("fleetctl {}", arguments.join(" ")))
    }

    /// A request to the API of a machine, from the host and without a process; the status and the answer.
    pub fn api(&self, number: usize, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let leader = self.machine(number)?.leader();
        let leader = leader.with_context(|| format!("machine {number} is off"))?;
        let socket = PathBuf::from(format!("/proc/{leader}/root/run/fleet.sock"));
        http::ask(&socket, method, path, body, Duration::from_secs(30))
    }

    /// Asks the API of a machine for a unit of these options, each with its section; the status and the answer.
    pub fn api_put(
        &self,
        number: usize,
        unit: &str,
        desired: &str,
        options: &[[&str; 3]],
    ) -> Result<(u16, String)> {
        let options: Vec<_> = options
            .iter()
            .map(|[section, name, value]| serde_json::json!({"section": section, "name": name, "value": value}))
            .collect();
        let body = serde_json::json!({"name": unit, "desiredState": desired, "options": options});
        self.api(
            number,
            "PUT",
            &format!("/fleet/v1/units/{unit}"),
            &body.to_string(),
        )
    }

    /// The machine whose engine leads, if there is one; asked of etcd on a machine.
    pub fn fleet_leader(&self, number: usize) -> Result<Option<usize>> {
        let id = self
            .etcdctl(
                number,
                &["get", "--print-value-only", "/_coreos.com/fleet/leader"],
            )?
            .ok()?;
        Ok(self.number_of(id.trim()))
    }

    /// Waits until one leads.
    pub fn wait_leader(&self, number: usize) -> Result<usize> {
        wait_until("a leader of fleet", Duration::from_secs(30), || {
            let leader = self.fleet_leader(number)?;
            Ok(leader.map_or_else(|| Seen::NotYet("nobody leads".into()), Seen::Yes))
        })
    }

    /// Waits until fleet lists this many machines.
    pub fn wait_for_machines(&self, number: usize, count: usize) -> Result<()> {
        wait_until(
            &format!("{count} machines in the list"),
            Duration::from_secs(60),
            || {
                let list = self.fleet_ok(number, &["list-machines", "--no-legend", "--fields=machine"])?;
                seen(list.lines().count() == count, || list.clone())
            },
        )
    }

    /// The number of the machine with this id, or beginning of an id.
    pub fn number_of(&self, id: &str) -> Option<usize> {
        let id = id.trim_end_matches('.');
        self.machines()
            .iter()
            .find(|m| !id.is_empty() && m.id().starts_with(id))
            .map(|m| m.number())
    }

    /// `fleetctl list-units`, asked on a machine: rows by unit.
    pub fn units(&self, number: usize) -> Result<BTreeMap<String, Vec<Row>>> {
        let list = self.fleet_ok(
            number,
            &[
                "list-units",
                "--full",
                "--no-legend",
                "--fields=unit,machine,active,sub",
            ],
        )?;
        let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for line in list.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [unit, machine, active, sub] = fields.as_slice() else {
                bail!("cannot read {line:?}")
            };
            let id = machine.split('/').next().unwrap_or_default();
            let machine = self.number_of(id).with_context(|| format!("no machine {id}"))?;
            let row = Row {
                machine,
                active: (*active).to_owned(),
                sub: (*sub).to_owned(),
            };
            rows.entry((*unit).to_owned()).or_default().push(row);
        }
        Ok(rows)
    }

    /// Machines on which fleet says the unit is active.
    pub fn active_on(&self, number: usize, unit: &str) -> Result<Vec<usize>> {
        let mut rows = self.units(number)?.remove(unit).unwrap_or_default();
        rows.retain(|row| row.active == "active");
        Ok(rows.into_iter().map(|row| row.machine).collect())
    }

    /// The one machine on which fleet says the unit is active.
    pub fn home(&self, number: usize, unit: &str) -> Result<usize> {
        match self.active_on(number, unit)?.as_slice() {
            [one] => Ok(*one),
            many => bail!("{unit} is active on machines {many:?}, not on one"),
        }
    }

    /// Waits until fleet says the unit is active on exactly these machines.
    pub fn wait_active(
        &self,
        number: usize,
        unit: &str,
        machines: &[usize],
        deadline: Duration,
    ) -> Result<()> {
        wait_until(&format!("{unit} to be active on {machines:?}"), deadline, || {
            let on = self.active_on(number, unit)?;
            seen(on == machines, || format!("active on {on:?}"))
        })
    }

    /// Waits until a service on that machine answers over HTTP; its answer.
    pub fn wait_http(&self, number: usize, port: u16, deadline: Duration) -> Result<String> {
        wait_until(
            &format!("machine {number} to answer on port {port}"),
            deadline,
            || self.http_get(number, port, "/").map(Seen::Yes),
        )
    }
}
