//! `ssh`, `journal`, `fd-forward` and `verify`.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use units::{CopyView, Placement, UnitName, UnitView};

use super::fake::{Fleetd, json};
use super::say::*;
use super::ssh::{run, with_ssh};

const MACHINES_V1: &str = r#"{"machines":[
    {"id":"1234abcd000000000000000000000000","primaryIP":"10.0.0.1"},
    {"id":"1299000000000000000000000000000f","primaryIP":"fd00::2"},
    {"id":"beef0002000000000000000000000000"}]}"#;

/// A machine with an IPv6 address.
const M3: &str = "1299000000000000000000000000000f";

fn view(name: &str, global: bool, machine: Option<&str>, copies: &[(&str, &str)]) -> (String, String) {
    let view = UnitView {
        revision: 20,
        name: UnitName::parse(name).unwrap(),
        unit: record(WEB, Launched),
        generation: 11,
        global,
        description: None,
        placement: machine.map(|machine| Placement {
            machine: id(machine),
            reason: String::new(),
        }),
        verdict: None,
        copies: copies
            .iter()
            .map(|(machine, address)| CopyView {
                machine: id(machine),
                address: (*address).to_owned(),
                assignment: None,
                state: None,
            })
            .collect(),
    };
    let request = format!("GET /fleet/v2/units/{}", name.replace('\\', "%5C"));
    (request, serde_json::to_string(&view).unwrap())
}

/// Units here and there, and an ssh that ends with 7 where it is not asked to do anything else.
fn fleet() -> Fleetd {
    let all = [
        view(
            "web.service",
            false,
            Some(M1),
            &[(M1, "10.0.0.1"), (M3, "fd00::2")],
        ),
        view("six.service", false, Some(M3), &[(M3, "fd00::2")]),
        view("a\\x2db.service", false, Some(M1), &[]),
        view("bare.service", false, Some(M2), &[(M2, "")]),
        view("late.service", false, None, &[]),
        view("all.service", true, None, &[(M1, "10.0.0.1"), (M3, "fd00::2")]),
        // Named like a machine.
        view("beef.service", false, Some(M1), &[(M1, "10.0.0.1")]),
        view("1234.service", false, Some(M1), &[(M1, "10.0.0.1")]),
    ];
    let fleet = all.into_iter().fold(
        Fleetd::new().on("GET /fleet/v1/machines", json(MACHINES_V1)),
        |fleet, (request, view)| fleet.on(&request, json(view)),
    );
    with_ssh(fleet, "case $kind,$* in run,*'-- true') ;; run,*) exit 7;; esac")
}

