//! Every table and list of fleet-reference §6.

use std::os::unix::ffi::OsStringExt;

use super::keys::{self, Takes};
use super::*;

/// The text of a file, with variables over it.
fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleet.conf");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), v.into()));
    let directory = format!("{}/", directory.path().display());
    let mut config = Config::load(&file, true, &environment.collect())
        .map_err(|e| e.to_string().replace(&directory, ""))?;
    for warning in &mut config.warnings {
        *warning = warning.replace(&directory, "");
    }
    Ok(config)
}

/// What differs from the defaults, as people see it.
fn set(config: &Config) -> String {
    let changes = Config::default().changes(config);
    let shown = changes
        .iter()
        .map(|change| format!("{}={}", change.key, change.value));
    shown.collect::<Vec<_>>().join(" & ")
}

#[test]
fn every_key_takes_what_it_may_and_refuses_the_rest_in_words() {
    for (text, expected) in [
        ("verbosity=1", Ok("verbosity=1")),
        ("verbosity=0", Ok("")),
        ("verbosity=-1", Err("a number from 0")),
        ("verbosity=loud", Err("a number from 0")),
        ("verbosity=", Err("a number from 0")),
        ("etcd_servers=http://a:2379", Ok("etcd_servers=http://a:2379")),
        (
            "etcd_servers=http://a:1, https://b:2 ,",
            Ok("etcd_servers=http://a:1,https://b:2"),
        ),
        (
            "etcd_servers=\"http://a:1, http://b:2\"",
            Ok("etcd_servers=http://a:1,http://b:2"),
        ),
        (
            "etcd_servers=[\"http://a:1\", \"http://b:2\"]",
            Ok("etcd_servers=http://a:1,http://b:2"),
        ),
        (
            "etcd_servers=['http://a:1','http://b:2'] # two",
            Ok("etcd_servers=http://a:1,http://b:2"),
        ),
        ("etcd_servers=http://[::1]", Ok("etcd_servers=http://[::1]")),
        ("etcd_servers=[http://[::1]:1]", Ok("etcd_servers=http://[::1]:1")),
        (
            "etcd_servers=",
            Err("http:// or https:// addresses, separated by commas"),
        ),
        (
            "etcd_servers=[]",
            Err("http:// or https:// addresses, separated by commas"),
        ),
        (
            "etcd_servers=127.0.0.1:2379",
            Err("http:// or https:// addresses, separated by commas"),
        ),
        (
            "etcd_servers=http://a:1,b:2",
            Err("http:// or https:// addresses, separated by commas"),
        ),
        ("etcd_username=ann", Ok("etcd_username=ann")),
        ("etcd_password='#;\"'", Ok("etcd_password=…")),
        ("etcd_cafile=/ca", Ok("etcd_cafile=/ca")),
        ("etcd_certfile=/cert", Ok("etcd_certfile=/cert")),
        ("etcd_keyfile=/key", Ok("etcd_keyfile=/key")),
        ("etcd_key_prefix=/two/", Ok("etcd_key_prefix=/two/")),
        ("etcd_key_prefix=/", Err("a path such as /_coreos.com/fleet/")),
        ("public_ip=10.0.0.1", Ok("public_ip=10.0.0.1")),
        ("public_ip=fd00::1", Ok("public_ip=fd00::1")),
        ("public_ip=", Ok("")),
        ("public_ip=nowhere", Err("an IP address, or nothing")),
        ("metadata=zone=a", Ok("metadata=zone=a")),
        ("metadata= zone = a , disk=ssd ,", Ok("metadata=disk=ssd,zone=a")),
        ("metadata=a=1,a=2", Ok("metadata=a=2")),
        ("metadata=a=b=c", Ok("metadata=a=b=c")),
        ("metadata=a=", Ok("metadata=a=")),
        ("metadata=zone", Err("key=value, separated by commas")),
        ("metadata==a", Err("key=value, separated by commas")),
        ("metadata=[\"a=b\"]", Err("key=value, separated by commas")),
        ("metadata=zone=a\u{1b}[31m", Err("key=value, separated by commas")),
        ("agent_ttl=30s", Ok("agent_ttl=30s")),
        ("agent_ttl=1m30s", Ok("agent_ttl=90s")),
        ("agent_ttl=0.1m", Ok("agent_ttl=6s")),
        ("agent_ttl=15", Err("a span from 2s to 1h, such as 15s or 1m30s")),
        (
            "agent_ttl=soon",
            Err("a span from 2s to 1h, such as 15s or 1m30s"),
        ),
        ("agent_ttl=1s", Err("a span from 2s to 1h, such as 15s or 1m30s")),
        ("agent_ttl=61m", Err("a span from 2s to 1h, such as 15s or 1m30s")),
        ("token_limit=7", Ok("token_limit=7")),
        ("token_limit=0", Err("a number from 1 to 65535")),
        ("token_limit=65536", Err("a number from 1 to 65535")),
        ("disable_engine=true", Ok("disable_engine=true")),
        ("disable_engine=T", Ok("disable_engine=true")),
        ("disable_engine=1", Ok("disable_engine=true")),
        ("disable_engine=False", Ok("")),
        ("disable_engine=yes", Err("true or false")),
        ("disable_engine=", Err("true or false")),
        ("units_directory=/var/u", Ok("units_directory=/var/u")),
        ("units_directory=u", Err("an absolute path")),
        ("systemd_user=false", Ok("")),
        (
            "systemd_user=true",
            Err("false: running on a user's systemd is not supported"),
        ),
        ("api_certfile=/c", Ok("api_certfile=/c")),
        ("api_keyfile=/k", Ok("api_keyfile=/k")),
        ("api_cafile=/a", Ok("api_cafile=/a")),
        ("api_socket=/run/s", Ok("api_socket=/run/s")),
    ] {
        let (key, value) = text.split_once('=').unwrap();
        let expected = expected.map(str::to_owned).map_err(|allowed| {
            let value = file::parse(text, "").unwrap()[key].text.clone();
            format!("fleet.conf line 1: {key}={value} is not allowed: expected {allowed}")
        });
        assert_eq!(load(text, &[]).map(|c| set(&c)), expected, "{text}");
        // The variable says the same as the line, where no quotes or comments are in the way.
        if !value.contains(['"', '\'', '#']) {
            let variable = format!("FLEET_{}", key.to_uppercase());
            let said = load("", &[(variable.as_str(), value.trim())]).map(|c| set(&c));
            let expected = expected.map_err(|e| e.replace("fleet.conf line 1", &variable));
            assert_eq!(said, expected, "{variable}={value}");
        }
    }
}

