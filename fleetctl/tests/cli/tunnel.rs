//! The API by way of `--tunnel`.

use std::time::Duration;

use tokio::time::Instant;

use super::fake::Reply::{HangUp, Silence};
use super::fake::{Fleetd, changed, json};
use super::say::*;
use super::ssh::{run, run_with, with_ssh};

const MACHINES_V1: &str =
    r#"{"machines":[{"id":"1234abcd000000000000000000000000","primaryIP":"10.0.0.1"}]}"#;

fn fleet(part: &str) -> Fleetd {
    with_ssh(
        Fleetd::new()
            .on("GET /fleet/v1/machines", json(MACHINES_V1))
            .on("GET /fleet/v1/units/web.service", json(content(UNIT, WEB))),
        part,
    )
}

#[test]
fn a_unix_socket() {
    insta::assert_snapshot!(run(&fleet(""), "--tunnel bastion list-machines"), @r#"
    exit 0
    ----- stdout
    MACHINE→→IP→→METADATA
    1234abcd...→10.0.0.1→-
    ----- ssh
    ssh <-G> <bastion>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <bastion> <--> <true>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <bastion> <--> <fleetctl fd-forward [DIR]/sock>
    ssh <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-O> <exit> <bastion>
    "#);
}

#[test]
fn a_port() {
    let arguments =
        "--tunnel core@[fd00::1]:2222 --endpoint http://[fd00::9]:49153 list-machines --no-legend";
    insta::assert_snapshot!(run(&fleet(""), arguments), @r#"
    exit 0
    ----- stdout
    1234abcd...→10.0.0.1→-
    ----- ssh
    ssh <-G> <-l> <core> <-p> <2222> <fd00::1>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-l> <core> <-p> <2222> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <fd00::1> <--> <true>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-l> <core> <-p> <2222> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <-W> <[fd00::9]:49153> <fd00::1>
    ssh <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-O> <exit> <fd00::1>
    "#);
}

#[test]
fn what_is_said_to_ssh() {
    let words = |arguments: &str, environment: &[(&str, &str)]| {
        let text = run_with(
            &fleet(""),
            &format!("{arguments} list-machines --no-legend"),
            environment,
        );
        assert!(text.starts_with("exit 0"), "{text}");
        let log = text.split("----- ssh\n").nth(1).unwrap();
        log.lines().next().unwrap().to_owned()
    };
    type Variables = [(&'static str, &'static str)];
    let table: [(&str, &Variables, &str); 8] = [
        ("--tunnel=10.0.0.1", &[], "ssh <-G> <10.0.0.1>"),
        ("--tunnel fd00::1", &[], "ssh <-G> <fd00::1>"),
        (
            "--tunnel b --ssh-username core --ssh-timeout=2.5",
            &[],
            "ssh <-G> <-l> <core> <-o> <ConnectTimeout=3> <b>",
        ),
        (
            "--tunnel b --known-hosts-file=~/.fleetctl/known_hosts",
            &[],
            "ssh <-G> <-o> <UserKnownHostsFile=~/.fleetctl/known_hosts> <b>",
        ),
        (
            "--tunnel b --strict-host-key-checking",
            &[],
            "ssh <-G> <-o> <StrictHostKeyChecking=ask> <b>",
        ),
        (
            "--tunnel b --strict-host-key-checking=false",
            &[],
            "ssh <-G> <-o> <StrictHostKeyChecking=no> <-o> <UserKnownHostsFile=/dev/null> \
             <-o> <GlobalKnownHostsFile=/dev/null> <-o> <LogLevel=ERROR> <b>",
        ),
        (
            "",
            &[
                ("FLEETCTL_TUNNEL", "b:2222"),
                ("FLEETCTL_SSH_USERNAME", "core"),
                ("FLEETCTL_SSH_TIMEOUT", "4"),
                ("FLEETCTL_KNOWN_HOSTS_FILE", "/k"),
                ("FLEETCTL_STRICT_HOST_KEY_CHECKING", "true"),
            ],
            "ssh <-G> <-l> <core> <-p> <2222> <-o> <StrictHostKeyChecking=ask> <-o> <UserKnownHostsFile=/k> \
             <-o> <ConnectTimeout=4> <b>",
        ),
        (
            "--tunnel b",
            &[
                ("FLEETCTL_TUNNEL", "other"),
                ("FLEETCTL_SSH_USERNAME", ""),
                ("FLEETCTL_STRICT_HOST_KEY_CHECKING", ""),
            ],
            "ssh <-G> <b>",
        ),
    ];
    for (arguments, environment, expected) in table {
        assert_eq!(words(arguments, environment), expected, "{arguments}");
    }
}

#[test]
fn an_endpoint_of_ssh() {
    let fleet = fleet("");
    let socket = fleet.path().join("sock");
    let text = run(
        &fleet,
        &format!(
            "--endpoint ssh://core@b:22{} list-machines --no-legend",
            socket.display()
        ),
    );
    insta::assert_snapshot!(text, @r#"
    exit 0
    ----- stdout
    1234abcd...→10.0.0.1→-
    ----- ssh
    ssh <-G> <-l> <core> <-p> <22> <b>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-l> <core> <-p> <22> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <b> <--> <true>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-l> <core> <-p> <22> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <b> <--> <fleetctl fd-forward [DIR]/sock>
    ssh <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-O> <exit> <b>
    "#);
    // Without a path it is where fleet.socket listens.
    let text = run(&fleet, "--endpoint ssh://b list-machines");
    assert!(
        text.contains("<fleetctl fd-forward /var/run/fleet.sock>"),
        "{text}"
    );
}

#[test]
fn a_connection_that_the_user_shares_is_used() {
    let persisting = "[ $kind = config ] && echo 'connecttimeout 30
controlmaster auto
controlpath /run/mine
controlpersist 600' && exit 0";
    insta::assert_snapshot!(run(&fleet(persisting), "--tunnel b list-machines --no-legend"), @r#"
    exit 0
    ----- stdout
    1234abcd...→10.0.0.1→-
    ----- ssh
    ssh <-G> <b>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <b> <--> <true>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <b> <--> <fleetctl fd-forward [DIR]/sock>
    "#);
    // What takes any key is for this run alone, whatever there is and stays.
    let text = run(
        &fleet(persisting),
        "--tunnel b --strict-host-key-checking=false list-machines --no-legend",
    );
    assert!(text.contains("ControlPath=[DIR]/.ssh/fleetctl-[RUN]"), "{text}");
    // One that does not stay is used if it is there.
    let perhaps = "[ $kind = config ] && echo 'controlmaster auto
controlpath /run/mine
controlpersist no' && exit 0";
    let there = format!("{perhaps}\n[ $kind = control ] && exit 0");
    let text = run(&fleet(&there), "--tunnel b list-machines --no-legend");
    assert!(
        text.contains("<-O> <check> <b>") && !text.contains("<-O> <exit>"),
        "{text}"
    );
    assert!(!text.contains("ControlPath"), "{text}");
    let text = run(&fleet(perhaps), "--tunnel b list-machines --no-legend");
    assert!(
        text.contains("<-O> <check> <b>") && text.contains("ControlPath=[DIR]/.ssh/fleetctl-[RUN]"),
        "{text}"
    );
}

#[test]
fn many_connections_authenticate_once() {
    let fleet = with_ssh(old_units(), "");
    let text = run(&fleet, "--tunnel b destroy a.service b.service c.service");
    assert!(
        text.starts_with("exit 0\n----- stdout\nDestroyed a.service\n"),
        "{text}"
    );
    assert_eq!(text.matches("<true>").count(), 1, "{text}");
    // The event stream, and requests that are under way at once.
    assert!(text.matches("<fleetctl fd-forward").count() > 3, "{text}");
    assert!(text.ends_with("<-O> <exit> <b>\n"), "{text}");
}

/// Three units, and what happens when they are destroyed.
fn old_units() -> Fleetd {
    let units = ["a.service", "b.service", "c.service"];
    let mut script: Vec<_> = units
        .iter()
        .map(|name| unit(5, name, record(WEB, Inactive)))
        .collect();
    script.push(current(10));
    script.extend(
        units
            .iter()
            .flat_map(|name| [super::fake::Part::After("DELETE"), destroyed(11, name)]),
    );
    units
        .iter()
        .fold(Fleetd::new().events(&units, script), |fleet, name| {
            fleet.on(&format!("DELETE /fleet/v1/units/{name}"), changed(204, 11))
        })
}

#[test]
fn ssh_fails() {
    let says = |script: &str, arguments: &str| {
        let part = format!("[ $kind = run ] && {{ {script}; }}");
        let text = run(&fleet(&part), &format!("{arguments} cat web"));
        text.split("----- ssh\n").next().unwrap().to_owned()
    };
    let refused = "echo 'ssh: connect to host 10.0.0.1 port 22: Connection refused' >&2; exit 255";
    insta::assert_snapshot!(says(refused, "--tunnel 10.0.0.1"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: 10.0.0.1: ssh: connect to host 10.0.0.1 port 22: Connection refused
    "#);
    let denied = "printf 'me@b: Permission denied (publickey).\\r\\n' >&2; exit 255";
    insta::assert_snapshot!(says(denied, "--tunnel b"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: b: me@b: Permission denied (publickey); fleet 1.0 logged in as core, which --ssh-username core does
    "#);
    insta::assert_snapshot!(says(denied, "--tunnel me@b"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: me@b: me@b: Permission denied (publickey).
    "#);
    let changed = "printf '@@@@@@@\\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\\n\
                   Offending ED25519 key in /home/me/.ssh/known_hosts:3\\nHost key verification failed.\\n' >&2; exit 255";
    insta::assert_snapshot!(says(changed, "--tunnel b"), @r#"
    exit 1
    ----- stderr
    @@@@@@@
    @ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @
    Offending ED25519 key in /home/me/.ssh/known_hosts:3
    Error: cannot reach the fleet API by ssh: b: Host key verification failed.
    "#);
    insta::assert_snapshot!(says("exit 255", "--tunnel b"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: b: ssh ended with 255 and did not say why
    "#);
    insta::assert_snapshot!(says("kill -9 $$", "--tunnel b"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: b: ssh was killed
    "#);
    // A host that only passes connections on.
    let text = says("echo 'This account is not available.' >&2; exit 1", "--tunnel b");
    assert!(!text.contains("not available"), "{text}");
    // What it says although it works.
    let warning = "echo \"Warning: Permanently added 'b' (ED25519) to the list of known hosts.\" >&2";
    insta::assert_snapshot!(says(warning, "--tunnel b"), @r#"
    exit 0
    ----- stdout
    [Unit]
    Description=A web server

    [Service]
    ExecStart=/bin/sleep 100
    ----- stderr
    Warning: Permanently added 'b' (ED25519) to the list of known hosts.
    "#);
}

#[test]
fn a_master_that_keeps_stderr_open_is_not_waited_for() {
    let fleet = fleet("[ $kind = run ] && { sleep 20 & echo late >&2; exit 255; }");
    let begin = Instant::now();
    let text = run(&fleet, "--tunnel b list-machines --no-legend");
    assert!(text.contains("by ssh: b: late)\n"), "{text}");
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "it waited for the master"
    );
}

#[test]
fn ssh_is_configured_wrongly_or_not_there() {
    let part = "[ $kind = config ] && { echo '/home/me/.ssh/config: line 1: Bad configuration option: x' >&2; exit 255; }";
    insta::assert_snapshot!(run(&fleet(part), "--tunnel b cat web.service"), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: b: /home/me/.ssh/config: line 1: Bad configuration option: x
    ----- ssh
    ssh <-G> <b>
    "#);
    let text = run_with(&fleet(""), "--tunnel b cat web.service", &[("PATH", "/nowhere")]);
    insta::assert_snapshot!(text, @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: cannot run ssh: No such file or directory (os error 2); is OpenSSH's client installed?
    ----- ssh
    "#);
}

#[test]
fn the_far_end_fails() {
    let without_log = |text: String| text.split("----- ssh\n").next().unwrap().to_owned();
    let fleet_there = fleet("").without_socket(false);
    insta::assert_snapshot!(without_log(run(&fleet_there, "--tunnel b cat web")), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: b: cannot connect to [DIR]/sock: there is no such socket; is fleetd running? see `systemctl status fleet.socket`, or name another --endpoint
    "#);
    let none = "[ $kind = forward ] && { echo 'bash: line 1: fleetctl: command not found' >&2; exit 127; }";
    insta::assert_snapshot!(without_log(run(&fleet(none), "--tunnel b cat web")), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: b: bash: line 1: fleetctl: command not found; for a unix socket fleetctl has to be installed there
    "#);
    let refused = "[ $kind = forward-port ] && { \
                   echo 'channel 0: open failed: connect failed: Connection refused' >&2; \
                   echo 'stdio forwarding failed' >&2; exit 255; }";
    let text = run(
        &fleet(refused),
        "--tunnel b --endpoint http://10.0.0.1:49153 cat web",
    );
    insta::assert_snapshot!(without_log(text), @r#"
    exit 1
    ----- stderr
    Error: cannot reach the fleet API by ssh: b: channel 0: open failed: connect failed: Connection refused; stdio forwarding failed
    "#);
    let hangs = "[ $kind = forward ] && exec sleep 60";
    insta::assert_snapshot!(without_log(run(&fleet(hangs), "--tunnel b --request-timeout 0.5 cat web")), @r#"
    exit 1
    ----- stderr
    Error: no answer from the fleet API at unix://[DIR]/sock within 0.5 s: see `journalctl -u fleet` there, or wait longer with --request-timeout
    "#);
    let fleet_of = |reply| with_ssh(Fleetd::new().on("GET /fleet/v1/units/web.service", reply), "");
    insta::assert_snapshot!(without_log(run(&fleet_of(HangUp), "--tunnel b cat web")), @r#"
    exit 1
    ----- stderr
    Error: the fleet API at unix://[DIR]/sock hung up (connection closed before message completed): was fleetd restarted? try again
    "#);
    let text = run(&fleet_of(Silence), "--tunnel b --request-timeout 0.5 cat web");
    insta::assert_snapshot!(without_log(text), @r#"
    exit 1
    ----- stderr
    Error: no answer from the fleet API at unix://[DIR]/sock within 0.5 s: see `journalctl -u fleet` there, or wait longer with --request-timeout
    "#);
}

#[test]
fn flags_that_make_no_sense() {
    let says = |arguments: &str| fleet("").run(&format!("{arguments} cat web"));
    insta::assert_snapshot!(says("--tunnel host:port"), @r#"
    exit 2
    ----- stderr
    Error: invalid value "host:port" for --tunnel: expected HOST, HOST:PORT, USER@HOST:PORT or [IPV6]:PORT
    "#);
    insta::assert_snapshot!(says("--tunnel=-oProxyCommand=x"), @r#"
    exit 2
    ----- stderr
    Error: invalid value "-oProxyCommand=x" for --tunnel: expected HOST, HOST:PORT, USER@HOST:PORT or [IPV6]:PORT
    "#);
    insta::assert_snapshot!(says("--endpoint ssh://"), @r#"
    exit 2
    ----- stderr
    Error: invalid value "" for --endpoint ssh://: expected HOST, HOST:PORT, USER@HOST:PORT or [IPV6]:PORT
    "#);
    insta::assert_snapshot!(says("--tunnel a --endpoint ssh://b/sock"), @r#"
    exit 2
    ----- stderr
    Error: --tunnel and --endpoint ssh:// both name a host to go through: give one
    "#);
    insta::assert_snapshot!(says("--ssh-timeout soon"), @r#"
    exit 2
    ----- stderr
    Error: invalid value "soon" for --ssh-timeout: expected seconds, such as 10 or 2.5
    "#);
    insta::assert_snapshot!(says("--strict-host-key-checking=perhaps"), @r#"
    exit 2
    ----- stderr
    Error: invalid value "perhaps" for --strict-host-key-checking: expected true or false
    "#);
    insta::assert_snapshot!(says("--ssh-username=-x"), @r#"
    exit 2
    ----- stderr
    Error: invalid value "-x" for --ssh-username: expected a user
    "#);
}
