//! The API of fleetd, typed: v1 as fleet had it, and v2 for what v1 cannot say.

mod endpoint;
mod error;
mod http;
mod sse;
mod stream;
mod tls;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hyper::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use units::wire::v1::{Machine, MachinePage, Unit, UnitPage, UnitState, UnitStatePage};
use units::{DesiredState, MachineId, MachineRecord, UnitName, UnitOption, UnitView};

use crate::printer::Printer;
use crate::ssh::Tunnel;
use http::{Answer, Ask, Client};

pub use endpoint::{Endpoint, EndpointError};
pub use error::ApiError;
pub(crate) use error::why;
pub use stream::EventStream;
pub use tls::{Tls, TlsError};

/// What HTTP libraries take for a path, with a margin.
const LONGEST_PATH: usize = 60_000;

/// Where each machine is reached, as far as that is known.
pub type Addresses = BTreeMap<MachineId, String>;

/// The run counter and the revision that a `POST …/runs` made.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The new value of the counter.
    pub run: u64,
    /// The revision of the change.
    pub revision: i64,
}

#[derive(Deserialize)]
struct Recovery {
    #[serde(default)]
    doubt: Option<String>,
}

/// A fleetd's API.
#[derive(Debug)]
pub struct Api {
    client: Client,
}

impl Api {
    /// Speaks to the API at that endpoint, with `tls` if it is an `https://` one; each request is given up after `timeout`.
    pub fn new(endpoint: Endpoint, tls: Option<Tls>, timeout: Duration, printer: Printer) -> Self {
        Self {
            client: Client::new(endpoint, tls, timeout, printer),
        }
    }

    /// The same, from that host, where `endpoint` then is.
    #[must_use]
    pub fn through(mut self, tunnel: Option<Rc<Tunnel>>) -> Self {
        self.client.tunnel = tunnel;
        self
    }

    /// Whether it is reached through another host.
    pub fn is_tunnelled(&self) -> bool {
        self.client.tunnel.is_some()
    }

    /// A unit with its content.
    pub async fn unit(&self, name: &UnitName) -> Result<Option<Unit>, ApiError> {
        self.find(&format!("/fleet/v1/units/{}", Escaped(name))).await
    }

    /// All units, by name.
    pub async fn units(&self) -> Result<Vec<Unit>, ApiError> {
        self.pages("/fleet/v1/units", |page: UnitPage| {
            (page.units, page.next_page_token)
        })
        .await
    }

    /// The names of all units, in order.
    pub async fn unit_names(&self) -> Result<Vec<UnitName>, ApiError> {
        #[derive(Deserialize)]
        struct Units {
            #[serde(default)]
            units: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            name: UnitName,
        }
        let answer: Units = self.get("/fleet/v2/units").await?;
        let mut names: Vec<UnitName> = answer.units.into_iter().map(|unit| unit.name).collect();
        names.sort();
        Ok(names)
    }

    /// What systemd says of every unit, by unit and machine.
    pub async fn states(&self) -> Result<Vec<UnitState>, ApiError> {
        self.pages("/fleet/v1/state", |page: UnitStatePage| {
            (page.states, page.next_page_token)
        })
        .await
    }

    /// All machines that are there, by id.
    pub async fn machines(&self) -> Result<Vec<Machine>, ApiError> {
        self.pages("/fleet/v1/machines", |page: MachinePage| {
            (page.machines, page.next_page_token)
        })
        .await
    }

    /// The addresses of all machines the cluster remembers.
    pub async fn addresses(&self) -> Result<Addresses, ApiError> {
        #[derive(Deserialize)]
        struct Machines {
            #[serde(default)]
            machines: Vec<Remembered>,
        }
        #[derive(Deserialize)]
        struct Remembered {
            record: MachineRecord,
        }
        let answer: Machines = self.get("/fleet/v2/machines").await?;
        let addresses = answer
            .machines
            .into_iter()
            .map(|machine| (machine.record.id, machine.record.address));
        Ok(addresses.filter(|(_, address)| !address.is_empty()).collect())
    }

    /// Everything the registry says of a unit.
    pub async fn view(&self, name: &UnitName) -> Result<Option<UnitView>, ApiError> {
        self.find(&format!("/fleet/v2/units/{}", Escaped(name))).await
    }

    /// Whether some machine leads, and so places units.
    pub async fn has_leader(&self) -> Result<bool, ApiError> {
        #[derive(Deserialize)]
        struct Leader {
            #[serde(default)]
            machine: Option<String>,
        }
        let leader: Leader = self.get("/fleet/v2/leader").await?;
        Ok(leader.machine.is_some())
    }

