//! What `stop`, `unload`, `destroy` and `restart` share: they change units the cluster has.

use std::collections::{BTreeMap, BTreeSet};

use units::{DesiredState, UnitName};

use super::send::{Change, send_each};
use super::{Context, named, patience};
use crate::api::Addresses;
use crate::cli;
use crate::error::{Error, ExitStatus};
use crate::text;
use crate::wait::{Follower, Goal, Waiter, Watched, What};

/// What tells the four apart.
pub(super) struct Verb {
    /// As in `Triggered unit X stop`.
    pub(super) name: &'static str,
    /// What to wait for, one after the other.
    pub(super) goals: &'static [What],
    /// What an error is called.
    pub(super) failing: &'static str,
    /// Whether units that run everywhere are waited for, too.
    pub(super) waits_for_globals: bool,
}

/// The units of a command that the cluster has.
pub(super) struct Found<'a> {
    follower: Follower<'a>,
    names: Vec<UnitName>,
}

/// How a change went.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Changed, and there.
    pub(super) reached: Vec<UnitName>,
    /// Refused, or not there; reported.
    pub(super) failed: BTreeSet<UnitName>,
}

impl Outcome {
    pub(super) fn status(&self) -> ExitStatus {
        match self.failed.is_empty() {
            true => ExitStatus::Success,
            false => ExitStatus::Failure,
        }
    }
}

/// Finds the units that arguments mean; `None` if the cluster has none of them, which has been said then.
pub(super) async fn find<'a>(context: &'a Context, arguments: &[String]) -> Result<Option<Found<'a>>, Error> {
    if arguments.is_empty() {
        context.printer.say("No units given");
        return Ok(None);
    }
    let names: Vec<UnitName> = named(arguments)?.into_iter().map(|named| named.unit).collect();
    let follower = Follower::open(&context.api, names.clone()).await?;
    let is_known = |name: &UnitName| follower.get(name).is_some_and(|watched| watched.unit.is_some());
    let (names, unknown): (Vec<_>, Vec<_>) = names.into_iter().partition(is_known);
    if names.is_empty() {
        context.printer.say("Units not found in registry");
        return Ok(None);
    }
    for name in unknown {
        context
            .printer
            .say(format_args!("Unit {name} not found in registry, skipped"));
    }
    Ok(Some(Found { follower, names }))
}

impl Found<'_> {
    /// The units, and what is known of them, in the order of the arguments.
    pub(super) fn units(&self) -> impl Iterator<Item = (&UnitName, &Watched, DesiredState)> {
        self.names.iter().filter_map(|name| {
            let watched = self.follower.get(name)?;
            Some((name, watched, watched.unit.as_ref()?.desired))
        })
    }

    /// Sends changes and waits for what they lead to.
    pub(super) async fn change(
        mut self,
        context: &Context,
        verb: &Verb,
        changes: Vec<(UnitName, Change)>,
        wait: cli::Wait,
    ) -> Result<Outcome, Error> {
        let printer = context.printer;
        let is_waited_for = |name: &UnitName| {
            let global = self.follower.get(name).is_some_and(|watched| watched.global);
            !wait.no_block && (verb.waits_for_globals || !global)
        };
        let addresses = async {
            match changes.iter().any(|(name, _)| is_waited_for(name)) {
                // Without them the lines name machines by their ids alone.
                true => context.api.addresses().await.unwrap_or_default(),
                false => Addresses::new(),
            }
        };
        let all = changes.iter().map(|(name, change)| (name, change));
        let (sent, addresses) = tokio::join!(send_each(&context.api, all), addresses);

        let mut outcome = Outcome::default();
        let mut goals: BTreeMap<UnitName, Vec<Goal>> = BTreeMap::new();
        for ((name, change), sent) in changes.iter().zip(sent) {
            let sent = match sent {
                Ok(sent) => sent,
                Err(refused) => {
                    printer.error(verb.failing, &refused);
                    outcome.failed.insert(refused.unit);
                    continue;
                }
            };
            let goal = |what: &What| Goal {
                unit: name.clone(),
                what: *what,
                revision: sent.revision,
                hash: None,
                run: sent.run,
            };
            if is_waited_for(name) {
                goals.insert(name.clone(), verb.goals.iter().map(goal).collect());
            } else {
                printer.line(announcement(verb, name, change, self.follower.get(name)))?;
            }
        }
        let waited: Vec<UnitName> = changes
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| goals.contains_key(name))
            .collect();
        let waiter = Waiter {
            api: &context.api,
            printer,
            follower: &mut self.follower,
            addresses: &addresses,
            patience: patience(wait),
            later: verb.name,
        };
        outcome.failed.extend(waiter.wait(goals).await?);
        outcome.reached = waited
            .into_iter()
            .filter(|name| !outcome.failed.contains(name))
            .collect();
        Ok(outcome)
    }
}

/// fleet's line for a change that is not waited for.
fn announcement(verb: &Verb, name: &UnitName, change: &Change, watched: Option<&Watched>) -> String {
    match (change, watched.is_some_and(|watched| watched.global)) {
        (Change::Delete, _) => format!("Destroyed {name}"),
        (_, true) => format!("Triggered global unit {name} {}", verb.name),
        (_, false) => format!("Triggered unit {name} {}", verb.name),
    }
}

/// fleet's last line of `stop` and `unload`: `stop` and `stopped` for the first.
pub(super) fn conclude(context: &Context, infinitive: &str, past: &str, outcome: &Outcome) {
    match outcome.failed.is_empty() {
        true => {
            let units = text::list(&outcome.reached);
            context
                .printer
                .say(format_args!("Successfully {past} units {units}."));
        }
        false => {
            let units = text::list(&outcome.failed);
            context.printer.say(format_args!(
                "Failed to {infinitive} units {units}. err: see above"
            ));
        }
    }
}
