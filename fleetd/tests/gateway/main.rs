//! The gateway in front of fake members: what it learns, whom it chooses, what it says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot be set up fails the test"
)]

mod stage;

use std::time::Duration;

use fleetd::gateway::Patience;
use stage::{HTTP2, Log, Machine, Pki, Server, list, say};

const OUTAGE: &str = "could not reach any member of etcd";

fn peers(servers: &[&Server]) -> String {
    let peers: Vec<String> = servers.iter().map(|s| format!("{:?}", s.http())).collect();
    format!("peers = [{}]", peers.join(", "))
}

#[tokio::test]
async fn it_learns_the_members_keeps_to_one_and_fails_over() {
    let (log, _guard) = Log::new();
    let machine = Machine::new();
    let (a, b) = (Server::member("a").await, Server::member("b").await);
    let peer = Server::peer(list("http://127.0.0.1:9", &[a.http(), b.http()])).await;
    let gateway = machine.gateway(&peers(&[&peer])).await;

    let mut kept = gateway.connect().await;
    let first = say(&mut kept, "1").await.unwrap();
    for _ in 0..20 {
        assert_eq!(
            gateway.ask("1").await.unwrap(),
            first,
            "it keeps to one that works"
        );
    }
    let (gone, left) = if first == "a:1" { (a, "b:2") } else { (b, "a:2") };
    gone.end().await;
    assert_eq!(
        say(&mut kept, "2").await,
        None,
        "a member's end ends its connections"
    );
    assert_eq!(gateway.ask("2").await.unwrap(), left);
    assert_eq!(log.lines("learned etcd's members").len(), 1);
    assert_eq!(log.lines("reached etcd").len(), 2, "once for each member");
    assert_eq!(log.lines(OUTAGE), Vec::<String>::new());
}

#[tokio::test]
async fn members_that_are_new_are_found_when_those_it_knows_are_gone() {
    let machine = Machine::new();
    let old = Server::member("old").await;
    let second = Server::peer(String::new()).await;
    let first = Server::peer(list(&second.http(), &[old.http()])).await;
    let gateway = machine.gateway(&peers(&[&first])).await;
    assert_eq!(gateway.ask("1").await.unwrap(), "old:1");

    // The member that was asked is gone, and so is the one that served; their list named the peer that is left.
    let new = Server::member("new").await;
    let port = second.port;
    for server in [old, first, second] {
        server.end().await;
    }
    let _second = Server::peer_at(port, list("http://127.0.0.1:9", &[new.http()])).await;
    assert_eq!(
        gateway.ask("2").await.unwrap(),
        "new:2",
        "within the same connection"
    );
}

#[tokio::test]
async fn what_it_knew_outlives_it_and_all_members_it_was_told_of() {
    let machine = Machine::new();
    let member = Server::member("m").await;
    let peer = Server::peer(list("http://127.0.0.1:9", &[member.http()])).await;
    let config = peers(&[&peer]);
    drop(machine.gateway(&config).await);
    let gateway = machine.gateway(&config).await;
    machine.remembers(&member.http()).await;
    drop(gateway);
    peer.end().await;

    let again = machine.gateway(&config).await;
    assert_eq!(again.ask("1").await.unwrap(), "m:1");

    // Told of other members, it is not to find the cluster it was told of before.
    let other = Server::member("other").await;
    let moved = machine.gateway(&format!("members = [{:?}]", other.http())).await;
    assert_eq!(moved.ask("1").await.unwrap(), "other:1");
}

