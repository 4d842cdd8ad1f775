//! What `submit`, `load` and `start` share: they bring units into the cluster, and then forward.
//!
//! First everything is looked at, then everything is checked, then everything is sent, then it is waited for. A unit
//! that is new, or gets new content, takes its desired state in the same request.

use std::collections::BTreeMap;

use units::{DesiredState, Hash, State, UnitName};

use super::content::{self, Content, ContentError, Finder, Origin};
use super::send::{Change, Refused, Sent, send_all};
use super::{Context, Named, named, patience};
use crate::api::Addresses;
use crate::cli::{Bring, Wait};
use crate::error::{During, Error, ExitStatus};
use crate::wait::{Follower, Goal, Progress, Waiter, Watched, What, progress};

/// What tells the three apart.
pub(super) struct Verb {
    /// As in `Triggered unit X start`.
    pub(super) name: &'static str,
    /// How far it brings a unit.
    pub(super) desired: DesiredState,
    /// What to wait for, one after the other.
    pub(super) goals: &'static [What],
    /// What an error is called once the units are there.
    pub(super) failing: &'static str,
    /// What happens by itself once a machine fits.
    pub(super) later: &'static str,
}

/// fleet's name for an error before the units are there.
const CREATING: &str = "Error creating units";

/// What to do about a unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// It is as asked, or cannot be helped.
    Nothing,
    /// It was asked for before, and is not there yet.
    Wait,
    /// Send this.
    Send(Change),
}

struct Plan {
    unit: UnitName,
    step: Step,
    global: bool,
    /// The cluster does not know it yet.
    new: bool,
    /// `--replace` was for nothing.
    same: bool,
}

/// Runs one of the three.
pub(super) async fn run(
    context: &Context,
    verb: &Verb,
    args: &Bring,
    wait: Wait,
) -> Result<ExitStatus, Error> {
    if args.units.is_empty() {
        context.printer.say("No units given");
        return Ok(ExitStatus::Success);
    }
    let all = named(&args.units)?;
    refuse_templates(verb, &all)?;
    let names = all.iter().map(|named| named.unit.clone());
    let mut follower = Follower::open(&context.api, names).await?;

    let mut finder = Finder::new(&context.api, context.printer);
    let mut plans = Vec::with_capacity(all.len());
    for named in &all {
        let unknown = Watched::default();
        let watched = follower.get(&named.unit).unwrap_or(&unknown);
        plans.push(
            plan(context, verb, args.replace, named, watched, &mut finder)
                .await
                .during(CREATING)?,
        );
    }

    let (sent, addresses) = send(context, &plans, !wait.no_block)
        .await
        .map_err(|refused| Error::Failed {
            what: if refused.with_content {
                CREATING
            } else {
                verb.failing
            },
            message: refused.to_string(),
        })?;
    let goals = announce(context, verb, wait, &plans, sent)?;
    let waiter = Waiter {
        api: &context.api,
        printer: context.printer,
        follower: &mut follower,
        addresses: &addresses,
        patience: patience(wait),
        later: verb.later,
    };
    match waiter.wait(goals).await?.is_empty() {
        true => Ok(ExitStatus::Success),
        false => Ok(ExitStatus::Failure),
    }
}

/// A template can be known to the cluster, but never runs.
fn refuse_templates(verb: &Verb, all: &[Named]) -> Result<(), Error> {
    let template = all
        .iter()
        .map(|named| &named.unit)
        .find(|unit| unit.is_template());
    match template {
        Some(unit) if verb.desired > DesiredState::Inactive => Err(Error::Failed {
            what: verb.failing,
            message: format!(
                "cannot activate template \"{unit}\"; {} an instance of it: fleetctl {} {}@1.{}",
                verb.name,
                verb.name,
                unit.prefix(),
                unit.suffix()
            ),
        }),
        _ => Ok(()),
    }
}

async fn plan(
    context: &Context,
    verb: &Verb,
    replace: bool,
    named: &Named,
    watched: &Watched,
    finder: &mut Finder<'_>,
) -> Result<Plan, ContentError> {
    let unit = &named.unit;
    let with_content = |content: Content, global| Plan {
        unit: unit.clone(),
        global,
        new: watched.unit.is_none(),
        same: false,
        step: Step::Send(Change::Put {
            content: Some(content.file),
            desired: verb.desired,
        }),
    };
    let with_step = |step| Plan {
        unit: unit.clone(),
        global: watched.global,
        new: false,
        same: false,
        step,
    };
    let Some(record) = &watched.unit else {
        let content = finder.create(named, replace).await?;
        let global = finder.check(unit, &content)?;
        return Ok(with_content(content, global));
    };
    if !replace {
        compare(context, named, record.hash);
        return Ok(with_step(transition(verb, unit, watched)));
    }
    let content = finder.replace(named).await?;
    if content.file.hash() == record.hash {
        return Ok(Plan {
            same: true,
            ..with_step(transition(verb, unit, watched))
        });
    }
    if record.desired > verb.desired {
        let state = record.desired;
        context.printer.say(format_args!(
            "Warning: can not replace Unit({unit}) in state '{state}', use the appropriate command"
        ));
        // To go on would stop what runs, for nothing.
        return Ok(with_step(Step::Nothing));
    }
    let global = finder.check(unit, &content)?;
    Ok(with_content(content, global))
}

