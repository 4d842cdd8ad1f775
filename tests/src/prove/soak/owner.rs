//! A user who remembers what was acknowledged.

use std::collections::BTreeMap;

use anyhow::Result;

use super::dice::Dice;
use crate::cluster::Cluster;
use crate::prove::herd;

/// So many names are used again and again.
const NAMES: usize = 60;

/// What the owner of a unit was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It runs.
    Launched,
    /// It is there, and does not run.
    Stopped,
    /// It is not there.
    Gone,
    /// Nothing: the request was not answered, or refused.
    Nothing,
}

/// A user, and what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Owner {
    pub(super) units: BTreeMap<String, Told>,
    pub(super) asked: usize,
    pub(super) acknowledged: usize,
}

impl Owner {
    /// Changes some unit from some machine.
    pub(super) fn change(&mut self, cluster: &Cluster, dice: &mut Dice, number: usize) -> Result<()> {
        let unit = format!("herd@{}.service", dice.below(NAMES));
        let known = self.units.get(&unit).copied().unwrap_or(Told::Gone);
        let (verb, told) = match (known, dice.below(4)) {
            (Told::Gone, _) | (_, 0) => ("start", Told::Launched),
            (_, 1) => ("destroy", Told::Gone),
            (_, 2) => ("load", Told::Stopped),
            (_, _) => ("stop", Told::Stopped),
        };
        self.ask(cluster, number, verb, &unit, told)
    }

    fn ask(&mut self, cluster: &Cluster, number: usize, verb: &str, unit: &str, told: Told) -> Result<()> {
        let words: &[&str] = match verb {
            "destroy" => &["destroy", unit],
            _ => &[verb, "--no-block", unit],
        };
        let output = cluster.fleet(number, words)?;
        self.asked += 1;
        self.acknowledged += usize::from(output.success());
        let told = if output.success() { told } else { Told::Nothing };
        self.units.insert(unit.to_owned(), told);
        Ok(())
    }

    /// Asks again where there was no answer: what came of the first request is nobody's promise.
    pub(super) fn settle(&mut self, cluster: &Cluster) -> Result<()> {
        let open = self.units.iter().filter(|(_, told)| **told == Told::Nothing);
        let open: Vec<String> = open.map(|(unit, _)| unit.clone()).collect();
        for unit in &open {
            cluster.fleet_ok(1, &["start", "--no-block", unit])?;
            self.units.insert(unit.clone(), Told::Launched);
        }
        Ok(())
    }

    /// Units of which the machines show something else than what was acknowledged.
    pub(super) fn wrong(&self, cluster: &Cluster) -> Result<Vec<String>> {
        let census = herd::census(cluster)?;
        let files = cluster.fleet_ok(1, &["list-unit-files", "--no-legend", "--full", "--fields=unit"])?;
        let there: Vec<&str> = files
            .lines()
            .map(str::trim)
            .filter(|name| name.contains("@") && !name.contains("@."))
            .collect();
        let mut wrong = Vec::new();
        for (unit, told) in &self.units {
            let on: Vec<usize> = census
                .keys()
                .filter(|(_, name)| name == unit)
                .map(|(number, _)| *number)
                .collect();
            let is_there = there.contains(&unit.as_str());
            let right = match told {
                Told::Launched => is_there && on.len() == 1,
                Told::Stopped => is_there && on.is_empty(),
                Told::Gone | Told::Nothing => !is_there && on.is_empty(),
            };
            if !right {
                wrong.push(format!(
                    "{unit}: told {told:?}, in the list {is_there}, runs on {on:?}"
                ));
            }
        }
        let strange = there.iter().filter(|name| !self.units.contains_key(**name));
        wrong.extend(strange.map(|name| format!("{name} was never asked for")));
        Ok(wrong)
    }
}
