//! `/livez`, `/readyz` and `/metrics`.

use fleetd::api::Here;
use fleetd::registry::encode;
use units::Presence;

use super::stage::{Stage, id};

/// On machine 1, in the boot in which [`Stage::machine`] has it.
fn stage() -> Stage {
    let boot_id = "b".to_owned();
    Stage::with(|api| {
        api.here = Some(Here {
            machine: id(1),
            boot_id,
        })
    })
}

#[tokio::test(start_paused = true)]
async fn alive_is_who_answers_whatever_becomes_of_etcd() {
    let stage = Stage::new();
    stage.link.cut();
    assert_eq!(stage.ask("GET /livez").await, "200 ok");
    assert_eq!(
        stage.ask("GET /livez?verbose").await,
        "200 [+]loops ok\nlivez check passed"
    );
    assert_eq!(stage.send("HEAD", "/livez", &[], "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn ready_is_who_is_registered_trusts_the_registry_and_has_an_etcd_that_answers() {
    let stage = stage();
    let failed = "503 [-]registered failed: this machine has not joined the cluster\nreadyz check failed";
    assert_eq!(stage.ask("GET /readyz").await, failed);

    stage.machine(1, "").await;
    assert_eq!(stage.ask("GET /readyz").await, "200 ok");
    let verbose =
        "200 [+]loops ok\n[+]etcd ok\n[+]registry-trusted ok\n[+]registered ok\nreadyz check passed";
    for query in ["verbose", "verbose=true", "x=1&verbose"] {
        assert_eq!(
            stage.ask(&format!("GET /readyz?{query}")).await,
            verbose,
            "{query}"
        );
    }

    stage.link.cut();
    let answer = stage.send("GET", "/readyz", &[], "").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.starts_with("[-]etcd failed: etcd is not available: "),
        "{}",
        answer.body
    );
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    stage.link.mend();
    stage.link.hang();
    let answer = stage.ask("GET /readyz?verbose").await;
    assert!(answer.contains("[+]loops ok\n[-]etcd failed: "), "{answer}");
    stage.link.mend();
    assert_eq!(stage.ask("GET /readyz").await, "200 ok");

    let mut known = stage.trust.known();
    known.revision = 1000;
    stage.trust.believe(&known, 1, None).unwrap_err();
    let answer = stage.ask("GET /readyz").await;
    let expected = "503 [-]registry-trusted failed: the registry went back from revision 1000 to 1: ";
    assert!(answer.starts_with(expected), "{answer}");
}

/// A presence was enough, whosever it was.
#[tokio::test(start_paused = true)]
async fn a_presence_of_another_boot_or_of_one_that_leaves_makes_nobody_ready() {
    let stage = stage();
    let presence = |boot_id: &str, leaving| {
        encode(&Presence {
            boot_id: boot_id.to_owned(),
            address: String::new(),
            leaving,
        })
    };
    let other = "the presence is of an earlier boot, or of another machine with this id";
    for (said, why) in [
        (presence("of before", false), other),
        (presence("b", true), "this machine is leaving the cluster"),
        ("{".into(), "this machine's presence cannot be read: "),
    ] {
        stage.write(stage.keys.presence(&id(1)), said).await;
        let answer = stage.ask("GET /readyz").await;
        let expected = format!("503 [-]registered failed: {why}");
        assert!(answer.starts_with(&expected), "{answer}");
    }
    stage
        .write(stage.keys.presence(&id(1)), presence("b", false))
        .await;
    assert_eq!(stage.ask("GET /readyz").await, "200 ok");
}

#[tokio::test(start_paused = true)]
async fn metrics_are_told_without_etcd() {
    let stage = Stage::new();
    stage.link.cut();
    let answer = stage.send("GET", "/metrics", &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(answer.headers["server"].starts_with("fleetd/"));
    for line in ["fleet_engine_leader 0", "fleet_engine_reconcile_count_total 0"] {
        assert!(answer.body.lines().any(|l| l == line), "{line}");
    }
    // What only a leader knows.
    assert!(!answer.body.contains("fleet_units"), "{}", answer.body);
    let only_get = r#"405 {"error":{"code":405,"message":"only GET supported against this resource"}}"#;
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(stage.ask(&format!("POST {path}")).await, only_get);
    }
}