/// Warns of a file here that says something else than the registry, which is what counts.
fn compare(context: &Context, named: &Named, registered: Hash) {
    let unit = &named.unit;
    match content::local(named) {
        Ok(Some(Content { file, origin })) if file.hash() != registered => {
            let kind = match origin {
                Origin::Template(_) => "local template unit file",
                Origin::File(_) | Origin::Registry(_) => "local unit file",
            };
            context.printer.warning(format_args!(
                "Unit {unit} in registry differs from {kind} {origin}. Add --replace to override."
            ));
        }
        Ok(_) => {}
        Err(error) => context
            .printer
            .warning(format_args!("{error}; unit {unit} in registry is used")),
    }
}

/// What to do about a unit whose content is as it shall be.
pub(super) fn transition(verb: &Verb, unit: &UnitName, watched: &Watched) -> Step {
    let Some(record) = &watched.unit else {
        return Step::Nothing;
    };
    if verb.goals.is_empty() {
        return Step::Nothing;
    }
    if record.desired != verb.desired {
        return Step::Send(Change::Put {
            content: None,
            desired: verb.desired,
        });
    }
    if watched.global {
        return Step::Nothing;
    }
    if verb.desired == DesiredState::Launched && watched.present_state().is_some_and(State::ended) {
        return Step::Send(Change::Run);
    }
    let reached = |what: &What| {
        let goal = goal(unit, *what, None, None);
        matches!(progress(&goal, watched, &Addresses::new()), Progress::Reached(_))
    };
    match verb.goals.iter().all(reached) {
        true => Step::Nothing,
        false => Step::Wait,
    }
}

/// Sends what is to be sent, and meanwhile asks where the machines are, for the lines to come.
async fn send(context: &Context, plans: &[Plan], wait: bool) -> Result<(Vec<Sent>, Addresses), Refused> {
    let changes = plans.iter().filter_map(|plan| match &plan.step {
        Step::Send(change) => Some((&plan.unit, change)),
        Step::Nothing | Step::Wait => None,
    });
    let addresses = async {
        match wait
            && plans
                .iter()
                .any(|plan| plan.step != Step::Nothing && !plan.global)
        {
            // Without them the lines name machines by their ids alone.
            true => context.api.addresses().await.unwrap_or_default(),
            false => Addresses::new(),
        }
    };
    let (sent, addresses) = tokio::join!(send_all(&context.api, changes), addresses);
    Ok((sent?, addresses))
}

/// Says what was sent, and gives what to wait for.
fn announce(
    context: &Context,
    verb: &Verb,
    wait: Wait,
    plans: &[Plan],
    sent: Vec<Sent>,
) -> Result<BTreeMap<UnitName, Vec<Goal>>, Error> {
    let mut sent = sent.into_iter();
    let mut goals = BTreeMap::new();
    for Plan {
        unit,
        step,
        global,
        new,
        same,
    } in plans
    {
        if *same {
            let line = format_args!("Found same Unit({unit}) in Registry, nothing to do");
            context.printer.line(line)?;
        }
        let (change, sent) = match step {
            Step::Nothing => continue,
            Step::Wait => (None, None),
            Step::Send(change) => (Some(change), sent.next()),
        };
        let hash = match change {
            Some(Change::Put {
                content: Some(file), ..
            }) => Some(file.hash()),
            _ => None,
        };
        // fleet's line for content that is there now, and has been given to no machine.
        if hash.is_some() && (*new || verb.desired == DesiredState::Inactive) {
            context.printer.line(format_args!("Unit {unit} inactive"))?;
        }
        if verb.goals.is_empty() {
            continue;
        }
        match (change, *global, wait.no_block) {
            (Some(_), true, _) => context
                .printer
                .line(format_args!("Triggered global unit {unit} {}", verb.name))?,
            (Some(_), false, true) => context
                .printer
                .line(format_args!("Triggered unit {unit} {}", verb.name))?,
            (None, _, true) | (None, true, _) => {}
            (_, false, false) => {
                let all = verb.goals.iter().map(|what| goal(unit, *what, hash, sent));
                goals.insert(unit.clone(), all.collect());
            }
        }
    }
    Ok(goals)
}

fn goal(unit: &UnitName, what: What, hash: Option<Hash>, sent: Option<Sent>) -> Goal {
    Goal {
        unit: unit.clone(),
        what,
        revision: sent.map_or(0, |sent| sent.revision),
        hash,
        run: sent.map_or(0, |sent| sent.run),
    }
}