#[test]
fn ssh_goes_to_machines_and_to_units() {
    insta::assert_snapshot!(run(&fleet(), "ssh web.service"), @r#"
    exit 7
    ----- ssh
    ssh <-G> <10.0.0.1>
    ssh <-o> <ConnectTimeout=10> <10.0.0.1>
    "#);
    let words = |arguments: &str| {
        let text = run(&fleet(), arguments);
        assert!(text.starts_with("exit 7\n"), "{text}");
        text.lines().last().unwrap().to_owned()
    };
    let limit = "<-o> <ConnectTimeout=10>";
    let table = [
        ("ssh web", format!("ssh {limit} <10.0.0.1>")),
        ("ssh 1234abcd", format!("ssh {limit} <10.0.0.1>")),
        ("ssh 1299...", format!("ssh {limit} <fd00::2>")),
        ("ssh --unit six", format!("ssh {limit} <fd00::2>")),
        ("ssh --machine 1299", format!("ssh {limit} <fd00::2>")),
        (
            "ssh --machine=1234 uptime",
            format!("ssh {limit} <10.0.0.1> <--> <uptime>"),
        ),
        (
            "ssh web ls -l /",
            format!("ssh {limit} <10.0.0.1> <--> <ls> <-l> </>"),
        ),
        (
            "ssh web -- ls -l /",
            format!("ssh {limit} <10.0.0.1> <--> <ls> <-l> </>"),
        ),
        (
            "ssh --unit web -- ps -A",
            format!("ssh {limit} <10.0.0.1> <--> <ps> <-A>"),
        ),
        // Nothing of the command is fleetctl's, which would go elsewhere, forward the agent, or print its own help.
        (
            "ssh --machine 1299 systemctl --machine 1234 reboot",
            format!("ssh {limit} <fd00::2> <--> <systemctl> <--machine> <1234> <reboot>"),
        ),
        (
            "ssh --unit web ls -A --help",
            format!("ssh {limit} <10.0.0.1> <--> <ls> <-A> <--help>"),
        ),
        (
            "--unit=web ssh ls -A",
            format!("ssh {limit} <10.0.0.1> <--> <ls> <-A>"),
        ),
        (
            "--strict-host-key-checking=false ssh web",
            format!(
                "ssh <-o> <StrictHostKeyChecking=no> <-o> <UserKnownHostsFile=/dev/null> \
                 <-o> <GlobalKnownHostsFile=/dev/null> <-o> <LogLevel=ERROR> {limit} \
                 <-o> <ControlMaster=no> <-o> <ControlPath=none> <10.0.0.1>"
            ),
        ),
        (
            "ssh web prog --debug=false --full=true",
            format!("ssh {limit} <10.0.0.1> <--> <prog> <--debug=false> <--full=true>"),
        ),
        ("ssh -A web", format!("ssh <-A> {limit} <10.0.0.1>")),
        ("ssh --A web", format!("ssh <-A> {limit} <10.0.0.1>")),
        ("ssh web --forward-agent", format!("ssh <-A> {limit} <10.0.0.1>")),
        (
            "ssh --forward-agent=true web",
            format!("ssh <-A> {limit} <10.0.0.1>"),
        ),
        ("ssh --forward-agent=false web", format!("ssh {limit} <10.0.0.1>")),
        (
            "ssh web --ssh-port 2222 ls",
            format!("ssh <-p> <2222> {limit} <10.0.0.1> <--> <ls>"),
        ),
        (
            "--ssh-username core --known-hosts-file /k ssh web",
            format!("ssh <-l> <core> <-o> <UserKnownHostsFile=/k> {limit} <10.0.0.1>"),
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(words(arguments), expected, "{arguments}");
    }
}

#[test]
fn ssh_through_a_tunnel() {
    let arguments = "--tunnel ann@b:2222 --strict-host-key-checking=false ssh --ssh-port 23 six.service ls";
    insta::assert_snapshot!(run(&fleet(), arguments), @r#"
    exit 7
    ----- ssh
    ssh <-G> <-l> <ann> <-p> <2222> <-o> <StrictHostKeyChecking=no> <-o> <UserKnownHostsFile=/dev/null> <-o> <GlobalKnownHostsFile=/dev/null> <-o> <LogLevel=ERROR> <b>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-l> <ann> <-p> <2222> <-o> <StrictHostKeyChecking=no> <-o> <UserKnownHostsFile=/dev/null> <-o> <GlobalKnownHostsFile=/dev/null> <-o> <LogLevel=ERROR> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <b> <--> <true>
    ssh <-T> <-a> <-x> <-o> <ClearAllForwardings=yes> <-o> <RemoteCommand=none> <-l> <ann> <-p> <2222> <-o> <StrictHostKeyChecking=no> <-o> <UserKnownHostsFile=/dev/null> <-o> <GlobalKnownHostsFile=/dev/null> <-o> <LogLevel=ERROR> <-o> <ConnectTimeout=10> <-o> <ControlMaster=auto> <-o> <ControlPath=[DIR]/.ssh/fleetctl-[RUN]> <-o> <ControlPersist=5> <-o> <ServerAliveInterval=15> <b> <--> <fleetctl fd-forward [DIR]/sock>
    ssh <-G> <-p> <23> <-o> <StrictHostKeyChecking=no> <-o> <UserKnownHostsFile=/dev/null> <-o> <GlobalKnownHostsFile=/dev/null> <-o> <LogLevel=ERROR> <fd00::2>
    ssh <-p> <23> <-o> <StrictHostKeyChecking=no> <-o> <UserKnownHostsFile=/dev/null> <-o> <GlobalKnownHostsFile=/dev/null> <-o> <LogLevel=ERROR> <-o> <ConnectTimeout=10> <-o> <ControlMaster=no> <-o> <ControlPath=none> <-o> <ProxyCommand=ssh -T -a -x -o ClearAllForwardings=yes -o RemoteCommand=none -l ann -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=10 -o ControlMaster=auto -o ControlPath=[DIR]/.ssh/fleetctl-[RUN] -o ControlPersist=5 -o ServerAliveInterval=15 -W '[%h]:%p' b> <fd00::2> <--> <ls>
    "#);
}

#[test]
fn ssh_does_not_know_where_to_go() {
    let says = |arguments: &str| run(&fleet(), arguments);
    insta::assert_snapshot!(says("ssh --machine 1234 --unit web"), @r#"
    exit 1
    ----- stderr
    Both machine and unit flags provided, please specify only one.
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: one machine or unit must be provided
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh nobody"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: could not find matching unit or machine
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh 12"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: found more than one machine
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh 1234"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: ambiguous argument, both machine and unit found for `1234`. Please use flag `--machine` or `--unit` to refine the search
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh --machine c0"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: machine does not exist
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh --unit nobody"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: unit does not exist
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh all"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: global units unsupported; --machine ID goes to one of its machines
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh late"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: unit late.service is on no machine; see `fleetctl status late.service`
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh bare"), @r#"
    exit 1
    ----- stderr
    Could not determine address of machine.
    ----- ssh
    "#);
    insta::assert_snapshot!(says("ssh web --ssh-port 0"), @r#"
    exit 2
    ----- stderr
    Error: invalid value '0' for '--ssh-port <PORT>': 0 is not in 1..=65535; see `fleetctl help`
    ----- ssh
    "#);
}

#[test]
fn ssh_itself_fails() {
    let part = "[ $kind = run ] && { echo 'ssh: connect to host 10.0.0.1 port 22: No route to host' >&2; exit 255; }";
    let (request, view) = view("web.service", false, Some(M1), &[(M1, "10.0.0.1")]);
    let fleet = |part: &str| {
        with_ssh(
            Fleetd::new()
                .on("GET /fleet/v1/machines", json("{}"))
                .on(&request, json(view.clone())),
            part,
        )
    };
    insta::assert_snapshot!(run(&fleet(part), "ssh web ls"), @r#"
    exit 255
    ----- stderr
    ssh: connect to host 10.0.0.1 port 22: No route to host
    ----- ssh
    ssh <-G> <10.0.0.1>
    ssh <-o> <ConnectTimeout=10> <10.0.0.1> <--> <ls>
    "#);
    let part = "[ $kind = config ] && { echo 'Bad configuration option: x' >&2; exit 255; }";
    insta::assert_snapshot!(run(&fleet(part), "ssh web ls"), @r#"
    exit 255
    ----- stderr
    Failed building SSH client: 10.0.0.1: Bad configuration option: x
    ----- ssh
    ssh <-G> <10.0.0.1>
    "#);
}

#[test]
fn journal_of_another_machine() {
    insta::assert_snapshot!(run(&fleet(), "journal web"), @r#"
    exit 7
    ----- ssh
    ssh <-G> <10.0.0.1>
    ssh <-o> <ConnectTimeout=10> <10.0.0.1> <--> <journalctl --unit web.service --no-pager -n 10 --output short>
    "#);
    let words = |arguments: &str| {
        let text = run(&fleet(), arguments);
        assert!(text.starts_with("exit 7\n"), "{text}");
        text.lines()
            .last()
            .unwrap()
            .split(" <--> ")
            .nth(1)
            .unwrap()
            .to_owned()
    };
    let table = [
        (
            "journal --lines 100 web",
            "<journalctl --unit web.service --no-pager -n 100 --output short>",
        ),
        (
            "journal --lines=all web",
            "<journalctl --unit web.service --no-pager -n all --output short>",
        ),
        (
            "journal -f web",
            "<journalctl --unit web.service --no-pager -n 10 --output short -f>",
        ),
        (
            "journal --f web",
            "<journalctl --unit web.service --no-pager -n 10 --output short -f>",
        ),
        (
            "journal --follow=true web",
            "<journalctl --unit web.service --no-pager -n 10 --output short -f>",
        ),
        (
            "journal web --output cat",
            "<journalctl --unit web.service --no-pager -n 10 --output cat>",
        ),
        (
            "journal --sudo web",
            "<sudo journalctl --unit web.service --no-pager -n 10 --output short>",
        ),
        (
            "journal --output=$(id) web",
            "<journalctl --unit web.service --no-pager -n 10 --output '$(id)'>",
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(words(arguments), expected, "{arguments}");
    }
    let text = run(&fleet(), "journal --ssh-port 2222 --machine 1299 web");
    assert!(
        text.contains("ssh <-p> <2222> <-o> <ConnectTimeout=10> <fd00::2> <--> <journalctl"),
        "{text}"
    );
}

#[test]
fn journal_of_this_machine() {
    let journalctl = "#!/bin/sh\necho journalctl \"$@\"\nexit 4\n";
    let fleet = fleet().on_machine(M1, journalctl);
    let install = Command::new("install")
        .arg("-m755")
        .args([fleet.path().join("systemctl"), fleet.path().join("journalctl")])
        .status();
    assert!(install.unwrap().success());
    insta::assert_snapshot!(run(&fleet, "journal --lines 3 web"), @r#"
    exit 4
    ----- stdout
    journalctl --unit web.service --no-pager -n 3 --output short
    ----- ssh
    "#);
    // Through a tunnel, too: this machine needs no way to itself.
    let text = run(&fleet, "--tunnel b journal web");
    assert!(
        text.starts_with("exit 4\n----- stdout\njournalctl --unit web.service"),
        "{text}"
    );
}

#[test]
fn journal_of_nothing() {
    let says = |arguments: &str| run(&fleet(), arguments);
    insta::assert_snapshot!(says("journal"), @r#"
    exit 1
    ----- stderr
    One unit file must be provided.
    ----- ssh
    "#);
    insta::assert_snapshot!(says("journal web six"), @r#"
    exit 1
    ----- stderr
    One unit file must be provided.
    ----- ssh
    "#);
    insta::assert_snapshot!(says("journal late"), @r#"
    exit 1
    ----- stderr
    Unit late.service does not appear to be running.
    ----- ssh
    "#);
    insta::assert_snapshot!(says("journal all"), @r#"
    exit 1
    ----- stderr
    Unable to retrieve journal of global unit all.service.
    hint: --machine ID chooses one of its machines; `fleetctl status all.service` lists them
    ----- ssh
    "#);
    insta::assert_snapshot!(says("journal --machine c0 all"), @r#"
    exit 1
    ----- stderr
    Unit all.service is not on a machine c0; `fleetctl status all.service` lists where it is.
    ----- ssh
    "#);
    insta::assert_snapshot!(says("journal --machine 12 all"), @r#"
    exit 1
    ----- stderr
    Unable to proceed: found more than one machine
    ----- ssh
    "#);
    insta::assert_snapshot!(says("journal bare"), @r#"
    exit 1
    ----- stderr
    Could not determine address of machine.
    ----- ssh
    "#);
    let missing = Fleetd::new().on(
        "GET /fleet/v2/units/web.service",
        super::fake::error(404, "unit does not exist"),
    );
    insta::assert_snapshot!(missing.run("journal web"), @r#"
    exit 1
    ----- stderr
    Unit web.service does not exist.
    "#);
    let global = run(&fleet(), "journal --machine 1299 all");
    assert!(
        global.contains("<fd00::2> <--> <journalctl --unit all.service"),
        "{global}"
    );
}

#[test]
fn verify_and_status() {
    insta::assert_snapshot!(fleet().run("verify web.service"), @r#"
    exit 2
    ----- stderr
    WARNING: verify is deprecated and does nothing: units are not signed; `fleetctl submit` checks each unit it sends
    "#);
    let missing = Fleetd::new().on(
        "GET /fleet/v2/units/web.service",
        super::fake::error(404, "unit does not exist"),
    );
    insta::assert_snapshot!(missing.run("status --ssh-port 2222 web.service"), @r#"
    exit 1
    ----- stderr
    Unit web.service does not exist.
    "#);
}

#[test]
fn fd_forward() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Reads to the end first: it is told when stdin ends, and may still answer.
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        stream.write_all(b"no line feed at its end").unwrap();
        heard
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(["fd-forward"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"asked").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"no line feed at its end");
    assert_eq!(
        (output.status.code(), server.join().unwrap().as_str()),
        (Some(0), "asked")
    );

    let gone = Fleetd::new().without_socket(true);
    insta::assert_snapshot!(gone.run("fd-forward sock"), @r#"
    exit 1
    ----- stderr
    Error: cannot connect to sock: nothing listens on that socket; is fleetd running? see `systemctl status fleet.socket`
    "#);
    insta::assert_snapshot!(gone.run("fd-forward"), @r#"
    exit 1
    ----- stderr
    Provide a single argument
    "#);
}

#[test]
fn fd_forward_ends_with_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || drop(listener.accept()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_fleetctl"))
        .args(["fd-forward"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // Whose stdin stays open.
    let _stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
