//! fleet-reference §5.5: pages and their tokens.

use super::stage::{Stage, error};

const OPTIONS: &str = r#"[{"section":"Service","name":"ExecStart","value":"/bin/true"}]"#;

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