#[tokio::test]
async fn members_are_followed_while_one_connection_is_held() {
    let machine = Machine::new();
    let old = Server::member("old").await;
    let peer = Server::peer(list("http://127.0.0.1:9", &[old.http()])).await;
    let (config, port) = (peers(&[&peer]), peer.port);
    let patience = Patience {
        open: Duration::from_millis(50),
        ..Patience::default()
    };
    let gateway = machine.gateway_with(&config, patience).await;
    let mut held = gateway.connect().await;
    assert_eq!(say(&mut held, "1").await.unwrap(), "old:1");

    // One after the other is replaced; the one that is held goes last, and with it the peer it was told of.
    let new = Server::member("new").await;
    peer.end().await;
    let peer = Server::peer_at(port, list("http://127.0.0.1:9", &[old.http(), new.http()])).await;
    machine.remembers(&new.http()).await;
    assert_eq!(say(&mut held, "2").await.unwrap(), "old:2", "nobody came anew");
    peer.end().await;
    old.end().await;
    assert_eq!(gateway.ask("3").await.unwrap(), "new:3");
}

#[tokio::test]
async fn without_a_member_connections_are_closed_and_that_is_said_once_per_outage() {
    let (log, _guard) = Log::new();
    let machine = Machine::new();
    let member = Server::member("m").await;
    let (port, address) = (member.port, member.http());
    member.end().await;
    let gateway = machine.gateway(&format!("members = [{address:?}]")).await;
    for outages in 1..=2 {
        for _ in 0..3 {
            assert_eq!(gateway.ask("1").await, None);
        }
        let said = log.lines(OUTAGE);
        assert_eq!(said.len(), outages, "{said:?}");
        assert!(
            said[0].contains(&address) && said[0].contains("refused"),
            "{said:?}"
        );
        let member = Server::member_at(port, "m").await;
        assert_eq!(gateway.ask("1").await.unwrap(), "m:1");
        assert_eq!(log.lines("after_an_outage=true").len(), outages);
        member.end().await;
    }
}

#[tokio::test]
async fn peers_that_do_not_answer_are_no_end_of_what_is_known() {
    let (log, _guard) = Log::new();
    let machine = Machine::new();
    let member = Server::member("m").await;
    let odd = Server::peer("hello".to_owned()).await;
    let config = format!("{}\nmembers = [{:?}]", peers(&[&odd]), member.http());
    let gateway = machine.gateway(&config).await;
    for _ in 0..3 {
        assert_eq!(gateway.ask("1").await.unwrap(), "m:1");
    }
    while log.lines("could not learn").is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let said = log.lines("could not learn");
    assert!(said[0].contains("it is no list of members"), "{said:?}");
}

#[tokio::test]
async fn tls_is_spoken_to_members_and_plain_text_to_clients() {
    let machine = Machine::new();
    let pki = Pki::new();
    pki.issue("member", "127.0.0.1");
    pki.issue("machine", "127.0.0.1");
    let member = Server::tls_member("m", pki.acceptor("member")).await;
    let peer = Server::peer(list("http://127.0.0.1:9", &[member.https()])).await;
    let config = format!("{}\n{}", peers(&[&peer]), pki.keys(Some("machine")));
    let gateway = machine.gateway(&config).await;
    assert_eq!(
        gateway.ask("GET /health").await.unwrap(),
        "m/http/1.1:GET /health"
    );
    assert_eq!(gateway.ask(HTTP2).await.unwrap(), format!("m/h2:{HTTP2}"));
    let mut slow = gateway.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut slow, b"P")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        say(&mut slow, "RI").await.unwrap(),
        "m/h2:PRI",
        "however it comes in"
    );
}

