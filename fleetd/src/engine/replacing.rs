//! `Replaces=`: which unit drives which one off its machine (fleet-reference §2.6, with quirk 6 fixed).
//!
//! A unit takes the place of those that its patterns match on whichever machine it comes to; it is not drawn to where
//! they are, and keeps away from there only if they would have no other place. It stays, they move: to a machine that passes their filters, and they
//! have a verdict while there is none. So who has to go depends on what is declared alone, and nothing flaps.
//!
//! What goes round in a circle is ignored: of two that name each other (as in fleet), or of any number, nobody could
//! stay. A Global unit is where it is and is never driven out; a unit that nobody wants drives nobody out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use units::{DesiredState, Requirements, UnitName};

use crate::cluster::{Cluster, Unit};

/// The units with `Replaces=` that are wanted, and what they ask for.
pub(crate) type Carriers = BTreeMap<UnitName, Arc<Requirements>>;

/// What the carriers say, in this cluster.
#[derive(Debug)]
pub(crate) struct Replacing<'a> {
    cluster: &'a Cluster,
    pub(crate) carriers: Carriers,
}

/// What `unit`, of which that is known, asks for if it is a carrier.
pub(crate) fn carries<'a>(unit: &UnitName, known: Option<&'a Unit>) -> Option<&'a Arc<Requirements>> {
    let known = known?;
    let record = known.record.as_ref().ok()?;
    let requirements = known.requirements.as_ref().ok()?;
    let is_wanted = record.desired != DesiredState::Inactive && !unit.is_template();
    (is_wanted && !requirements.replaces.is_empty()).then_some(requirements)
}

impl<'a> Replacing<'a> {
    /// `carriers` are all there are.
    pub(crate) fn new(cluster: &'a Cluster, carriers: Carriers) -> Self {
        Self { cluster, carriers }
    }

    /// Whether `unit` has a `Replaces=`, and is wanted.
    pub(crate) fn is_carrier(&self, unit: &UnitName) -> bool {
        self.carriers.contains_key(unit)
    }

    /// Whether `other` has to go where `unit` is.
    pub(crate) fn drives_out(&self, unit: &UnitName, other: &UnitName) -> bool {
        self.names(unit, other) && self.can_go(other) && !self.leads_to(other, unit)
    }

    /// Whether `unit` would drive `other` out, were it not for a circle.
    pub(crate) fn is_circular(&self, unit: &UnitName, other: &UnitName) -> bool {
        self.names(unit, other) && self.can_go(other) && self.leads_to(other, unit)
    }

    /// A unit that `unit` drives out, though it has to be on the machine for `MachineOf=`: for that of `unit`, or of
    /// one it has to be with. They would chase each other for ever, so such a unit fits nowhere.
    pub(crate) fn own_peer(&self, unit: &UnitName) -> Option<&'a UnitName> {
        let requirements = self.carriers.get(unit)?;
        let mut seen: BTreeSet<&UnitName> = BTreeSet::new();
        let mut open: Vec<&String> = requirements.machine_of.iter().collect();
        while let Some(peer) = open.pop() {
            let Some((peer, known)) = self.cluster.units.get_key_value(peer.as_str()) else {
                continue;
            };
            if !seen.insert(peer) {
                continue;
            }
            if peer != unit && self.drives_out(unit, peer) {
                return Some(peer);
            }
            open.extend(known.requirements.iter().flat_map(|r| &r.machine_of));
        }
        None
    }

    pub(crate) fn names(&self, unit: &UnitName, other: &UnitName) -> bool {
        let matches = |r: &Arc<Requirements>| r.replaces.iter().any(|glob| glob.matches(other.as_str()));
        unit != other && self.carriers.get(unit).is_some_and(matches)
    }

    /// What cannot be understood keeps what it has.
    fn can_go(&self, unit: &UnitName) -> bool {
        let known = self.cluster.units.get(unit);
        known.is_some_and(|u| u.requirements.as_ref().is_ok_and(|r| !r.global))
    }

    /// Whether one names the other, or one that names it, and so on. Nearly always nothing is asked: what is replaced
    /// seldom replaces.
    fn leads_to(&self, from: &UnitName, to: &UnitName) -> bool {
        if self.names(from, to) {
            return true;
        }
        let mut unseen: BTreeSet<&UnitName> = match self.is_carrier(from) {
            true => self.carriers.keys().collect(),
            false => return false,
        };
        let mut open = vec![from];
        while let Some(unit) = open.pop() {
            if self.names(unit, to) {
                return true;
            }
            let named = unseen.extract_if(.., |other| self.names(unit, other));
            open.extend(named);
        }
        false
    }
}
