//! fleet-reference §5.4: PATCH of machines.

use super::stage::{Stage, error, id};

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