#[tokio::test]
async fn a_member_that_cannot_be_checked_is_not_spoken_to() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("member", "127.0.0.1");
    pki.issue("elsewhere", "10.9.9.9");
    pki.issue("machine", "127.0.0.1");
    other.issue("machine", "127.0.0.1");
    let right = Server::tls_member("m", pki.acceptor("member")).await;
    let wrong_name = Server::tls_member("m", pki.acceptor("elsewhere")).await;
    let plain = Server::member("plain").await;
    let members = |server: &Server, keys: String| format!("members = [{:?}]\n{keys}", server.https());
    let ca = other.path("ca.pem").display().to_string();
    let mixed = Pki::new();
    std::fs::copy(pki.path("ca.pem"), mixed.path("ca.pem")).unwrap();
    for suffix in ["pem", "key"] {
        let name = format!("machine.{suffix}");
        std::fs::copy(other.path(&name), mixed.path(&name)).unwrap();
    }
    let taken = mixed.path("machine.pem").display().to_string();
    for (config, expected) in [
        (
            members(&right, other.keys(None)),
            format!("its certificate is not signed by a CA of {ca} (cafile)"),
        ),
        (
            members(&wrong_name, pki.keys(None)),
            "its certificate is not for 127.0.0.1: add that name to it".to_owned(),
        ),
        (
            members(&right, pki.keys(None)),
            "it asks for a client certificate: set certfile and keyfile".to_owned(),
        ),
        (
            members(&right, mixed.keys(Some("machine"))),
            format!("it does not take the client certificate {taken} (certfile)"),
        ),
        (
            members(&plain, pki.keys(None)),
            "it does not speak TLS: then its address has to say http://".to_owned(),
        ),
    ] {
        let (log, _guard) = Log::new();
        let machine = Machine::new();
        let gateway = machine.gateway(&config).await;
        assert_eq!(gateway.ask(HTTP2).await, None, "{expected}");
        let said = log.lines(OUTAGE);
        assert!(
            said.len() == 1 && said[0].contains(&expected),
            "{expected}: {said:?}"
        );
    }
}

#[tokio::test]
async fn a_member_that_says_nothing_is_given_a_second() {
    let machine = Machine::new();
    let pki = Pki::new();
    pki.issue("member", "127.0.0.1");
    pki.issue("machine", "127.0.0.1");
    let (silent, member) = (
        Server::silent().await,
        Server::tls_member("m", pki.acceptor("member")).await,
    );
    let config = format!(
        "members = [{:?}, {:?}]\n{}",
        silent.https(),
        member.https(),
        pki.keys(Some("machine"))
    );
    let gateway = machine.gateway(&config).await;
    let begun = tokio::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(gateway.ask("1").await.unwrap(), "m/http/1.1:1");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "once, not for each connection"
    );
}

#[tokio::test]
async fn a_member_that_takes_connections_and_hangs_is_tried_last() {
    let (log, _guard) = Log::new();
    let machine = Machine::new();
    let (a, b) = (Server::member("a").await, Server::member("b").await);
    let gateway = machine
        .gateway(&format!("members = [{:?}, {:?}]", a.http(), b.http()))
        .await;
    let first = gateway.ask("1").await.unwrap();
    let (frozen, left) = if first == "a:1" { (a, "b:2") } else { (b, "a:2") };
    let port = frozen.port;
    frozen.end().await;
    let _frozen = Server::silent_at(port).await;

    // A client that waits for an answer, and gives up. One that said nothing waited for none.
    drop(gateway.connect().await);
    let mut client = gateway.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut client, b"?")
        .await
        .unwrap();
    drop(client);
    while log.lines("heard nothing from a member").is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..3 {
        assert_eq!(gateway.ask("2").await.unwrap(), left);
    }
    let said = log.lines("heard nothing from a member");
    assert!(said.len() == 1 && said[0].contains(&port.to_string()), "{said:?}");
}

#[tokio::test]
async fn the_first_address_has_to_be_free_and_the_others_are_tried() {
    let (log, _guard) = Log::new();
    let machine = Machine::new();
    let holder = Server::silent().await;
    let taken = holder.port;
    let members = r#"members = ["http://10.0.0.1:2379"]"#;
    let second = format!("{members}\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:{taken}\"]");
    let gateway = machine.open(&second).await.unwrap();
    assert_eq!(gateway.addresses().len(), 1);
    assert_eq!(log.lines("could not listen on a second address").len(), 1);
    let first = format!("{members}\nlisten = [\"127.0.0.1:{taken}\"]");
    let said = machine.open(&first).await.unwrap_err().to_string();
    assert_eq!(
        said,
        format!("cannot listen on 127.0.0.1:{taken}: Address already in use (os error 98)")
    );
}
