//! fleet-reference §5.3: PUT of a unit, and its body.

use axum::body::Body;

use super::stage::{JSON, Stage, error};

const OPTIONS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/true"}]"#;
const OTHERS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/false"}]"#;

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
