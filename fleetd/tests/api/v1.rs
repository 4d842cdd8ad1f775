//! fleet-reference §5, table by table.

use axum::body::Body;

use super::stage::{JSON, Stage, error, id};

const OPTIONS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/true"}]"#;
const OTHERS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/false"}]"#;

/// §5: every answer, whatever it says.
#[tokio::test(start_paused = true)]
async fn every_answer_names_the_server_and_errors_are_json() {
    let stage = Stage::new();
    for (method, path) in [
        ("GET", "/fleet/v1/units"),
        ("GET", "/fleet/v1/units/a.service"),
        ("DELETE", "/fleet/v1/units/a.service"),
        ("GET", "/fleet/v1/discovery"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("POST", "/nowhere"),
        ("BREW", "/fleet/v1/units"),
        ("GET", "/fleet/v1/units/%ff"),
        ("POST", "/fleet/v2/units"),
    ] {
        let answer = stage.send(method, path, &[], "").await;
        assert!(answer.headers["server"].starts_with("fleetd/"), "{method} {path}");
        if answer.status >= 400 {
            assert_eq!(
                answer.headers["content-type"], "application/json",
                "{method} {path}"
            );
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body["error"]["code"], answer.status, "{method} {path}");
            assert!(body["error"]["message"].is_string(), "{method} {path}");
        }
    }
}

/// §5.2, with an empty cluster.
#[tokio::test(start_paused = true)]
async fn routes() {
    let stage = Stage::new();
    let only_get = error(405, "only GET supported against this resource");
    let only_get_and_patch = error(405, "only GET and PATCH supported against this resource");
    let only_unit = error(405, "only GET, PUT and DELETE supported against this resource");
    let no_unit = error(404, "unit does not exist");
    let no_state = error(404, "unit state does not exist");
    for prefix in ["/fleet/v1", "/v1-alpha"] {
        for (request, expected) in [
            ("GET /units", "200 {}"),
            ("GET /state", "200 {}"),
            ("GET /machines", "200 {}"),
            ("GET /state?machineID=x&unitName=y", "200 {}"),
            ("HEAD /units", "200"),
            ("HEAD /state", "200"),
            ("HEAD /machines", "200"),
            ("HEAD /discovery", "200"),
            ("POST /units", &only_get),
            ("DELETE /units", &only_get),
            ("PATCH /units", &only_get),
            ("POST /state", &only_get),
            ("PUT /state/a.service", &only_get),
            ("POST /machines", &only_get_and_patch),
            ("PUT /machines", &only_get_and_patch),
            (
                "POST /discovery",
                &error(400, "only HTTP GET supported against this resource"),
            ),
            (
                "DELETE /discovery",
                &error(400, "only HTTP GET supported against this resource"),
            ),
            ("GET /units/a.service", &no_unit),
            ("DELETE /units/a.service", &no_unit),
            ("GET /units/no-name", &no_unit),
            ("DELETE /units/no-name", &no_unit),
            ("POST /units/a.service", &only_unit),
            ("PATCH /units/a.service", &only_unit),
            ("OPTIONS /units/a.service", &only_unit),
            ("GET /state/a.service", &no_state),
            ("GET /state/no-name", &no_state),
            ("GET /", &error(404, "")),
            ("GET /units/", &error(404, "")),
            ("GET /units/a.service/", &error(404, "")),
            ("GET /state/", &error(404, "")),
            ("GET /machines/", &error(404, "")),
            ("GET /machines/x", &error(404, "")),
            ("GET /discovery/", &error(404, "")),
            ("PUT /nothing", &error(404, "")),
        ] {
            let full = request.replacen(' ', &format!(" {prefix}"), 1);
            assert_eq!(stage.ask(&full).await, expected, "{full}");
        }
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(
                stage.ask(&format!("{method} {prefix}")).await,
                error(405, ""),
                "{method} {prefix}"
            );
        }
    }
    assert_eq!(stage.ask("GET /").await, error(405, ""));
    assert_eq!(stage.ask("POST /").await, error(405, ""));
    for path in ["/fleet", "/fleet/", "/fleet/v3", "/v1", "/units"] {
        assert_eq!(stage.ask(&format!("GET {path}")).await, error(404, ""), "{path}");
    }
}

