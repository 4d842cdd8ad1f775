//! What a change costs etcd and systemd, held to what docs/costs.md states: counts, so that no clock has a say.
//!
//! Every change is made in a small cluster and in a large one, and must cost the same in both.

mod ledger;

use std::time::Duration;

use futures_util::future::join_all;
use units::UnitFile;

use self::ledger::{Cost, Ledger};
use crate::world::{TTL, World};

/// Machines, and units on them.
const SMALL: (usize, usize) = (4, 30);
const LARGE: (usize, usize) = (30, 600);

/// The machine that the changes concern, and the one that takes over from it.
const HOME: usize = 1;
const HEIR: usize = 2;
/// How many units run on each of the two.
const HELD: usize = 10;

/// Revisions and generations are numbers in what is written; from here on they have the same length in every cluster.
const LONG_NUMBERS: i64 = 10_000;

/// The row of the table for a change; what it did is done when the cluster is quiet again.
struct Bench {
    world: World,
    ledger: Ledger,
    before: Vec<Cost>,
    all: u64,
}

impl Bench {
    async fn new((machines, units): (usize, usize)) -> Self {
        let mut world = World::empty();
        for n in 0..machines {
            let role = if [HOME, HEIR].contains(&n) {
                "role=held"
            } else {
                "role=free"
            };
            world.join(&[role]).await;
            if n == 0 {
                // So that it leads, and the others do what the table has in a row of its own.
                world.settle().await;
            }
        }
        let ofs =
            |role: &str| format!("[Service]\nExecStart=/bin/u\n[X-Fleet]\nMachineMetadata=role={role}\n");
        for n in 0..units {
            let role = if n < 2 * HELD { "held" } else { "free" };
            world.launch(&format!("u{n}.service"), &ofs(role)).await;
        }
        world.settle().await;
        while world.store.revision() < LONG_NUMBERS {
            world.say("/elsewhere".to_owned(), "").await;
        }
        let active = |machine| {
            (0..units)
                .filter(|n| world.active_on(&format!("u{n}.service")) == [machine])
                .count()
        };
        assert_eq!([HOME, HEIR].map(active), [HELD; 2]);
        Self {
            world,
            ledger: Ledger::default(),
            before: Vec::new(),
            all: 0,
        }
    }

    fn begin(&mut self) {
        self.before = self.world.machines.iter().map(Cost::of).collect();
        self.all = self.world.store.dump().len() as u64 - 1;
    }

    /// Enters what has been asked since: by who leads, by the named machines, and by each of the others.
    fn enter(&mut self, change: &str, named: &[(usize, &str)]) {
        let mut others = Cost::default();
        for (n, before) in self.before.iter().enumerate() {
            let cost = Cost::of(&self.world.machines[n]).since(*before);
            let leads = self.world.leads(n).then_some("leader");
            match named.iter().find(|(m, _)| *m == n).map(|(_, who)| *who).or(leads) {
                Some(who) => self.ledger.enter(change, who, cost, self.all),
                None => others = others.at_most(cost),
            }
        }
        self.ledger.enter(change, "each other", others, self.all);
    }

    /// A change by a request to the API of a machine that has no other part in it.
    async fn ask(&mut self, change: &str, method: &str, unit: &str, body: &str) {
        self.begin();
        let path = format!("/fleet/v1/units/{unit}");
        let (status, said) = self.world.ask(HEIR, method, &path, body).await;
        assert!((200..300).contains(&status), "{change}: {status} {said}");
        self.world.settle().await;
        self.enter(change, &[(HEIR, "API"), (HOME, "agent")]);
    }

    /// A hundred units of one machine get other content at once.
    async fn many_changed(&mut self) {
        let units: Vec<String> = (0..100).map(|n| format!("batch@{n:02}.service")).collect();
        let [before, after] = ["/bin/one", "/bin/two"].map(|program| self.body(program, "launched"));
        self.put_all(&units, &before).await;
        self.begin();
        self.put_all(&units, &after).await;
        self.enter("100 running units changed", &[(HEIR, "API"), (HOME, "agent")]);
        for unit in &units {
            self.world.destroy(unit).await;
        }
        self.world.settle().await;
    }

    async fn put_all(&self, units: &[String], body: &str) {
        let put = async |unit: &String| {
            let path = format!("/fleet/v1/units/{unit}");
            self.world.ask(HEIR, "PUT", &path, body).await
        };
        for (status, said) in join_all(units.iter().map(put)).await {
            assert_eq!(status, 201, "{said}");
        }
        self.world.settle().await;
    }

    /// The body of a request for a unit that belongs to [`HOME`].
    fn body(&self, program: &str, desired: &str) -> String {
        let text = format!(
            "[Service]\nExecStart={program}\n[X-Fleet]\nMachineID={}\n",
            self.world.machines[HOME].id
        );
        let options = UnitFile::parse(&text).unwrap().into_options();
        serde_json::json!({ "options": options, "desiredState": desired }).to_string()
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_costs_what_is_stated_however_large_the_cluster() {
    for size in [SMALL, LARGE] {
        let mut bench = Bench::new(size).await;
        bench.begin();
        bench.world.pass(300).await;
        bench.enter("five minutes at rest", &[]);

        let unit = "new.service";
        let desired = |state: &str| format!(r#"{{"desiredState":"{state}"}}"#);
        let body = bench.body("/bin/one", "inactive");
        bench.ask("a unit submitted", "PUT", unit, &body).await;
        bench
            .ask("a submitted unit started", "PUT", unit, &desired("launched"))
            .await;
        bench.ask("a unit stopped", "PUT", unit, &desired("loaded")).await;
        bench
            .ask("a stopped unit started", "PUT", unit, &desired("launched"))
            .await;
        let body = bench.body("/bin/two", "launched");
        bench.ask("a running unit changed", "PUT", unit, &body).await;
        bench.ask("a running unit destroyed", "DELETE", unit, "").await;
        let body = bench.body("/bin/three", "launched");
        bench.ask("a new unit started", "PUT", unit, &body).await;
        bench.many_changed().await;
        bench.world.destroy(unit).await;
        bench.world.settle().await;

        bench.begin();
        bench.world.restart(HOME).await;
        bench.world.settle().await;
        bench.enter("fleetd restarted, with 10 units", &[(HOME, "agent")]);

        bench.begin();
        bench.world.kill(HOME);
        bench.world.pass(TTL.as_secs() + 2).await;
        bench.world.settle().await;
        bench.enter(
            "a machine lost, with 10 units",
            &[(HEIR, "agent that takes over")],
        );

        bench.begin();
        bench.world.crash(0);
        // Before the machine counts as lost.
        tokio::time::sleep(Duration::from_secs(8)).await;
        bench.enter("the leader lost", &[]);
        bench
            .ledger
            .check(&format!("{} machines, {} units", size.0, size.1));
    }
}
