//! What the loop is asked by the rest of fleetd, and what it answers.

use super::*;
use crate::agent::request::{Description, Dump};

impl Loop<'_> {
    pub(super) fn asked(&mut self, request: Request) {
        match request {
            Request::Leave(answer) => self.asked_to_leave(answer),
            Request::Describe(Description {
                address,
                metadata,
                disable_engine,
            }) => {
                self.door.identity.address = address;
                self.door.identity.metadata = metadata;
                self.door.identity.disable_engine = disable_engine;
                self.must_describe = true;
            }
            Request::Dump(answer) => {
                let _ = answer.send(self.dump());
            }
        }
    }

    fn asked_to_leave(&mut self, request: oneshot::Sender<bool>) {
        let Some(joined) = self.joined.clone() else {
            let _ = request.send(false);
            return;
        };
        self.leaving = Some(request);
        let door = self.door.clone();
        self.beside(async move {
            let announced = tokio::time::timeout(LEAVE_ACCEPTED, door.announce_leave(&joined)).await;
            let accepted = match announced {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not leave the cluster; every unit is kept");
                    false
                }
                Err(_) => {
                    tracing::warn!(
                        "could not leave the cluster: the registry did not answer; every unit is kept"
                    );
                    false
                }
            };
            Message::LeaveAnnounced(accepted)
        });
    }

    /// Writes what this machine says of itself, once it has a presence to say it with.
    pub(super) fn describe(&mut self) {
        let Some(joined) = self.joined.clone() else { return };
        if !self.must_describe || self.is_describing || self.is_leaving || self.leaving.is_some() {
            return;
        }
        self.must_describe = false;
        self.is_describing = true;
        let door = self.door.clone();
        self.beside(async move {
            let result = door.describe(&joined).await;
            if result.is_err() {
                // Not a busy loop while the store is away or the presence is being lost.
                sleep(Duration::from_secs(1)).await;
            }
            Message::Described(result)
        });
    }

    pub(super) fn described(&mut self, result: Result<(), AbsenceError>) {
        self.is_describing = false;
        match result {
            // A unit may keep its place by an override from now on, without any new order.
            Ok(()) => self.must_read = true,
            Err(error) => {
                tracing::warn!(%error, "could not tell the cluster what this machine says of itself, trying again");
                self.must_describe = true;
            }
        }
    }

    fn dump(&self) -> Dump {
        let named = |wanted: fn(&Unit) -> bool| {
            let units = self.units.iter().filter(move |(_, unit)| wanted(unit));
            units.map(|(name, _)| name.clone()).collect()
        };
        let target = |(name, unit): (&UnitName, &Unit)| {
            let (assignment, _) = unit.assigned.as_ref()?;
            let wanted = assignment.as_ref().filter(|a| a.phase == Phase::Run)?;
            Some((name.clone(), wanted.desired))
        };
        let (published, unpublished) = self.publisher.dump();
        Dump {
            address: self.door.identity.address.clone(),
            metadata: self.door.identity.metadata.clone(),
            presence: self.joined.as_ref().map(|j| (j.lease, j.created)),
            revision: self.reading.as_ref().map(|r| r.revision),
            targets: self.units.iter().filter_map(target).collect(),
            published,
            unpublished,
            subscribed: named(|unit| unit.held.is_some()),
            at_work: named(|unit| unit.work.is_some()),
        }
    }
}
