//! `fleetctl recover`.

use super::Context;
use crate::error::{Error, ExitStatus};

pub(super) async fn run(context: &Context, dry_run: bool) -> Result<ExitStatus, Error> {
    let printer = context.printer;
    let Some(doubt) = context.api.doubt().await? else {
        printer.say("Nothing to recover from: this machine believes the registry.");
        return Ok(ExitStatus::Success);
    };
    printer.say(format_args!("This machine has a doubt: {doubt}"));
    if dry_run {
        printer.say("With `fleetctl recover` every machine of the cluster would put back what it runs and the registry");
        printer.say("does not know, or knows in an older version, and then follow the registry as it is.");
        return Ok(ExitStatus::Success);
    }
    match context.api.recover().await? {
        None => {
            printer.say("Recovered: this machine put back what it runs and follows the registry as it is.");
            printer.say("Others in doubt do the same by themselves; units are placed again in 15 s.");
            printer.say(
                "hint: `fleetctl list-machines`, `fleetctl list-units`; submit anew what nobody was running",
            );
            Ok(ExitStatus::Success)
        }
        Some(doubt) => Err(Error::Failed {
            what: "Error",
            message: format!("the word was given, but this machine still has a doubt: {doubt}"),
        }),
    }
}
