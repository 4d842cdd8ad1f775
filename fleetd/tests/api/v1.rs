//! fleet-reference §5, table by table: routes, entities, failures. Its other tables: put, metadata, pages.

use super::stage::{Stage, error, id};

const OPTIONS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/true"}]"#;

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
