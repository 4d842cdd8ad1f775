//! What every init system behind [`Init`](super::Init) must do: tried on the scripted twin by `cargo test`, and on
//! real systemd by the example `init-contract`.
//!
//! A case says in `Err` what it found instead. Its units have names of its own, and it leaves nothing behind.

mod bench;

use futures_util::future::BoxFuture;
use tokio::time::timeout;
use units::UnitName;

pub use self::bench::{Bench, Kind, Script};
use self::bench::{PATIENCE, done, said};
use super::{Event, InitError, JobResult, Owner, Status};

/// What a case found.
pub type Outcome = Result<(), String>;
/// One case.
pub type Case = fn(&mut Bench) -> BoxFuture<'_, Outcome>;

macro_rules! ensure {
    ($condition:expr, $found:expr) => {
        if !$condition {
            return Err(format!("not {}: {:?}", stringify!($condition), $found));
        }
    };
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        /// All cases, by name.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($case), |bench| Box::pin($case(bench)))),*];
    };
}

cases![
    names_nobody_knows,
    link_start_observe_stop,
    a_start_of_what_is_up_changes_nothing,
    a_failure_is_kept_until_it_is_reset,
    a_oneshot_is_reported_though_it_is_forgotten,
    a_stop_takes_the_place_of_a_start,
    restarts_are_counted,
    new_content_needs_a_reload_only_where_the_old_is_held,
    unlinked_names_are_forgotten,
    enable_and_disable,
    enabled_names_are_held_from_the_next_reload_on,
    only_watched_names_are_reported,
    names_of_the_host,
    slices_that_nothing_runs_in_are_free,
];

async fn names_nobody_knows(bench: &mut Bench) -> Outcome {
    let name = UnitName::parse("fleet-case-nobody.service").map_err(|e| e.to_string())?;
    let template = UnitName::parse("fleet-case-nobody@.service").map_err(|e| e.to_string())?;
    let nobody = InitError::NoSuchUnit("fleet-case-nobody.service".to_owned());
    let start = bench.init.start(&name).await;
    ensure!(start.as_ref().err() == Some(&nobody), start);
    let stop = bench.init.stop(&name).await;
    ensure!(stop.as_ref().err() == Some(&nobody), stop);
    bench.init.reset_failed(&name).await.map_err(said)?;
    bench.init.unlink(&name).await.map_err(said)?;
    ensure!(
        bench
            .init
            .link(&bench.directory.join(name.as_str()))
            .await
            .is_err(),
        "linked"
    );
    let names = [name.clone(), template, bench.host.clone(), name.clone()];
    let seen = bench.init.observe(&names).await.map_err(said)?;
    ensure!(seen.iter().map(|(name, _)| name).eq(&names), seen);
    ensure!([0, 1, 3].iter().all(|&at| seen[at].1 == Status::default()), seen);
    ensure!(seen[2].1.active == "active", seen);
    ensure!(bench.init.observe(&[]).await == Ok(Vec::new()), "something");
    let owner = bench.init.owner(&name).await;
    ensure!(owner == Ok(Owner::Nobody), owner);
    Ok(())
}

async fn link_start_observe_stop(bench: &mut Bench) -> Outcome {
    let (name, path) = bench.linked("fleet-case-runs.service", Kind::Runs).await?;
    let idle = bench.status(&name).await?;
    ensure!(
        (idle.load.as_str(), idle.active.as_str()) == ("loaded", "inactive"),
        idle
    );
    ensure!(
        (idle.sub.as_str(), idle.result.as_str()) == ("dead", "success"),
        idle
    );
    ensure!(idle.invocation.is_empty() && idle.main_pid == 0, idle);
    ensure!(
        idle.fragment.as_deref().and_then(|f| f.file_name()) == path.file_name(),
        idle
    );

    // A new name needs no daemon-reload.
    ensure!(bench.start(&name).await? == JobResult::Done, "another result");
    let up = bench
        .until(|status| status.active == "active" && status.main_pid != 0)
        .await?;
    let up = up[up.len() - 1].clone();
    ensure!(
        (up.sub.as_str(), up.result.as_str(), up.load.as_str()) == ("running", "success", "loaded"),
        up
    );
    ensure!(up.invocation.len() == 32 && up.since_us > 0, up);
    let observed = bench.status(&name).await?;
    ensure!(observed == up, (&observed, &up));
    let owner = bench.init.owner(&name).await;
    ensure!(owner == Ok(Owner::Nobody), owner);

    ensure!(bench.stop(&name).await? == JobResult::Done, "another result");
    let down = bench.until(|status| status.active == "inactive").await?;
    let down = &down[down.len() - 1];
    ensure!(
        (down.sub.as_str(), down.result.as_str(), down.main_pid) == ("dead", "success", 0),
        down
    );
    ensure!(
        down.invocation == up.invocation && down.since_us > up.since_us,
        down
    );
    ensure!(
        bench.stop(&name).await? == JobResult::Done,
        "stopping what is stopped is done"
    );
    bench.removed(&name, &path).await
}