/// Every method of the document is one of the router's.
#[tokio::test(start_paused = true)]
async fn the_discovery_document_tells_the_truth() {
    let stage = Stage::new();
    stage.machine(1, "").await;
    let body = format!(r#"{{"desiredState":"inactive","options":{OPTIONS}}}"#);
    stage.tell("PUT /fleet/v1/units/a.service", &body).await;
    stage.runs("a.service", 1, true).await;
    let answer = stage.send("GET", "/fleet/v1/discovery", &[], "").await;
    assert_eq!(
        (answer.status, answer.headers["content-type"].as_str()),
        (200, "application/json")
    );
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    for (field, expected) in [
        ("id", "fleet:v1"),
        ("name", "schema"),
        ("version", "v1"),
        ("baseUrl", "$ENDPOINT/fleet/v1/"),
        ("basePath", "/fleet/v1/"),
        ("protocol", "rest"),
    ] {
        assert_eq!(document[field], expected, "{field}");
    }
    let mut methods = Vec::new();
    for resource in document["resources"].as_object().unwrap().values() {
        for method in resource["methods"].as_object().unwrap().values() {
            let text = |field: &str| method[field].as_str().unwrap();
            let path = text("path").replace("{unitName}", "a.service");
            let answer = stage
                .tell(&format!("{} /fleet/v1/{path}", text("httpMethod")), &body)
                .await;
            let expected = if text("httpMethod") == "GET" {
                "200 {\""
            } else {
                "204"
            };
            assert!(answer.starts_with(expected), "{}: {answer}", text("id"));
            let response = method["response"]["$ref"].as_str();
            assert_eq!(response.is_some(), text("httpMethod") == "GET", "{}", text("id"));
            methods.push(text("id").to_owned());
            // It may have been deleted just now.
            stage.tell("PUT /fleet/v1/units/a.service", &body).await;
        }
    }
    methods.sort();
    assert_eq!(
        methods,
        [
            "fleet.Machine.List",
            "fleet.Unit.Delete",
            "fleet.Unit.Get",
            "fleet.Unit.List",
            "fleet.Unit.Set",
            "fleet.UnitState.Get",
            "fleet.UnitState.List",
        ]
    );
}

/// §5.1, with everything that can be said.
#[tokio::test(start_paused = true)]
async fn entities() {
    let stage = Stage::new();
    stage.machine(1, "").await;
    stage.machine(2, "zone=b,rack=7").await;
    for unit in ["b.service", "a.service"] {
        let body = format!(r#"{{"name":"{unit}","desiredState":"launched","options":{OPTIONS}}}"#);
        assert_eq!(
            stage.tell(&format!("PUT /fleet/v1/units/{unit}"), &body).await,
            "201"
        );
    }
    stage.runs("b.service", 2, true).await;
    let (one, two) = (id(1), id(2));
    let a = format!(
        r#"{{"name":"a.service","options":{OPTIONS},"desiredState":"launched","currentState":"inactive"}}"#
    );
    let b = format!(
        r#"{{"name":"b.service","options":{OPTIONS},"desiredState":"launched","currentState":"launched","machineID":"{two}"}}"#
    );
    let state = |machine, active: &str, sub: &str| {
        format!(
            r#"{{"name":"b.service","hash":"1c6fb6f3684bafb0c173d8b8b957ceff031180c1","machineID":"{machine}","systemdLoadState":"loaded","systemdActiveState":"{active}","systemdSubState":"{sub}"}}"#
        )
    };
    let (there, here) = (state(two, "active", "running"), state(one, "inactive", "dead"));
    for (path, expected) in [
        ("units", format!(r#"{{"units":[{a},{b}]}}"#)),
        ("units/a.service", a.clone()),
        ("units/b.service", b.clone()),
        ("state", format!(r#"{{"states":[{there}]}}"#)),
        ("state/b.service", there.clone()),
        (
            "machines",
            format!(
                r#"{{"machines":[{{"id":"{one}","primaryIP":"10.0.0.1"}},{{"id":"{two}","primaryIP":"10.0.0.2","metadata":{{"rack":"7","zone":"b"}}}}]}}"#
            ),
        ),
    ] {
        let answer = stage.ask(&format!("GET /fleet/v1/{path}")).await;
        assert_eq!(answer, format!("200 {expected}"), "{path}");
    }
    // A second copy: sorted by unit, then by machine; filters are exact and the first value of each counts.
    stage.runs("b.service", 1, false).await;
    for (query, expected) in [
        ("", format!(r#"{{"states":[{here},{there}]}}"#)),
        ("?unitName=b.service", format!(r#"{{"states":[{here},{there}]}}"#)),
        (&format!("?machineID={two}"), format!(r#"{{"states":[{there}]}}"#)),
        (
            &format!("?machineID={one}&unitName=b.service"),
            format!(r#"{{"states":[{here}]}}"#),
        ),
        (
            &format!("?machineID={two}&machineID={one}"),
            format!(r#"{{"states":[{there}]}}"#),
        ),
        ("?unitName=b.*", "{}".to_owned()),
        ("?unitName=a.service", "{}".to_owned()),
        (&format!("?machineID={}", one.short()), "{}".to_owned()),
        (
            "?unitName=&machineID=",
            format!(r#"{{"states":[{here},{there}]}}"#),
        ),
    ] {
        let answer = stage.ask(&format!("GET /fleet/v1/state{query}")).await;
        assert_eq!(answer, format!("200 {expected}"), "{query}");
    }
    assert_eq!(
        stage.ask("GET /fleet/v1/state/b.service").await,
        format!("200 {here}")
    );
}

/// §5.3, the checks one by one: each body fails the check of its line and would fail those below it too.
#[tokio::test(start_paused = true)]
async fn put_checks_in_order() {
    let stage = Stage::new();
    let text = ("content-type", "text/plain");
    let json = JSON[0];
    let media = error(415, "only acceptable Content-Type is application/json");
    for (headers, expected) in [
        (vec![], error(415, "expected 1 Content-Type, got 0")),
        (vec![json, json], error(415, "expected 1 Content-Type, got 2")),
        (
            vec![json, text, json],
            error(415, "expected 1 Content-Type, got 3"),
        ),
        (vec![text], media.clone()),
        (vec![("content-type", "application/jsonp")], media.clone()),
        (vec![("content-type", "")], media),
    ] {
        let answer = stage.send("PUT", "/fleet/v1/units/x", &headers, "{").await;
        assert_eq!(answer.line(), expected, "{headers:?}");
    }
    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;x",
    ] {
        let answer = stage
            .send("PUT", "/fleet/v1/units/x", &[("content-type", kind)], "{")
            .await;
        assert!(
            answer
                .line()
                .starts_with(r#"400 {"error":{"code":400,"message":"unable to decode body: "#),
            "{kind}"
        );
    }

    let u = |name: &str, more: &str| format!(r#"{{"name":"{name}"{more}}}"#);
    let differs = r#"name in URL "a.service" differs from unit name in request body "b.service""#;
    let empty = "unit does not exist and options field empty";
    let must = "must provide DesiredState to update existing unit";
    let bogus = r#"invalid desired state "bogus": expected inactive, loaded or launched"#;
    let bad = r#"[{"section":"X-Fleet","name":"Global","value":"true"},{"section":"X-Fleet","name":"MachineOf","value":"b.service"}]"#;
    let conflict = "Global cannot be used with Peers";
    let template = r#"cannot activate template "a@.service""#;
    for (name, body, expected) in [
        (
            "a.service",
            u("b.service", r#","desiredState":"bogus""#),
            error(400, differs),
        ),
        (
            "a",
            u("a", r#","desiredState":"bogus""#),
            error(400, r#"unit name must contain ".""#),
        ),
        ("a", "{}".to_owned(), error(400, r#"unit name must contain ".""#)),
        // Absent.
        (
            "a.service",
            u("a.service", r#","desiredState":"bogus""#),
            error(409, empty),
        ),
        (
            "a.service",
            u("a.service", r#","desiredState":"launched""#),
            error(409, empty),
        ),
        (
            "a@.service",
            u("a@.service", r#","desiredState":"launched""#),
            error(409, empty),
        ),
        (
            "a.service",
            u(
                "a.service",
                &format!(r#","desiredState":"bogus","options":{bad}"#),
            ),
            error(400, conflict),
        ),
        (
            "a.service",
            u(
                "a.service",
                &format!(r#","desiredState":"bogus","options":{OPTIONS}"#),
            ),
            error(400, bogus),
        ),
        (
            "a@.service",
            u(
                "a@.service",
                &format!(r#","desiredState":"launched","options":{OPTIONS}"#),
            ),
            error(400, template),
        ),
        (
            "a.service",
            u("a.service", &format!(r#","options":{OPTIONS}"#)),
            "201".to_owned(),
        ),
        (
            "a@.service",
            u("a@.service", &format!(r#","options":{OPTIONS}"#)),
            "201".to_owned(),
        ),
        // fleet's documentation leaves the name out, and so do clients.
        (
            "b.service",
            format!(r#"{{"desiredState":"launched","options":{OPTIONS}}}"#),
            "201".to_owned(),
        ),
        // Present, with the same content or none.
        ("a.service", u("a.service", ""), error(409, must)),
        (
            "a.service",
            u("a.service", &format!(r#","options":{OPTIONS}"#)),
            error(409, must),
        ),
        (
            "a.service",
            u("a.service", r#","desiredState":"bogus""#),
            error(400, bogus),
        ),
        (
            "a@.service",
            u("a@.service", r#","desiredState":"loaded""#),
            error(400, template),
        ),
        (
            "a@.service",
            u("a@.service", r#","desiredState":"inactive""#),
            "204".to_owned(),
        ),
        (
            "a.service",
            u("a.service", r#","desiredState":"loaded""#),
            "204".to_owned(),
        ),
        (
            "a.service",
            u("", r#","desiredState":"launched""#),
            "204".to_owned(),
        ),
        (
            "a.service",
            u(
                "a.service",
                &format!(r#","desiredState":"launched","options":{OPTIONS}"#),
            ),
            "204".to_owned(),
        ),
        // Present, with another content.
        (
            "a.service",
            u(
                "a.service",
                &format!(r#","desiredState":"launched","options":{bad}"#),
            ),
            error(400, conflict),
        ),
        (
            "a@.service",
            u(
                "a@.service",
                &format!(r#","desiredState":"launched","options":{OTHERS}"#),
            ),
            error(400, template),
        ),
        (
            "a.service",
            u("a.service", &format!(r#","options":{OTHERS}"#)),
            "201".to_owned(),
        ),
    ] {
        let answer = stage.tell(&format!("PUT /fleet/v1/units/{name}"), &body).await;
        assert_eq!(answer, expected, "{name} {body}");
    }
    // The desired state that was not given is inactive, for new content too.
    let unit = stage.ask("GET /fleet/v1/units/a.service").await;
    assert!(
        unit.contains(r#""value":"/bin/false"}],"desiredState":"inactive""#),
        "{unit}"
    );
    assert_eq!(stage.ask("DELETE /fleet/v1/units/a.service").await, "204");
    assert_eq!(
        stage.ask("DELETE /fleet/v1/units/a.service").await,
        error(404, "unit does not exist")
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_limit_is_refused_and_one_at_it_is_read() {
    let stage = Stage::new();
    let limit = 1 << 20;
    let frame = r#"{"x":""}"#.len();
    for (size, expected) in [(limit, 409), (limit + 1, 413)] {
        let body = format!(r#"{{"x":"{}"}}"#, "x".repeat(size - frame));
        for (method, path) in [
            ("PUT", "/fleet/v1/units/a.service"),
            ("PATCH", "/fleet/v1/machines"),
        ] {
            let answer = stage.send(method, path, JSON, body.clone()).await;
            match (method, expected) {
                ("PATCH", 409) => assert_eq!(answer.status, 400, "a map is no list"),
                (_, 409) => assert_eq!(answer.status, 409, "{}", answer.line()),
                _ => assert_eq!(answer.line(), error(413, "the body is larger than 1048576 bytes")),
            }
        }
    }
    // In pieces, without saying how much there will be.
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
    let answer = stage
        .send(
            "PUT",
            "/fleet/v1/units/a.service",
            JSON,
            Body::from_stream(endless),
        )
        .await;
    assert_eq!(answer.line(), error(413, "the body is larger than 1048576 bytes"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stage = Stage::new();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let answer = stage.send("PUT", "/fleet/v1/units/a.service", JSON, never).await;
    let message = "the request did not arrive, or could not be answered, in time";
    assert_eq!(answer.line(), error(408, message));
}

/// §5: fleet said 503 on every route then, and 500 without a word when a single request failed.
#[tokio::test(start_paused = true)]
async fn without_etcd_it_is_503_with_the_reason() {
    let stage = Stage::new();
    stage.link.cut();
    let unit = format!(r#"{{"options":{OPTIONS}}}"#);
    let path = format!("/{}/metadata/zone", id(1));
    let patch = format!(r#"[{{"op":"add","path":"{path}","value":"x"}}]"#);
    for (request, body) in [
        ("GET /fleet/v1/units", ""),
        ("GET /fleet/v1/units/a.service", ""),
        ("PUT /fleet/v1/units/a.service", &unit),
        ("DELETE /fleet/v1/units/a.service", ""),
        ("GET /fleet/v1/state", ""),
        ("GET /fleet/v1/state/a.service", ""),
        ("GET /fleet/v1/machines", ""),
        ("PATCH /fleet/v1/machines", &patch),
        ("PATCH /fleet/v1/machines", "[]"),
    ] {
        let answer = stage.tell(request, body).await;
        let expected =
            r#"503 {"error":{"code":503,"message":"fleet server unable to communicate with etcd: "#;
        assert!(answer.starts_with(expected), "{request}: {answer}");
    }
}

/// §5.4.
#[tokio::test(start_paused = true)]
async fn patch_of_metadata() {
    let stage = Stage::new();
    stage.machine(1, "zone=a,rack=7").await;
    let item = |op: &str, key: &str, value: &str| {
        let value = match value {
            "" => String::new(),
            text => format!(r#","value":{text}"#),
        };
        format!(r#"{{"op":"{op}","path":"/{}/metadata/{key}"{value}}}"#, id(1))
    };
    let op = error(400, "invalid op: expect add, remove, or replace");
    let path = error(400, "machine metadata path invalid");
    let value = error(400, "invalid value: add and replace require a value");
    let good = item("add", "zone", r#""never""#);
    for (wrong, expected) in [
        (item("set", "zone", r#""x""#), &op),
        (item("", "zone", r#""x""#), &op),
        (r#"{}"#.to_owned(), &op),
        (item("add", "a b", r#""x""#), &path),
        (item("remove", "", ""), &path),
        (r#"{"op":"add","path":"/zone","value":"x"}"#.to_owned(), &path),
        (item("add", "zone", ""), &value),
        (item("replace", "zone", r#""""#), &value),
        (item("add", "zone", r#"{"value":""}"#), &value),
        (item("add", "zone", "{}"), &value),
        (item("add", "zone", "null"), &value),
    ] {
        // The good one before it is not carried out either.
        let answer = stage
            .tell("PATCH /fleet/v1/machines", &format!("[{good},{wrong}]"))
            .await;
        assert_eq!(answer, *expected, "{wrong}");
    }
    for nonsense in [
        "",
        "{",
        "{}",
        "null",
        "[1]",
        r#"[{"op":1}]"#,
        &format!("[{}]", item("add", "k", "1")),
    ] {
        let answer = stage.tell("PATCH /fleet/v1/machines", nonsense).await;
        assert!(
            answer.starts_with(r#"400 {"error":{"code":400,"message":"unable to decode body: "#),
            "{nonsense}: {answer}"
        );
    }
    let metadata = async || {
        let answer = stage.ask("GET /fleet/v1/machines").await;
        let page: serde_json::Value = serde_json::from_str(&answer[4..]).unwrap();
        page["machines"][0]["metadata"].to_string()
    };
    assert_eq!(metadata().await, r#"{"rack":"7","zone":"a"}"#);

    // No Content-Type is asked for; both forms of a value; add is replace; later ones win.
    for (ops, expected) in [
        (vec![], r#"{"rack":"7","zone":"a"}"#),
        (
            vec![item("add", "zone", r#"{"value":"b"}"#)],
            r#"{"rack":"7","zone":"b"}"#,
        ),
        (
            vec![item("replace", "zone", r#""c""#)],
            r#"{"rack":"7","zone":"c"}"#,
        ),
        (
            vec![item("replace", "new", r#""1""#)],
            r#"{"new":"1","rack":"7","zone":"c"}"#,
        ),
        (vec![item("remove", "rack", "")], r#"{"new":"1","zone":"c"}"#),
        (
            vec![item("remove", "rack", ""), item("remove", "never-there", "")],
            r#"{"new":"1","zone":"c"}"#,
        ),
        (
            vec![item("remove", "zone", ""), item("add", "zone", r#""d""#)],
            r#"{"new":"1","zone":"d"}"#,
        ),
    ] {
        let body = format!("[{}]", ops.join(","));
        let answer = stage.send("PATCH", "/v1-alpha/machines", &[], body.clone()).await;
        assert_eq!(answer.line(), "204", "{body}");
        assert!(answer.headers.contains_key("x-fleet-revision"), "{body}");
        assert_eq!(metadata().await, expected, "{body}");
    }

    // What fleet had no way for: the configured value again.
    let drop = async |key: &str| {
        stage
            .ask(&format!("DELETE /fleet/v2/machines/{}/metadata/{key}", id(1)))
            .await
    };
    let all = async || {
        stage
            .ask(&format!("GET /fleet/v2/machines/{}/metadata", id(1)))
            .await
    };
    assert_eq!(
        all().await,
        r#"200 {"configured":{"rack":"7","zone":"a"},"effective":{"new":"1","zone":"d"},"overrides":{"never-there":"","new":"1","rack":"","zone":"d"}}"#
    );
    assert_eq!(drop("zone").await, "204");
    assert_eq!(drop("rack").await, "204");
    assert_eq!(metadata().await, r#"{"new":"1","rack":"7","zone":"a"}"#);
    assert_eq!(drop("zone").await, error(404, "metadata key is not overridden"));
    assert_eq!(
        stage.ask("DELETE /fleet/v2/machines/x/metadata/zone").await,
        error(404, "machine does not exist")
    );
    for key in ["new", "never-there"] {
        assert_eq!(drop(key).await, "204");
    }
    assert_eq!(
        all().await,
        r#"200 {"configured":{"rack":"7","zone":"a"},"effective":{"rack":"7","zone":"a"},"overrides":{}}"#
    );
}

/// §5.4: unknown machines are allowed. What is left of one that never came is nothing.
#[tokio::test(start_paused = true)]
async fn metadata_of_a_machine_that_is_not_there_yet() {
    let stage = Stage::new();
    let body = format!(
        r#"[{{"op":"add","path":"/{0}/metadata/zone","value":"b"}},{{"op":"remove","path":"/{1}/metadata/zone"}}]"#,
        id(1),
        id(2)
    );
    let before = stage.store.revision();
    assert_eq!(stage.tell("PATCH /fleet/v1/machines", &body).await, "204");
    assert_eq!(
        stage.store.revision(),
        before + 1,
        "two machines, one transaction"
    );
    assert_eq!(stage.tell("PATCH /fleet/v1/machines", &body).await, "204");
    assert_eq!(
        stage.store.revision(),
        before + 1,
        "what is so already is not written"
    );
    // They are remembered, and not there.
    assert_eq!(stage.ask("GET /fleet/v1/machines").await, "200 {}");
    let remembered = stage.ask("GET /fleet/v2/machines").await;
    assert!(
        remembered.contains(r#""present":false,"metadata":{"zone":"b"}"#),
        "{remembered}"
    );
    for n in [1, 2] {
        let path = format!("DELETE /fleet/v2/machines/{}/metadata/zone", id(n));
        assert_eq!(stage.ask(&path).await, "204");
    }
    assert!(stage.store.dump().is_empty(), "{:?}", stage.store.dump());
}

/// A record that somebody else has written.
#[tokio::test(start_paused = true)]
async fn metadata_of_a_machine_whose_record_cannot_be_read_is_not_guessed() {
    let stage = Stage::new();
    stage.write(stage.keys.machine(&id(1)), "nonsense").await;
    let body = format!(
        r#"[{{"op":"add","path":"/{}/metadata/zone","value":"b"}}]"#,
        id(1)
    );
    let answer = stage.tell("PATCH /fleet/v1/machines", &body).await;
    assert!(
        answer.starts_with("409 ") && answer.contains("cannot be read"),
        "{answer}"
    );
}

/// §5.5.
#[tokio::test(start_paused = true)]
async fn page_tokens() {
    let stage = Stage::new();
    for n in 0..100 {
        let body = format!(r#"{{"options":{OPTIONS}}}"#);
        let answer = stage
            .tell(&format!("PUT /fleet/v1/units/u{n:03}.service"), &body)
            .await;
        assert_eq!(answer, "201");
    }
    let first = stage.ask("GET /fleet/v1/units").await;
    // An exact multiple of the limit: the page after it is empty.
    assert!(
        first.ends_with(r#""nextPageToken":"ZAACAA=="}"#),
        "{}",
        &first[first.len() - 60..]
    );
    assert_eq!(
        stage.ask("GET /fleet/v1/units?nextPageToken=ZAACAA==").await,
        "200 {}"
    );
    // A client that wants to may encode it.
    assert_eq!(
        stage.ask("GET /fleet/v1/units?nextPageToken=ZAACAA%3D%3D").await,
        "200 {}"
    );
    assert_eq!(
        stage.ask("GET /fleet/v1/units?nextPageToken=ZABMLg==").await,
        "200 {}"
    );
    let again = stage.ask("GET /fleet/v1/units?nextPageToken=ZAABAA==").await;
    assert_eq!(again, first);
    for path in ["units", "state", "machines"] {
        for (query, message) in [
            (
                "nextPageToken=ZAACAA==&nextPageToken=ZAACAA==",
                "too many values for page token",
            ),
            ("nextPageToken=MgACAA==", "token limit must be 100"),
            ("nextPageToken=AAACAA==", "token limit must be 100"),
            ("nextPageToken=ZAAAAA==", "token page must be greater than zero"),
            (
                "nextPageToken=",
                r#"invalid page token "": expected one that fleetd gave"#,
            ),
            (
                "nextPageToken=ZAACAA",
                r#"invalid page token "ZAACAA": expected one that fleetd gave"#,
            ),
            (
                "nextPageToken=x",
                r#"invalid page token "x": expected one that fleetd gave"#,
            ),
        ] {
            let answer = stage.ask(&format!("GET /fleet/v1/{path}?{query}")).await;
            assert_eq!(answer, error(400, message), "{path} {query}");
        }
    }
}
