//! The `fleet.conf` that packages put into `/etc/fleet`.

use super::{Config, ConfigError, WITHOUT_EFFECT, file};

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::from_values(file::parse(text, "fleet.conf")?)
}

/// The names of all fields, which are the keys. Does not compile when one is missing.
macro_rules! keys {
    ($($key:ident)*) => {{
        let Config { $($key: _,)* warnings: _ } = Config::default();
        // What can be set and has no field.
        [$(stringify!($key),)* "systemd_user"]
    }};
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    let shipped = include_str!("../../dist/fleet.conf");
    assert_eq!(load(shipped), Ok(Config::default()), "as it is shipped");
    let set: Vec<&str> = shipped
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|l| !l.starts_with([' ', '-'])))
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(
        load(&set.join("\n")),
        Ok(Config::default()),
        "with every # taken away"
    );
    let mut shown: Vec<&str> = set.iter().filter_map(|l| Some(l.split_once('=')?.0)).collect();
    let mut keys = keys! {
        verbosity etcd_servers etcd_username etcd_password etcd_cafile etcd_certfile etcd_keyfile etcd_key_prefix
        public_ip metadata agent_ttl token_limit disable_engine units_directory api_certfile api_keyfile api_cafile
        api_socket
    };
    shown.sort_unstable();
    keys.sort_unstable();
    assert_eq!(shown, keys);
    for (key, _) in WITHOUT_EFFECT {
        assert!(shipped.contains(key), "{key}");
    }
}