#[test]
fn variables_win_over_the_file_and_the_file_over_defaults() {
    for (text, environment, expected) in [
        ("", &[][..], ""),
        ("metadata=a=1\ntoken_limit=7", &[], "metadata=a=1 & token_limit=7"),
        ("metadata=a=1", &[("FLEET_METADATA", "b=2")], "metadata=b=2"),
        ("", &[("FLEET_METADATA", "b=2")], "metadata=b=2"),
        // Set but empty counts.
        ("metadata=a=1", &[("FLEET_METADATA", "")], ""),
        ("etcd_cafile=/ca", &[("FLEET_ETCD_CAFILE", "")], ""),
        ("METADATA=a=1", &[("FLEET_Metadata", "b=2")], "metadata=b=2"),
        ("", &[("METADATA", "b=2"), ("fleet_metadata", "c=3")], ""),
        // Quotes of a shell's file that went along with a list.
        (
            "",
            &[("FLEET_ETCD_SERVERS", "[\"http://a:1\"]")],
            "etcd_servers=http://a:1",
        ),
        // What is overruled is not looked at.
        ("agent_ttl=soon", &[("FLEET_AGENT_TTL", "20s")], "agent_ttl=20s"),
    ] {
        let config = load(text, environment).unwrap();
        assert_eq!(
            (set(&config), config.warnings),
            (expected.to_owned(), vec![]),
            "{text}"
        );
    }
}

#[test]
fn a_wrong_value_names_its_place() {
    for (text, environment, expected) in [
        (
            "\n# x\nagent_ttl = \"1s\" # short",
            &[][..],
            "fleet.conf line 3: agent_ttl=1s is not allowed: expected a span from 2s to 1h, such as 15s or 1m30s",
        ),
        (
            "token_limit=7",
            &[("FLEET_TOKEN_LIMIT", "")],
            "FLEET_TOKEN_LIMIT: token_limit= is not allowed: expected a number from 1 to 65535",
        ),
        ("verbosity", &[], "fleet.conf line 1: expected key=value"),
    ] {
        assert_eq!(load(text, environment).unwrap_err(), expected);
    }
}