    /// Creates a unit, replaces its content, sets its desired state, or two of these at once; gives the revision.
    pub async fn put(
        &self,
        name: &UnitName,
        options: Option<&[UnitOption]>,
        desired: DesiredState,
    ) -> Result<i64, ApiError> {
        let unit = Unit {
            name: name.to_string(),
            options: options.map(<[UnitOption]>::to_vec).unwrap_or_default(),
            desired_state: desired.to_string(),
            ..Unit::default()
        };
        let path = format!("/fleet/v1/units/{}", Escaped(name));
        let body = serde_json::to_vec(&unit).map_err(|error| self.misunderstood(&error))?;
        let answer = self
            .client
            .ask(Ask {
                body,
                ..Ask::new(Method::PUT, &path)
            })
            .await?;
        self.revision(&self.accepted(answer)?)
    }

    /// Removes a unit and gives the revision; `None` if it was not there.
    pub async fn delete(&self, name: &UnitName) -> Result<Option<i64>, ApiError> {
        let path = format!("/fleet/v1/units/{}", Escaped(name));
        let answer = self.client.ask(Ask::new(Method::DELETE, &path)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.revision(&self.accepted(answer)?).map(Some),
        }
    }

    /// Has a unit started once more.
    pub async fn run(&self, name: &UnitName) -> Result<Run, ApiError> {
        #[derive(Deserialize)]
        struct Counter {
            run: u64,
        }
        let path = format!("/fleet/v2/units/{}/runs", Escaped(name));
        let answer = self.accepted(self.client.ask(Ask::new(Method::POST, &path)).await?)?;
        Ok(Run {
            run: self.decode::<Counter>(&answer)?.run,
            revision: self.revision(&answer)?,
        })
    }

    /// Why that machine does not believe the registry, if it does not.
    pub async fn doubt(&self) -> Result<Option<String>, ApiError> {
        Ok(self.get::<Recovery>("/fleet/v2/recovery").await?.doubt)
    }

    /// Has the registry followed as it is; what that machine still doubts afterwards.
    pub async fn recover(&self) -> Result<Option<String>, ApiError> {
        let answer = self
            .client
            .ask(Ask::new(Method::POST, "/fleet/v2/recovery"))
            .await?;
        Ok(self.decode::<Recovery>(&self.accepted(answer)?)?.doubt)
    }

    /// Follows what happens to units: everything about them as it stands, then every change.
    pub async fn events<'n>(
        &self,
        names: impl IntoIterator<Item = &'n UnitName>,
    ) -> Result<EventStream<'_>, ApiError> {
        let mut path = "/fleet/v2/events".to_owned();
        for (index, name) in names.into_iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            path.push_str(&format!("{separator}unit={}", Escaped(name)));
        }
        if path.len() > LONGEST_PATH {
            return Err(ApiError::TooMany);
        }
        let (connection, body) = self.client.open(Ask::new(Method::GET, &path)).await?;
        Ok(EventStream::new(&self.client, connection, body))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let answer = self.client.ask(Ask::new(Method::GET, path)).await?;
        self.decode(&self.accepted(answer)?)
    }

    async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        let answer = self.client.ask(Ask::new(Method::GET, path)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.decode(&self.accepted(answer)?).map(Some),
        }
    }

    async fn pages<P: DeserializeOwned, T>(
        &self,
        path: &str,
        split: impl Fn(P) -> (Vec<T>, String),
    ) -> Result<Vec<T>, ApiError> {
        let (mut all, mut token) = split(self.get(path).await?);
        while !token.is_empty() {
            let (more, next) = split(self.get(&format!("{path}?nextPageToken={token}")).await?);
            all.extend(more);
            token = next;
        }
        Ok(all)
    }

    fn accepted(&self, answer: Answer) -> Result<Answer, ApiError> {
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(self.client.refusal(&answer)),
        }
    }

    fn decode<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ApiError> {
        serde_json::from_slice(&answer.body).map_err(|error| self.misunderstood(&error))
    }

    fn revision(&self, answer: &Answer) -> Result<i64, ApiError> {
        answer
            .revision
            .ok_or_else(|| self.misunderstood(&"no X-Fleet-Revision"))
    }

    fn misunderstood(&self, reason: &dyn std::fmt::Display) -> ApiError {
        ApiError::Answer {
            endpoint: self.client.endpoint.clone(),
            reason: reason.to_string(),
        }
    }
}

/// A unit's name in a URL: of the characters a name may have, only the backslash needs care.
struct Escaped<'a>(&'a UnitName);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.as_str().replace('\\', "%5C"))
    }
}
