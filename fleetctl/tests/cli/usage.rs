//! Command lines, right and wrong.

use super::fake::{Fleetd, json};

fn fleet() -> Fleetd {
    Fleetd::new().on("GET /fleet/v1/machines", json("{}"))
}

#[test]
fn help() {
    let help = fleet().run("help");
    insta::assert_snapshot!(help, @r#"
    exit 0
    ----- stdout
    NAME:
        fleetctl - Run systemd units on a cluster of machines

    USAGE:
        fleetctl [OPTIONS] <COMMAND>

    VERSION:
        0.1.0

    COMMANDS:
      submit           Make units known to the cluster without starting them
      load             Place units on machines and load them into systemd there, without starting them
      start            Place units on machines and start them
      restart          Start units once more where they are
      stop             Stop units, and leave them loaded where they are
      unload           Stop units and take them off their machines
      destroy          Stop units, take them off their machines and forget them
      cat              Print the content of a unit
      status           Show where units are, why, and what systemd says of them
      journal          Print the journal of a unit, from the machine it is on
      ssh              Go to a machine by ssh, or run a command there
      list-units       List what runs, machine by machine
      list-unit-files  List the units the cluster knows
      list-machines    List the machines of the cluster
      recover          Follow a registry that was wiped or restored, after putting back what runs
      init             Found a cluster on this machine: etcd and fleet (as root)
      join             Make this machine one of a cluster that `init` founded (as root)
      leave            Take this machine out of its cluster; no unit is lost (as root)
      completions      Print the completions of a shell, names of units and machines among them
      version          Print the version
      help             Print this message or the help of the given subcommand(s)

    GLOBAL OPTIONS:
          --endpoint <URL>             Where the API of a fleetd is: unix:///path, http://host:port or
                                       https://host:port [default: unix:///var/run/fleet.sock]
          --ca-file <PEM>              Who vouches for the fleetd behind https://
          --cert-file <PEM>            Your certificate for https://
          --key-file <PEM>             Its key
          --request-timeout <SECONDS>  How long to wait for an answer of the API [default: 10]
          --debug                      Show each request to the API
      -v, --version                    Print the version
      -h, --help                       Print help

    GLOBAL OPTIONS FOR SSH:
          --tunnel <[USER@]HOST[:PORT]>        Go through this host, by ssh
          --ssh-username <USER>                Whom to log in as [default: see ssh_config(5)]
          --ssh-timeout <SECONDS>              Time to connect [default: see ssh_config(5), else 10]
          --known-hosts-file <FILE>            Known host keys [default: see ssh_config(5)]
          --strict-host-key-checking[=<BOOL>]  true: ask about new host keys; false: take any

    Exit codes:
      0  it is as asked, or there was nothing to do
      1  it is not: refused, failed, not placeable, timed out, API not reachable
      2  the command line could not be understood
      3  `status` only: the unit is not active (on its own machine: the code of `systemctl status`)
    `ssh` and `journal` end as what they run there does; 255: ssh itself failed

    Global options can be given in the environment too: FLEETCTL_ENDPOINT for --endpoint, and so on.
    A command may be shortened as long as it stays unique: list-m for list-machines.
    "#);
    // Called with nothing at all, which `run` never does.
    let bare = std::process::Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .output()
        .unwrap();
    assert!(bare.status.success() && help.contains(&*String::from_utf8_lossy(&bare.stdout)));
    for same in ["--help", "-h", "--h"] {
        assert_eq!(fleet().run(same), help, "{same}");
    }
    insta::assert_snapshot!(fleet().run("help start"), @r#"
    exit 0
    ----- stdout
    NAME:
        fleetctl start - Place units on machines and start them

    USAGE:
        fleetctl start [OPTIONS] [UNIT]...

    DESCRIPTION:
        Units that the cluster does not have are submitted first; one that has
        failed or finished is started once more. Waits until the unit is active, or
        has finished well; if no machine fits, says why at once, and leaves it to
        be started when one does. Global units are not waited for. With --replace,
        new content is run where the unit is.

    ARGUMENTS:
      [UNIT]...  Unit files, or names of units or of instances of a template

    OPTIONS:
          --replace             Replace the content of a unit that the cluster has already
          --no-block            Do not wait
          --block-attempts <N>  Give up after so many attempts of 2 s; 0 or less: wait for ever, also
                                for a machine that fits
      -h, --help                Print help

    GLOBAL OPTIONS:
          --endpoint <URL>             Where the API of a fleetd is: unix:///path, http://host:port or
                                       https://host:port [default: unix:///var/run/fleet.sock]
          --ca-file <PEM>              Who vouches for the fleetd behind https://
          --cert-file <PEM>            Your certificate for https://
          --key-file <PEM>             Its key
          --request-timeout <SECONDS>  How long to wait for an answer of the API [default: 10]
          --debug                      Show each request to the API

    GLOBAL OPTIONS FOR SSH:
          --tunnel <[USER@]HOST[:PORT]>        Go through this host, by ssh
          --ssh-username <USER>                Whom to log in as [default: see ssh_config(5)]
          --ssh-timeout <SECONDS>              Time to connect [default: see ssh_config(5), else 10]
          --known-hosts-file <FILE>            Known host keys [default: see ssh_config(5)]
          --strict-host-key-checking[=<BOOL>]  true: ask about new host keys; false: take any
    "#);
    for same in ["start --help", "start -h", "star --h"] {
        assert_eq!(fleet().run(same), fleet().run("help start"), "{same}");
    }
}

#[test]
fn version() {
    for same in ["--version", "-v", "-V", "version", "vers"] {
        assert_eq!(fleet().run(same), fleet().run("version"), "{same}");
    }
}

#[test]
fn unknown_commands() {
    insta::assert_snapshot!(fleet().run("list"), @r#"
    exit 2
    ----- stderr
    Error: unknown command "list" for "fleetctl"

    Did you mean this?
    →list-units
    →list-unit-files
    →list-machines

    Run 'fleetctl help' for usage.
    "#);
    insta::assert_snapshot!(fleet().run("lsit-units"), @r#"
    exit 2
    ----- stderr
    Error: unknown command "lsit-units" for "fleetctl"

    Did you mean this?
    →list-units
    →list-unit-files
    →list-machines

    Run 'fleetctl help' for usage.
    "#);
    // Half a word is not enough for what changes a whole machine or cluster.
    insta::assert_snapshot!(fleet().run("le"), @r#"
    exit 2
    ----- stderr
    Error: unknown command "le" for "fleetctl"

    Did you mean this?
    →leave

    Run 'fleetctl help' for usage.
    "#);
    for half in ["i", "ini", "joi", "leav", "rec", "recove"] {
        assert!(fleet().run(half).starts_with("exit 2\n"), "{half}");
    }
    insta::assert_snapshot!(fleet().run("frobnicate"), @r#"
    exit 2
    ----- stderr
    Error: unknown command "frobnicate" for "fleetctl"
    Run 'fleetctl help' for usage.
    "#);
}

#[test]
fn wrong_flags() {
    insta::assert_snapshot!(fleet().run("start --frobnicate web.service"), @r#"
    exit 2
    ----- stderr
    Error: unexpected argument '--frobnicate' found; see `fleetctl help`
    "#);
    insta::assert_snapshot!(fleet().run("start --no-blok web.service"), @r#"
    exit 2
    ----- stderr
    Error: unexpected argument '--no-blok' found; a similar argument exists: '--no-block'; see `fleetctl help`
    "#);
    insta::assert_snapshot!(fleet().run("start --block-attempts=many web.service"), @r#"
    exit 2
    ----- stderr
    Error: invalid value 'many' for '--block-attempts <N>': invalid digit found in string; see `fleetctl help`
    "#);
    insta::assert_snapshot!(fleet().run("start --no-block=perhaps web.service"), @r#"
    exit 2
    ----- stderr
    Error: unexpected value 'perhaps' for '--no-block' found; no more were expected; see `fleetctl help`
    "#);
    insta::assert_snapshot!(fleet().run("version web.service"), @r#"
    exit 2
    ----- stderr
    Error: unexpected argument 'web.service' found; see `fleetctl help`
    "#);
    insta::assert_snapshot!(fleet().run("--request-timeout=0 list-machines"), @r#"
    exit 2
    ----- stderr
    Error: invalid value "0" for --request-timeout: expected seconds, such as 10 or 2.5
    "#);
    insta::assert_snapshot!(fleet().run("--debug"), @r#"
    exit 2
    ----- stderr
    Error: no command was given; see `fleetctl help`
    "#);
}

#[test]
fn endpoints() {
    insta::assert_snapshot!(fleet().run("--endpoint /var/run/fleet.sock list-machines"), @r#"
    exit 2
    ----- stderr
    Error: URL scheme undefined in --endpoint "/var/run/fleet.sock": expected unix:///path/to/socket or http(s)://host:port
    "#);
    insta::assert_snapshot!(fleet().run("--endpoint unix://var/run/fleet.sock list-machines"), @r#"
    exit 2
    ----- stderr
    Error: unable to connect to host "var" with scheme "unix": a path begins with a third slash, unix:///var…
    "#);
    insta::assert_snapshot!(fleet().run("list-machines --endpoint=https://10.0.0.1:49153"), @r#"
    exit 2
    ----- stderr
    Error: an https:// endpoint needs --ca-file: the CA that signed fleetd's certificate
    "#);
    insta::assert_snapshot!(fleet().run_with("list-machines", &[("FLEETCTL_ENDPOINT", "ftp://a")]), @r#"
    exit 2
    ----- stderr
    Error: unsupported URL scheme "ftp" in --endpoint: expected unix:///path/to/socket or http(s)://host:port
    "#);
    let both = fleet();
    let list = format!("unix://{}/sock,http://10.0.0.1:49153", both.path().display());
    insta::assert_snapshot!(both.run_with("list-machines", &[("FLEETCTL_ENDPOINT", &list)]), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    ----- stderr
    WARNING: --endpoint names more than one: only the first is used
    "#);
}

#[test]
fn drivers() {
    insta::assert_snapshot!(fleet().run("--driver=API list-machines"), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    "#);
    insta::assert_snapshot!(fleet().run("--driver=etcd list-machines"), @r#"
    exit 2
    ----- stderr
    Error: driver etcd is not supported: fleetctl speaks to a fleetd, which --endpoint names (unix:///var/run/fleet.sock or http(s)://host:port)
    "#);
    insta::assert_snapshot!(fleet().run("list-machines --driver consul"), @r#"
    exit 2
    ----- stderr
    Error: unrecognized driver "consul": expected API
    "#);
}

#[test]
fn what_fleet_had_and_is_not_there() {
    insta::assert_snapshot!(fleet().run("--etcd-key-prefix=/fleet list-machines"), @r#"
    exit 2
    ----- stderr
    Error: --etcd-key-prefix is not supported: the registry belongs to fleetd; fleetctl only needs --endpoint
    "#);
    insta::assert_snapshot!(fleet().run("--experimental-api=false list-machines"), @r#"
    exit 2
    ----- stderr
    Error: --experimental-api is not supported: the API is the only way now; leave the flag out
    "#);
    insta::assert_snapshot!(fleet().run("--experimental-api list-machines"), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    "#);
    insta::assert_snapshot!(fleet().run_with("list-machines", &[("FLEETCTL_TUNNEL", "")]), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    "#);
}

#[test]
fn booleans_as_fleet_wrote_them() {
    insta::assert_snapshot!(fleet().run("list-machines --no-legend=true"), @r#"exit 0"#);
    insta::assert_snapshot!(fleet().run("list-machines --no-legend=false"), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    "#);
    assert!(
        fleet()
            .run_with("list-machines", &[("FLEETCTL_DEBUG", "false")])
            .starts_with("exit 0\n----- stdout")
    );
    for debug in [
        fleet().run("--debug=true list-machines"),
        fleet().run_with("list-machines", &[("FLEETCTL_DEBUG", "1")]),
    ] {
        assert!(debug.contains("DEBUG GET /fleet/v1/machines: 200"), "{debug}");
    }
}