async fn a_start_of_what_is_up_changes_nothing(bench: &mut Bench) -> Outcome {
    let (name, path) = bench.linked("fleet-case-again.service", Kind::Runs).await?;
    bench.start(&name).await?;
    let before = bench.status(&name).await?;
    ensure!(bench.start(&name).await? == JobResult::Done, "another result");
    // Nor do a new link and a reload.
    bench.init.link(&path).await.map_err(said)?;
    bench.init.reload().await.map_err(said)?;
    let after = bench.status(&name).await?;
    ensure!(before == after, (&before, &after));
    bench.removed(&name, &path).await
}

async fn a_failure_is_kept_until_it_is_reset(bench: &mut Bench) -> Outcome {
    let (name, path) = bench.linked("fleet-case-fails.service", Kind::Fails).await?;
    let result = bench.start(&name).await?;
    ensure!(result == JobResult::Failed("failed".to_owned()), result);
    let failed = bench.until(|status| status.active == "failed").await?;
    let failed = failed[failed.len() - 1].clone();
    ensure!(
        (failed.sub.as_str(), failed.result.as_str()) == ("failed", "exit-code"),
        failed
    );
    let kept = bench.status(&name).await?;
    ensure!(kept == failed, (&kept, &failed));
    bench.init.reset_failed(&name).await.map_err(said)?;
    let reset = bench.until(|status| status.active == "inactive").await?;
    ensure!(reset[reset.len() - 1].sub == "dead", reset);
    let reset = bench.status(&name).await?;
    ensure!(reset.active == "inactive" && reset.invocation.is_empty(), reset);
    bench.removed(&name, &path).await
}

async fn a_oneshot_is_reported_though_it_is_forgotten(bench: &mut Bench) -> Outcome {
    let (name, path) = bench
        .linked("fleet-case-finishes.service", Kind::Finishes)
        .await?;
    for _ in 0..3 {
        let result = bench.start(&name).await?;
        ensure!(result == JobResult::Done, result);
        let seen = bench.until(|status| status.active == "inactive").await?;
        let last = &seen[seen.len() - 1];
        ensure!(
            (last.sub.as_str(), last.result.as_str()) == ("dead", "success"),
            seen
        );
        ensure!(last.invocation.len() == 32 && last.since_us > 0, seen);
    }
    let idle = bench.status(&name).await?;
    ensure!(idle.active == "inactive" && idle.invocation.is_empty(), idle);
    bench.removed(&name, &path).await
}

async fn a_stop_takes_the_place_of_a_start(bench: &mut Bench) -> Outcome {
    let (name, path) = bench.linked("fleet-case-hangs.service", Kind::Hangs).await?;
    let first = bench.init.start(&name).await.map_err(said)?;
    let again = bench.init.start(&name).await.map_err(said)?;
    let seen = bench.until(|status| status.active == "activating").await?;
    ensure!(seen[seen.len() - 1].sub == "start", seen);
    let stopped = bench.stop(&name).await?;
    ensure!(stopped == JobResult::Done, stopped);
    let (first, again) = (done(first).await?, done(again).await?);
    ensure!(
        (&first, &again) == (&JobResult::Canceled, &JobResult::Canceled),
        (&first, &again)
    );
    let idle = bench.status(&name).await?;
    ensure!(idle.active == "inactive", idle);
    bench.removed(&name, &path).await
}

async fn restarts_are_counted(bench: &mut Bench) -> Outcome {
    let (name, path) = bench.linked("fleet-case-flaps.service", Kind::Flaps).await?;
    ensure!(bench.start(&name).await? == JobResult::Done, "another result");
    let seen = bench
        .until(|status| status.restarts >= 2 && status.active == "active")
        .await?;
    let up: Vec<&Status> = seen.iter().filter(|status| status.main_pid != 0).collect();
    let (first, last) = (up[0], up[up.len() - 1]);
    ensure!(
        first.main_pid != last.main_pid && first.invocation != last.invocation,
        up
    );
    bench.stop(&name).await?;
    bench.until(|status| status.active == "inactive").await?;
    // A new start counts from the beginning.
    bench.start(&name).await?;
    bench
        .until(|status| status.active == "active" && status.restarts == 0)
        .await?;
    bench.removed(&name, &path).await
}

async fn new_content_needs_a_reload_only_where_the_old_is_held(bench: &mut Bench) -> Outcome {
    let (name, path) = bench.linked("fleet-case-content.service", Kind::Finishes).await?;
    // Not held: the file is read as it is at the start.
    bench.write(name.as_str(), Kind::Fails, "")?;
    let result = bench.start(&name).await?;
    ensure!(result == JobResult::Failed("failed".to_owned()), result);
    // Held, since it failed: the old content is run until a reload.
    std::fs::write(&path, Kind::Finishes.text()).map_err(|e| e.to_string())?;
    bench.init.link(&path).await.map_err(said)?;
    let result = bench.start(&name).await?;
    ensure!(result == JobResult::Failed("failed".to_owned()), result);
    bench.init.reload().await.map_err(said)?;
    (bench.script)(&name, Kind::Finishes);
    let result = bench.start(&name).await?;
    ensure!(result == JobResult::Done, result);
    bench.removed(&name, &path).await
}

