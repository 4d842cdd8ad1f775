//! Every key of `fleet.conf` (fleet-reference §6): the one table that the messages are made from, and that the shipped
//! `fleet.conf`, its manual page and the documentation are checked against (`shipped.rs`).

/// A key that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// In lower case; the variable is `FLEET_` and this in upper case.
    pub name: &'static str,
    /// What holds if it is not set, as one would write it.
    pub default: &'static str,
    /// What is allowed, to go with "expected"; empty if anything is.
    pub allowed: &'static str,
    /// When another value takes effect.
    pub takes: Takes,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// With `systemctl reload fleet`, which is SIGHUP.
    Reload,
    /// With `systemctl restart fleet` only. No unit is touched by that.
    Restart,
}

/// Keys that are explained together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The keys.
    pub keys: &'static [Key],
    /// For people, in sentences.
    pub about: &'static str,
}

/// Groups under one heading.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// In the order in which they are shown.
    pub groups: &'static [Group],
}

const fn key(name: &'static str, default: &'static str, allowed: &'static str, takes: Takes) -> Key {
    Key {
        name,
        default,
        allowed,
        takes,
    }
}

use Takes::{Reload, Restart};

/// Every key, as it is shown to people.
pub const SECTIONS: [Section; 4] = [
    Section {
        title: "This machine",
        groups: &[
            Group {
                keys: &[key("public_ip", "", "an IP address, or nothing", Reload)],
                about: "The address others are told. Empty: the IPv4 address on the interface of the default route.",
            },
            Group {
                keys: &[key("metadata", "", "key=value, separated by commas", Reload)],
                about: "What units can ask for with MachineMetadata= and FailureDomain=: key=value, separated by commas, for \
                        instance zone=a,disk=ssd.",
            },
            Group {
                keys: &[key(
                    "agent_ttl",
                    "15s",
                    "a span from 2s to 1h, such as 15s or 1m30s",
                    Restart,
                )],
                about: "How long this machine may be silent before it counts as lost and its units start elsewhere: 2s to \
                        1h, the same on all machines.",
            },
            Group {
                keys: &[key("disable_engine", "false", "true or false", Reload)],
                about: "true: this machine runs units, but never decides where they go. Some machine has to.",
            },
        ],
    },
    Section {
        title: "etcd",
        groups: &[
            Group {
                keys: &[key(
                    "etcd_servers",
                    "http://127.0.0.1:2379,http://127.0.0.1:4001",
                    "http:// or https:// addresses, separated by commas",
                    Restart,
                )],
                about: "Addresses of etcd to begin with; the other members are learned from it. On a machine that is no \
                        member, fleet-gateway.service answers at the default ones.",
            },
            Group {
                keys: &[
                    key("etcd_cafile", "", "", Restart),
                    key("etcd_certfile", "", "", Restart),
                    key("etcd_keyfile", "", "", Restart),
                ],
                about: "For https:// servers: who vouches for etcd, and what we show it if it asks. PEM files.",
            },
            Group {
                keys: &[
                    key("etcd_username", "", "", Restart),
                    key("etcd_password", "", "", Restart),
                ],
                about: "If etcd asks for a user. This file should then belong to root alone (chmod 600).",
            },
            Group {
                keys: &[key(
                    "etcd_key_prefix",
                    "/_coreos.com/fleet/",
                    "a path such as /_coreos.com/fleet/",
                    Restart,
                )],
                about: "Where in etcd the cluster lies. The same on all machines; another prefix is another cluster.",
            },
        ],
    },
    Section {
        title: "The API",
        groups: &[
            Group {
                keys: &[
                    key("api_certfile", "", "", Reload),
                    key("api_keyfile", "", "", Reload),
                    key("api_cafile", "", "", Reload),
                ],
                about: "/run/fleet.sock is made by fleet.socket; so are TCP ports (`systemctl edit fleet.socket`, \
                        ListenStream=…). With these three every TCP port speaks TLS and lets in who has a certificate of \
                        that CA. PEM files, read again at each reload; from none to some, or back, needs a restart.",
            },
            Group {
                keys: &[key("api_socket", "", "", Restart)],
                about: "A unix socket to make where systemd hands none over. Empty: none.",
            },
            Group {
                keys: &[key("token_limit", "100", "a number from 1 to 65535", Reload)],
                about: "Entries on a page of a listing of the API's version 1: 1 to 65535.",
            },
        ],
    },
    Section {
        title: "The rest",
        groups: &[
            Group {
                keys: &[key("verbosity", "0", "a number from 0", Reload)],
                about: "More than 0: debug messages too. FLEETD_LOG in the environment sets a filter, and then counts \
                        alone.",
            },
            Group {
                keys: &[key(
                    "units_directory",
                    "/run/fleet/units/",
                    "an absolute path",
                    Restart,
                )],
                about: "Where unit files are put. Another one needs ReadWritePaths= in a drop-in of fleet.service.",
            },
            Group {
                keys: &[key(
                    "systemd_user",
                    "false",
                    "false: running on a user's systemd is not supported",
                    Restart,
                )],
                about: "Only false is supported: units run on the machine's systemd, not on a user's.",
            },
        ],
    },
];

/// Keys of fleet 1.0 that are accepted with a warning and have nothing to act on here, with the reason.
pub const WITHOUT_EFFECT: [(&str, &str); 6] = [
    (
        "etcd_request_timeout",
        "requests to etcd have deadlines of their own",
    ),
    (
        "engine_reconcile_interval",
        "the engine acts on events, there is no interval",
    ),
    (
        "disable_watches",
        "the agent watches one narrow prefix, which costs nothing at rest",
    ),
    ("enable_grpc", "machines hear of their units from etcd alone"),
    ("verify_units", "units are not signed"),
    ("authorized_keys_file", "units are not signed"),
];

/// Every key that can be set.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS
        .iter()
        .flat_map(|section| section.groups)
        .flat_map(|group| group.keys)
}

/// The key of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}
