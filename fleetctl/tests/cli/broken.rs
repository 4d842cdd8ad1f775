//! What a new user meets when something is not there, and what waiting does when something goes away.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::fake::Part::{After, Close, Raw};
use super::fake::Reply::{Events, HangUp, Silence};
use super::fake::{Fleetd, changed, error, json};
use super::say::*;

const EVENTS: &str = "GET /fleet/v2/events?unit=web.service";

#[test]
fn no_socket() {
    let fleet = Fleetd::new().file(UNIT, WEB).without_socket(false);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API at unix://[DIR]/sock: there is no such socket; is fleetd running? see `systemctl status fleet.socket`, or name another --endpoint
    "#);
    insta::assert_snapshot!(fleet.run("list-units"), @r#"
    exit 1
    ----- stderr
    Error retrieving list of units from repository: cannot reach the fleet API at unix://[DIR]/sock: there is no such socket; is fleetd running? see `systemctl status fleet.socket`, or name another --endpoint
    "#);
    insta::assert_snapshot!(fleet.run("list-machines"), @r#"
    exit 1
    ----- stderr
    Error retrieving list of active machines from fleet API (cannot reach the fleet API at unix://[DIR]/sock: there is no such socket; is fleetd running? see `systemctl status fleet.socket`, or name another --endpoint)
    Possible issues:
      - fleetd is not running, or not there: `systemctl status fleet.service fleet.socket`, --endpoint
      - fleetd is running but cannot reach etcd: `journalctl -u fleet`, `etcdctl endpoint health`
    "#);
}

#[test]
fn nobody_listens() {
    let fleet = Fleetd::new().without_socket(true);
    insta::assert_snapshot!(fleet.run("list-unit-files"), @r#"
    exit 1
    ----- stderr
    Error retrieving list of units from repository: cannot reach the fleet API at unix://[DIR]/sock: nothing listens on that socket; is fleetd running? see `systemctl status fleet.socket`
    "#);
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = fleet.run(&format!("--endpoint http://127.0.0.1:{port} cat web.service"));
    insta::assert_snapshot!(text.replace(&port.to_string(), "[PORT]"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API at http://127.0.0.1:[PORT]: connection refused; does fleet.socket listen on that port? see `systemctl status fleet.socket` there
    "#);
}

#[test]
fn etcd_is_away() {
    let away = || error(503, "fleet server unable to communicate with etcd: no leader");
    let fleet = Fleetd::new()
        .file(UNIT, WEB)
        .on(EVENTS, away())
        .on("GET /fleet/v1/state", away())
        .on("GET /fleet/v1/machines", away())
        .on("GET /fleet/v2/units/web.service", away());
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stderr
    Error: fleetd at unix://[DIR]/sock cannot serve now: fleet server unable to communicate with etcd: no leader; is etcd up? see `journalctl -u fleet` there
    "#);
    insta::assert_snapshot!(fleet.run("list-units"), @r#"
    exit 1
    ----- stderr
    Error retrieving list of units from repository: fleetd at unix://[DIR]/sock cannot serve now: fleet server unable to communicate with etcd: no leader; is etcd up? see `journalctl -u fleet` there
    "#);
    insta::assert_snapshot!(fleet.run("list-machines"), @r#"
    exit 1
    ----- stderr
    Error retrieving list of active machines from fleet API (fleetd at unix://[DIR]/sock cannot serve now: fleet server unable to communicate with etcd: no leader; is etcd up? see `journalctl -u fleet` there)
    Possible issues:
      - fleetd is not running, or not there: `systemctl status fleet.service fleet.socket`, --endpoint
      - fleetd is running but cannot reach etcd: `journalctl -u fleet`, `etcdctl endpoint health`
    "#);
    insta::assert_snapshot!(fleet.run("status web.service"), @r#"
    exit 1
    ----- stderr
    Error: fleetd at unix://[DIR]/sock cannot serve now: fleet server unable to communicate with etcd: no leader; is etcd up? see `journalctl -u fleet` there
    "#);
}

#[test]
fn fleetd_is_older() {
    insta::assert_snapshot!(Fleetd::new().run("stop web.service"), @r#"
    exit 1
    ----- stderr
    Error: fleetd at unix://[DIR]/sock does not know this request: it is older than this fleetctl (0.1.0)
    "#);
}

#[test]
fn fleetd_says_what_is_not_understood() {
    let fleet = Fleetd::new()
        .file(UNIT, WEB)
        .on("GET /fleet/v1/machines", json("<html>"))
        .on(EVENTS, Events(vec![Raw("id: 3\nevent: unit\ndata: {}\n\n")]))
        .on(
            EVENTS,
            Events(vec![Raw(
                "event: current\ndata: {\"kind\":\"current\",\"revision\":1}\n\n",
            )]),
        )
        .on(EVENTS, Events(vec![current(10)]))
        .on(PUT, json(""));
    insta::assert_snapshot!(fleet.run("list-machines"), @r#"
    exit 1
    ----- stderr
    Error retrieving list of active machines from fleet API (the fleet API at unix://[DIR]/sock gave an answer that is not understood (expected value at line 1 column 1): is it a fleetd of version 0.1.0?)
    Possible issues:
      - fleetd is not running, or not there: `systemctl status fleet.service fleet.socket`, --endpoint
      - fleetd is running but cannot reach etcd: `journalctl -u fleet`, `etcdctl endpoint health`
    "#);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stderr
    Error: the fleet API at unix://[DIR]/sock gave an answer that is not understood (event unit: missing field `kind` at line 1 column 2): is it a fleetd of version 0.1.0?
    "#);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stderr
    Error: the fleet API at unix://[DIR]/sock gave an answer that is not understood (event id ""): is it a fleetd of version 0.1.0?
    "#);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: web.service: the fleet API at unix://[DIR]/sock gave an answer that is not understood (no X-Fleet-Revision): is it a fleetd of version 0.1.0?
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn fleetd_hangs_up_or_hangs() {
    let fleet = Fleetd::new()
        .on("GET /fleet/v1/units/web.service", HangUp)
        .on("GET /fleet/v1/units/web.service", Silence);
    insta::assert_snapshot!(fleet.run("cat web.service"), @r#"
    exit 1
    ----- stderr
    Error: the fleet API at unix://[DIR]/sock hung up (connection closed before message completed): was fleetd restarted? try again
    "#);
    insta::assert_snapshot!(fleet.run("--request-timeout 0.3 cat web.service"), @r#"
    exit 1
    ----- stderr
    Error: no answer from the fleet API at unix://[DIR]/sock within 0.3 s: see `journalctl -u fleet` there, or wait longer with --request-timeout
    "#);
}

#[test]
fn over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let fleet = Fleetd::new();
    insta::assert_snapshot!(fleet.run(&format!("--endpoint http://{address} list-machines")), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    "#);
    let request = server.join().unwrap().replace(&address.to_string(), "[ADDRESS]");
    insta::assert_snapshot!(request.replace('\r', ""), @r#"
    GET /fleet/v1/machines HTTP/1.1
    host: [ADDRESS]
    "#);
}

#[test]
fn the_stream_breaks_while_waiting() {
    let fleet = Fleetd::new()
        .file(UNIT, WEB)
        .on(PUT, changed(201, 11))
        .on(
            EVENTS,
            Events(vec![
                current(10),
                After(PUT),
                unit(11, UNIT, record(WEB, Launched)),
                Close,
            ]),
        )
        // fleetd is restarting: it hangs up, then it has not reached etcd yet, then it breaks off in the middle.
        .on(EVENTS, HangUp)
        .on(EVENTS, error(503, "fleet server unable to communicate with etcd"))
        .on(EVENTS, Events(vec![unit(11, UNIT, record(WEB, Launched)), Close]))
        .on(
            EVENTS,
            Events(vec![
                unit(11, UNIT, record(WEB, Launched)),
                placed(12, UNIT, M1),
                current(20),
                Raw("id: 21\nevent: novelty\ndata: {\"kind\":\"novelty\"}\n\n"),
                state(21, UNIT, M1, held(11, true, "active/running")),
            ]),
        );
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    assert_eq!(fleet.count(EVENTS), 5);
}

#[test]
fn the_deadline_holds_while_fleetd_is_away() {
    let fleet = Fleetd::new()
        .file(UNIT, WEB)
        .on(PUT, changed(201, 11))
        .on(
            EVENTS,
            Events(vec![
                current(10),
                After(PUT),
                unit(11, UNIT, record(WEB, Launched)),
                Close,
            ]),
        )
        .on(EVENTS, HangUp);
    insta::assert_snapshot!(fleet.run("start --block-attempts=1 web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Error waiting for units: timed out waiting for unit web.service to report state launched
    It still waits for a place
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn what_is_gone_after_a_break_is_not_remembered() {
    let fleet = Fleetd::new()
        .on("DELETE /fleet/v1/units/web.service", changed(204, 11))
        .on(
            EVENTS,
            Events(vec![
                unit(5, UNIT, record(WEB, Launched)),
                placed(6, UNIT, M1),
                state(7, UNIT, M1, held(5, true, "active/running")),
                current(10),
                After("DELETE"),
                destroyed(11, UNIT),
                Close,
            ]),
        )
        .on(EVENTS, Events(vec![current(20)]));
    insta::assert_snapshot!(fleet.run("destroy web.service"), @r#"
    exit 0
    ----- stdout
    Destroyed web.service
    ----- writes
    DELETE /fleet/v1/units/web.service
    "#);
}

#[test]
fn the_reader_of_the_output_leaves() {
    let machines: Vec<String> = (0..9000).map(|n| format!("{{\"id\":\"{n:032}\"}}")).collect();
    let fleet = Fleetd::new().on(
        "GET /fleet/v1/machines",
        json(format!("{{\"machines\":[{}]}}", machines.join(","))),
    );
    insta::assert_snapshot!(fleet.run_through("list-machines", "head -n 2"), @r#"
    MACHINE→→IP→METADATA
    00000000...→-→-
    exit 0
    "#);
}