async fn unlinked_names_are_forgotten(bench: &mut Bench) -> Outcome {
    let (name, path) = bench.linked("fleet-case-gone.service", Kind::Runs).await?;
    bench.start(&name).await?;
    bench.init.unlink(&name).await.map_err(said)?;
    let running = bench.status(&name).await?;
    ensure!(running.active == "active", running);
    let owner = bench.init.owner(&name).await;
    ensure!(owner == Ok(Owner::Nobody), owner);
    bench.stop(&name).await?;
    let gone = bench.status(&name).await?;
    ensure!(gone == Status::default(), gone);
    bench.init.unlink(&name).await.map_err(said)?;
    std::fs::remove_file(&path).map_err(|e| e.to_string())
}

async fn enable_and_disable(bench: &mut Bench) -> Outcome {
    let (plain, plain_path) = bench.linked("fleet-case-plain.service", Kind::Runs).await?;
    let refused = bench.init.enable(&plain_path).await;
    ensure!(matches!(refused, Err(InitError::Refused { .. })), refused);
    bench.removed(&plain, &plain_path).await?;

    let install = "[Install]\nWantedBy=multi-user.target\n";
    let (name, path) = bench.write("fleet-case-install.service", Kind::Runs, install)?;
    bench.init.link(&path).await.map_err(said)?;
    bench.init.enable(&path).await.map_err(said)?;
    let owner = bench.init.owner(&name).await;
    ensure!(owner == Ok(Owner::Nobody), owner);
    ensure!(bench.start(&name).await? == JobResult::Done, "another result");
    bench.removed(&name, &path).await?;
    let gone = bench.status(&name).await?;
    ensure!(gone == Status::default(), gone);
    Ok(())
}

async fn enabled_names_are_held_from_the_next_reload_on(bench: &mut Bench) -> Outcome {
    let install = "[Install]\nWantedBy=multi-user.target\n";
    let (name, path) = bench.write("fleet-case-held.service", Kind::Finishes, install)?;
    bench.init.enable(&path).await.map_err(said)?;
    bench.init.reload().await.map_err(said)?;
    let mut text = Kind::Fails.text().to_owned();
    text.push_str(install);
    std::fs::write(&path, text).map_err(|e| e.to_string())?;
    let result = bench.start(&name).await?;
    ensure!(result == JobResult::Done, result);
    bench.init.reload().await.map_err(said)?;
    (bench.script)(&name, Kind::Fails);
    let result = bench.start(&name).await?;
    ensure!(result == JobResult::Failed("failed".to_owned()), result);
    bench.removed(&name, &path).await?;
    bench.init.reload().await.map_err(said)?;
    let gone = bench.status(&name).await?;
    ensure!(gone == Status::default(), gone);
    Ok(())
}

async fn only_watched_names_are_reported(bench: &mut Bench) -> Outcome {
    let (other, other_path) = bench.linked("fleet-case-other.service", Kind::Runs).await?;
    let (name, path) = bench.linked("fleet-case-watched.service", Kind::Runs).await?;
    bench.start(&other).await?;
    bench.start(&name).await?;
    bench.stop(&other).await?;
    bench.stop(&name).await?;
    let mut ended = false;
    while !ended {
        match timeout(PATIENCE, bench.events.recv()).await {
            Ok(Some(Event::Changed(unit, status))) => {
                ensure!(unit == name, unit);
                ended = status.active == "inactive";
            }
            Ok(Some(event)) => return Err(format!("{event:?} though nobody else did anything")),
            _ => return Err("the end was never reported".to_owned()),
        }
    }
    bench.removed(&other, &other_path).await?;
    bench.removed(&name, &path).await
}

async fn names_of_the_host(bench: &mut Bench) -> Outcome {
    for name in [&bench.host, &bench.alias, &bench.instance] {
        let owner = bench.init.owner(name).await;
        ensure!(
            matches!(&owner, Ok(Owner::Host(path)) if path.is_absolute()),
            (name, &owner)
        );
    }
    let running = bench.status(&bench.host).await?;
    ensure!(running.active == "active", running);
    Ok(())
}

async fn slices_that_nothing_runs_in_are_free(bench: &mut Bench) -> Outcome {
    let name = UnitName::parse("fleetcase.slice").map_err(|e| e.to_string())?;
    // systemd takes the question for a reason to have it.
    bench.status(&name).await?;
    let owner = bench.init.owner(&name).await;
    ensure!(owner == Ok(Owner::Nobody), owner);

    let (name, path) = bench.linked(name.as_str(), Kind::Runs).await?;
    bench.init.reload().await.map_err(said)?;
    ensure!(bench.start(&name).await? == JobResult::Done, "another result");
    bench.until(|status| status.active == "active").await?;
    let owner = bench.init.owner(&name).await;
    ensure!(owner == Ok(Owner::Nobody), owner);
    ensure!(bench.stop(&name).await? == JobResult::Done, "another result");
    bench.until(|status| status.active == "inactive").await?;
    bench.removed(&name, &path).await
}
