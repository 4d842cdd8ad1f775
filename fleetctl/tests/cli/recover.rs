//! `recover`.

use super::fake::{Fleetd, error, json};

const DOUBT: &str =
    r#"{"doubt":"the registry went back from revision 90 to 40: it was restored","cluster":"u0"}"#;
const NONE: &str = r#"{"doubt":null,"cluster":"u1"}"#;

#[test]
fn there_is_nothing_to_recover_from() {
    insta::assert_snapshot!(Fleetd::new().on("GET /fleet/v2/recovery", json(NONE)).run("recover"), @r#"
    exit 0
    ----- stderr
    Nothing to recover from: this machine believes the registry.
    "#);
}

#[test]
fn a_person_decides() {
    let fleet = Fleetd::new()
        .on("GET /fleet/v2/recovery", json(DOUBT))
        .on("POST /fleet/v2/recovery", json(NONE));
    insta::assert_snapshot!(fleet.run("recover --dry-run"), @r#"
    exit 0
    ----- stderr
    This machine has a doubt: the registry went back from revision 90 to 40: it was restored
    With `fleetctl recover` every machine of the cluster would put back what it runs and the registry
    does not know, or knows in an older version, and then follow the registry as it is.
    "#);
    insta::assert_snapshot!(fleet.run("recover"), @r#"
    exit 0
    ----- stderr
    This machine has a doubt: the registry went back from revision 90 to 40: it was restored
    Recovered: this machine put back what it runs and follows the registry as it is.
    Others in doubt do the same by themselves; units are placed again in 15 s.
    hint: `fleetctl list-machines`, `fleetctl list-units`; submit anew what nobody was running
    ----- writes
    POST /fleet/v2/recovery
    "#);
}

#[test]
fn it_does_not_come_to_its_end() {
    let doubtful = || Fleetd::new().on("GET /fleet/v2/recovery", json(DOUBT));
    insta::assert_snapshot!(doubtful().on("POST /fleet/v2/recovery", json(DOUBT)).run("recover"), @r#"
    exit 1
    ----- stderr
    This machine has a doubt: the registry went back from revision 90 to 40: it was restored
    Error: the word was given, but this machine still has a doubt: the registry went back from revision 90 to 40: it was restored
    ----- writes
    POST /fleet/v2/recovery
    "#);
    let away = error(
        503,
        "fleet server unable to communicate with etcd: no endpoint answered",
    );
    insta::assert_snapshot!(doubtful().on("POST /fleet/v2/recovery", away).run("recover"), @r#"
    exit 1
    ----- stderr
    This machine has a doubt: the registry went back from revision 90 to 40: it was restored
    Error: fleetd at unix://[DIR]/sock cannot serve now: fleet server unable to communicate with etcd: no endpoint answered; is etcd up? see `journalctl -u fleet` there
    ----- writes
    POST /fleet/v2/recovery
    "#);
}
