//! What users ask for.

use units::DesiredState;

use crate::dice::Dice;

/// Names that users give their units. Few, so that changes meet.
pub const NAMES: [&str; 10] = [
    "web@1.service",
    "web@2.service",
    "web@3.service",
    "db@1.service",
    "db@2.service",
    "a.service",
    "b.service",
    "c.service",
    "job.service",
    "all.service",
];

/// A user's change of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// New, or with another content.
    Put(&'static str, String, DesiredState),
    /// Another desired state.
    Desire(&'static str, DesiredState),
    /// Another run.
    Run(&'static str),
    /// Away with it.
    Destroy(&'static str),
}

/// The text of a unit file that is like the name says, most of the time.
fn text(name: &str, machines: usize, dice: &mut Dice) -> String {
    let mut service = format!("[Service]\nExecStart=/bin/{}\n", dice.below(3));
    let mut fleet = String::new();
    if name.starts_with("job") || dice.chance(10) {
        service += "Type=oneshot\n";
        if dice.chance(30) {
            service += "RemainAfterExit=yes\n";
        }
    }
    let install = if dice.chance(15) {
        "[Install]\nWantedBy=multi-user.target\n"
    } else {
        ""
    };
    match name {
        "all.service" => {
            fleet += "Global=true\n";
            if dice.chance(40) {
                fleet += "MachineMetadata=zone=a\n";
            }
        }
        name if name.starts_with("web@") => {
            fleet += "Conflicts=web@*\n";
            if dice.chance(30) {
                fleet += "FailureDomain=zone\n";
            }
            // Without another throw of the dice: seeds that once found something go on as they did.
            if service.contains("/bin/1") {
                fleet += "Spread=zone\n";
            }
        }
        name if name.starts_with("db@") && dice.chance(50) => fleet += "MachineMetadata=disk=ssd\n",
        "b.service" if dice.chance(60) => fleet += "MachineOf=a.service\n",
        "c.service" if dice.chance(50) => {
            fleet += &format!("MachineID={:032x}\n", 1 + dice.below(machines.min(7)));
        }
        "a.service" | "c.service" if dice.chance(40) => fleet += "Conflicts=db@*\n",
        "a.service" if service.contains("/bin/0") => fleet += "Replaces=db@*\n",
        _ => {}
    }
    if name != "all.service" && dice.chance(20) {
        fleet += "OnDisconnect=stop\n";
    }
    let section = if fleet.is_empty() { "" } else { "[X-Fleet]\n" };
    format!("{service}{install}{section}{fleet}")
}

/// A unit that is to run.
pub fn launch(name: &'static str, machines: usize, dice: &mut Dice) -> Change {
    Change::Put(name, text(name, machines, dice), DesiredState::Launched)
}

/// Any change.
pub fn change(machines: usize, dice: &mut Dice) -> Change {
    let name = *dice.pick(&NAMES);
    match dice.below(100) {
        0..45 => launch(name, machines, dice),
        45..52 => {
            let desired = *dice.pick(&DesiredState::ALL);
            Change::Put(name, text(name, machines, dice), desired)
        }
        52..75 => Change::Desire(name, *dice.pick(&DesiredState::ALL)),
        75..88 => Change::Run(name),
        _ => Change::Destroy(name),
    }
}
