//! `fleetctl status`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use units::{CopyView, Hold, State, UnitName, UnitView};

use super::{Context, pattern};
use crate::error::{During, Error, ExitStatus};
use crate::text;

/// What `systemctl status` answers for a unit that is not active.
const NOT_ACTIVE: u8 = 3;

pub(super) async fn run(context: &Context, units: &[String]) -> Result<ExitStatus, Error> {
    if units.is_empty() {
        context.printer.say("No units given");
    }
    let (units, mut result) = pattern::units(context, units).await?;
    let this_machine = machine_id(&context.machine_id_file);
    let mut is_first = true;
    for unit in units {
        let status = match context.api.view(&unit).await? {
            Some(view) => {
                if !std::mem::take(&mut is_first) {
                    context.printer.line("")?;
                }
                show(context, &view, this_machine.as_deref())?
            }
            None => {
                context.printer.say(format_args!("Unit {unit} does not exist."));
                ExitStatus::Failure
            }
        };
        if result == ExitStatus::Success {
            result = status;
        }
    }
    Ok(result)
}

/// This machine's id; `None` where there is none, or no readable one.
pub(super) fn machine_id(file: &Path) -> Option<String> {
    std::fs::read_to_string(file)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn show(context: &Context, view: &UnitView, this_machine: Option<&str>) -> Result<ExitStatus, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    context.printer.data(describe(view, now))?;
    let is_here = |copy: &CopyView| {
        let held = copy.state.as_ref().is_some_and(|state| state.hold == Hold::Held);
        held && this_machine == Some(copy.machine.as_str())
    };
    match view.copies.iter().any(is_here) {
        true => systemctl(context, &view.name),
        false if is_active(view) => Ok(ExitStatus::Success),
        false => Ok(ExitStatus::Other(NOT_ACTIVE)),
    }
}

/// Has systemd say it itself.
fn systemctl(context: &Context, unit: &UnitName) -> Result<ExitStatus, Error> {
    context.printer.line("")?;
    let status = Command::new("systemctl")
        .args(["status", "-l", "--no-pager", "--"])
        .arg(unit.as_str())
        .status()
        .during("Error running systemctl status")?;
    Ok(match status.code() {
        Some(0) => ExitStatus::Success,
        Some(code) => ExitStatus::Other(u8::try_from(code).unwrap_or(u8::MAX)),
        None => ExitStatus::Failure,
    })
}

/// Whether it is active wherever it belongs.
fn is_active(view: &UnitView) -> bool {
    let active = |copy: &CopyView| {
        let state = copy.state.as_ref().filter(|state| state.hold == Hold::Held);
        state.is_some_and(|state| matches!(state.active.as_str(), "active" | "reloading" | "refreshing"))
    };
    match (&view.placement, view.global) {
        (_, true) => !view.copies.is_empty() && view.copies.iter().all(active),
        (Some(placement), false) => view
            .copies
            .iter()
            .any(|copy| copy.machine == placement.machine && active(copy)),
        (None, false) => false,
    }
}

/// All the registry says, `now` after the epoch.
fn describe(view: &UnitView, now: Duration) -> String {
    let mut text = view.name.to_string();
    if let Some(description) = &view.description {
        let _ = write!(text, " - {description}");
    }
    text.push('\n');
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:>12}: {value}");
    };
    let run = match view.unit.run {
        0 => String::new(),
        run => format!(", run {run}"),
    };
    field("Desired", &format!("{}{run}", view.unit.desired));
    field("Content", view.unit.hash.short());
    match (&view.placement, view.global) {
        (_, true) => field("Placed", "on every machine that fits"),
        (Some(placement), false) => {
            let copy = view.copies.iter().find(|copy| copy.machine == placement.machine);
            let address = copy.map_or("", |copy| copy.address.as_str());
            field(
                "Placed",
                &format!("on {}", text::machine(placement.machine.as_str(), address, false)),
            );
            if !placement.reason.is_empty() {
                field("Because", &placement.reason);
            }
        }
        (None, false) => field("Placed", "nowhere"),
    }
    for copy in &view.copies {
        let machine = text::machine(copy.machine.as_str(), &copy.address, false);
        field("State", &format!("{machine}: {}", copy_words(copy, now)));
        if let Some(problem) = copy.state.as_ref().and_then(|state| state.problem.as_ref()) {
            field("Problem", problem);
        }
    }
    if let (Some(verdict), None) = (&view.verdict, &view.placement) {
        text.push_str(&text::verdict(&view.name, verdict));
        text.push('\n');
    }
    text
}

/// What a machine says of its copy.
fn copy_words(copy: &CopyView, now: Duration) -> String {
    let Some(state) = &copy.state else {
        return "has not answered yet".to_owned();
    };
    let mut text = match state.hold {
        Hold::Gone => return "has let go of it".to_owned(),
        Hold::Refused => return "refused it".to_owned(),
        Hold::Held if state.load.is_empty() => text::systemd(state),
        Hold::Held => format!("{}, {}", state.load, text::systemd(state)),
    };
    if let Some(since) = since(state, now) {
        let _ = write!(text, " for {}", text::span(since));
    }
    match state.restarts {
        0 => {}
        1 => text.push_str(", restarted once"),
        n => {
            let _ = write!(text, ", restarted {n} times");
        }
    }
    if copy.assignment.is_none() {
        text.push_str(", though it does not belong there any more");
    }
    text
}

/// For how many seconds it has been so, if that is known.
fn since(state: &State, now: Duration) -> Option<u64> {
    let since = Duration::from_micros(state.since);
    (state.since > 0).then(|| now.saturating_sub(since).as_secs())
}