#[test]
fn a_file_or_a_variable_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.conf");
    let none = BTreeMap::new();
    let said = |environment| Config::load(&path, true, environment).unwrap_err().to_string();
    let beginning = format!("cannot read the configuration {}: ", path.display());
    assert_eq!(
        said(&none),
        format!("{beginning}No such file or directory (os error 2)")
    );
    std::fs::write(&path, [b'a', b'=', 0xff]).unwrap();
    assert_eq!(
        said(&none),
        format!("{beginning}stream did not contain valid UTF-8")
    );
    std::fs::write(&path, "").unwrap();
    let bytes = OsString::from_vec(vec![0xff]);
    let environment = BTreeMap::from([("FLEET_METADATA".to_owned(), bytes)]);
    assert_eq!(said(&environment), "FLEET_METADATA: the value is no UTF-8 text");
}

#[test]
fn what_has_no_effect_is_said() {
    let config = load(
        "engine_reconcile_interval=abc\nagent_tll=3\n",
        &[("FLEET_VERIFY_UNITS", "true")],
    );
    assert_eq!(
        config.unwrap().warnings,
        [
            "fleet.conf line 2: agent_tll has no effect: no such key",
            "fleet.conf line 1: engine_reconcile_interval has no effect: the engine acts on events, there is no interval",
            "FLEET_VERIFY_UNITS: verify_units has no effect: units are not signed",
        ]
    );
    for (key, why) in keys::WITHOUT_EFFECT {
        let config = load(&format!("{key}=whatever"), &[]).unwrap();
        assert_eq!(
            config.warnings,
            [format!("fleet.conf line 1: {key} has no effect: {why}")]
        );
    }
}

#[test]
fn the_table_has_every_key_with_its_default() {
    let defaults: Vec<(&str, &str)> = keys::all().map(|key| (key.name, key.default)).collect();
    let settings = Config::default().settings();
    assert_eq!(
        BTreeMap::from_iter(defaults.clone()).len(),
        defaults.len(),
        "once each"
    );
    assert_eq!(
        BTreeMap::from_iter(defaults.iter().copied()),
        settings.iter().map(|(k, v)| (*k, v.as_str())).collect()
    );
    let text: Vec<String> = defaults.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(load(&text.join("\n"), &[]), Ok(Config::default()));
}

/// Another value for every key, and one it changes to.
const OTHERS: &str = "verbosity=1\netcd_servers=http://x:1\netcd_username=u\netcd_password=p\netcd_cafile=/a\n\
                      etcd_certfile=/c\netcd_keyfile=/k\netcd_key_prefix=/x\npublic_ip=10.0.0.1\nmetadata=a=b\n\
                      agent_ttl=20s\ntoken_limit=7\ndisable_engine=true\nunits_directory=/u\napi_certfile=/c\n\
                      api_keyfile=/k\napi_cafile=/a\napi_socket=/s";

#[test]
fn what_a_reload_takes_over_is_in_force_and_what_it_does_not_is_not() {
    for key in keys::all().filter(|key| key.name != "systemd_user") {
        // With TLS on before and after: switching it on is another matter.
        let tls = "api_certfile=/1\napi_keyfile=/2\napi_cafile=/3\n";
        let old = load(tls, &[]).unwrap();
        let line = OTHERS
            .lines()
            .find(|line| line.starts_with(&format!("{}=", key.name)));
        let new = load(&format!("{tls}{}", line.unwrap()), &[]).unwrap();
        let changes = old.changes(&new);
        let effect = match key.takes {
            Takes::Reload => Effect::Now,
            Takes::Restart => Effect::AtRestart,
        };
        let names: Vec<_> = changes.iter().map(|c| (c.key, c.effect)).collect();
        assert_eq!(names, [(key.name, effect)]);
        let expected = if key.takes == Takes::Reload { &new } else { &old };
        assert_eq!(&old.with(&changes, &new), expected, "{}", key.name);
        // Said again at the next reload, for as long as it is not in force.
        let again = old.with(&changes, &new).changes(&new);
        assert_eq!(
            again,
            if key.takes == Takes::Reload {
                vec![]
            } else {
                changes
            }
        );
    }
}

#[test]
fn tls_on_the_api_is_not_switched_on_or_off_by_a_reload() {
    let on = load("api_certfile=/1\napi_keyfile=/2\napi_cafile=/3\n", &[]).unwrap();
    let off = Config::default();
    for (old, new) in [(&on, &off), (&off, &on)] {
        let changes = old.changes(new);
        assert_eq!(changes.len(), 3);
        assert!(changes.iter().all(|change| change.effect == Effect::AtRestart));
        assert_eq!(&old.with(&changes, new), old);
    }
}

#[test]
fn no_password_is_shown() {
    let config = load("etcd_password=hunter2", &[]).unwrap();
    assert_eq!(config.shown()["etcd_password"], "…");
    assert_eq!(Config::default().shown()["etcd_password"], "");
    assert_eq!(Config::default().changes(&config)[0].value, "…");
}
