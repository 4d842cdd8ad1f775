//! SIGUSR1: what fleetd holds, as one line of JSON on stdout (fleet-reference §3.6). It is there for people who look
//! into a fleetd that behaves oddly, so nothing of it waits for etcd or systemd.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use units::{MachineId, State, UnitName};

use crate::agent::request::{Dump, UnitState};
use crate::agent::{Request, Standing};
use crate::engine::Candidacy;
use crate::registry::trust::Trust;

/// An agent that does not answer by then hangs; the rest is shown without it.
const ANSWERED: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Dumper {
    /// This machine.
    pub machine: MachineId,
    /// What it holds.
    pub agent: mpsc::Sender<Request>,
    /// Whether it takes part.
    pub standing: Arc<Standing>,
    /// What it has seen of the registry.
    pub trust: Arc<Trust>,
    /// Whether it leads.
    pub candidacy: Arc<Candidacy>,
}

impl Dumper {
    /// Writes the line. `config` is what is in force, without what is nobody's business.
    pub async fn dump(self, config: BTreeMap<&'static str, String>) {
        let (request, answer) = oneshot::channel();
        let asked = async {
            self.agent.send(Request::Dump(request)).await.ok()?;
            answer.await.ok()
        };
        let agent = tokio::time::timeout(ANSWERED, asked).await.ok().flatten();
        if agent.is_none() {
            tracing::warn!("the agent did not say what it holds");
        }
        let line = self.line(agent.as_ref(), &config).to_string();
        // Whoever reads stdout may be slow.
        let written = tokio::task::spawn_blocking(move || writeln!(io::stdout(), "{line}")).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "could not write what fleetd holds to stdout");
        }
    }

    fn line(&self, agent: Option<&Dump>, config: &BTreeMap<&'static str, String>) -> Value {
        let known = self.trust.known();
        let shown = |unit: &UnitName, state: &State| json!(UnitState::new(self.machine, unit, state));
        let held = agent.cloned().unwrap_or_default();
        let published: BTreeMap<_, _> = held.published.iter().map(|(u, s)| (u, shown(u, s))).collect();
        let unpublished = held.unpublished.iter();
        let unpublished: BTreeMap<_, _> = unpublished
            .map(|(u, s)| (u, s.as_ref().map(|s| shown(u, s))))
            .collect();
        json!({
            "Agent": {
                "Cache": { "TargetStates": held.targets },
                "AtWork": held.at_work,
                "Revision": held.revision,
                "Answered": agent.is_some(),
            },
            "UnitStatePublisher": { "Cache": published, "ToPublish": unpublished },
            "UnitStateGenerator": { "Subscribed": held.subscribed },
            "Machine": {
                "ID": self.machine,
                "PublicIP": held.address,
                "Metadata": held.metadata,
                "Version": env!("CARGO_PKG_VERSION"),
                "Lease": held.presence.map(|(lease, _)| lease.to_string()),
                "Presence": held.presence.map(|(_, created)| created),
                "Objection": self.standing.objection(),
            },
            "Registry": {
                "Cluster": known.cluster,
                "Revision": known.revision,
                "Doubt": self.trust.doubt().map(|doubt| doubt.to_string()),
            },
            "Engine": {
                "Enabled": self.candidacy.is_allowed(),
                "Leader": self.candidacy.term().is_some(),
                "Fence": self.candidacy.term(),
            },
            "Configuration": config,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use units::{DesiredState, Hold};

    use super::*;

    fn dumper(directory: &std::path::Path) -> Dumper {
        Dumper {
            machine: MachineId::parse("0123456789abcdef0123456789abcdef").unwrap(),
            agent: mpsc::channel(1).0,
            standing: Arc::default(),
            trust: Arc::new(Trust::open(directory).unwrap()),
            candidacy: Arc::default(),
        }
    }

    #[test]
    fn the_line_has_the_names_of_fleet_and_ours() {
        let directory = tempfile::tempdir().unwrap();
        let unit = |name: &str| UnitName::parse(name).unwrap();
        let state = State {
            assignment: 3,
            hold: Hold::Held,
            generation: 2,
            run: 0,
            hash: None,
            started: true,
            load: "loaded".into(),
            active: "active".into(),
            sub: "running".into(),
            result: String::new(),
            restarts: 0,
            since: 0,
            problem: None,
        };
        let held = Dump {
            address: "10.0.0.1".into(),
            revision: Some(7),
            targets: BTreeMap::from([(unit("a.service"), DesiredState::Launched)]),
            published: BTreeMap::from([(unit("a.service"), state)]),
            unpublished: BTreeMap::from([(unit("b.service"), None)]),
            subscribed: BTreeSet::from([unit("a.service")]),
            ..Dump::default()
        };
        let dumper = dumper(directory.path());
        let config = BTreeMap::from([("verbosity", "0".to_owned())]);
        insta::assert_snapshot!(dumper.line(Some(&held), &config), @r#"{"Agent":{"Answered":true,"AtWork":[],"Cache":{"TargetStates":{"a.service":"launched"}},"Revision":7},"Configuration":{"verbosity":"0"},"Engine":{"Enabled":true,"Fence":null,"Leader":false},"Machine":{"ID":"0123456789abcdef0123456789abcdef","Lease":null,"Metadata":{},"Objection":null,"Presence":null,"PublicIP":"10.0.0.1","Version":"0.1.0"},"Registry":{"Cluster":null,"Doubt":null,"Revision":0},"UnitStateGenerator":{"Subscribed":["a.service"]},"UnitStatePublisher":{"Cache":{"a.service":{"ActiveState":"active","LoadState":"loaded","MachineID":"0123456789abcdef0123456789abcdef","SubState":"running","UnitHash":"","UnitName":"a.service"}},"ToPublish":{"b.service":null}}}"#);
        let without = dumper.line(None, &config);
        assert_eq!(without["Agent"]["Answered"], false);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_is_gone_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let dumper = dumper(directory.path());
        let within = tokio::time::timeout(2 * ANSWERED, dumper.dump(BTreeMap::new()));
        within.await.unwrap();
    }
}
