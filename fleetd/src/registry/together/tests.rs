use futures_util::future::join_all;

use super::*;
use crate::registry::contract::{self, Compact, Subject};
use crate::registry::memory::MemoryRegistry;
use crate::registry::{Precondition, RegistryError};

fn one(key: String) -> [Select; 1] {
    [Select::Key(key)]
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract() {
    let mut broken = Vec::new();
    for (name, case) in contract::cases() {
        let store = MemoryRegistry::new();
        let compactor = store.clone();
        let compact: Compact = Arc::new(move |revision| {
            let store = compactor.clone();
            Box::pin(async move { Ok(store.compact(revision)?) })
        });
        let together = Arc::new(Together::new(Arc::new(store)));
        if let Err(error) = case(Subject::new(together, compact, format!("/contract/{name}/"))).await {
            broken.push(format!("{name}: {error:#}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_goes_together_and_each_gets_its_own_answer() {
    let store = MemoryRegistry::new();
    let together = Together::new(Arc::new(store.clone()));
    let create = |n: usize| {
        let key = format!("u{n}");
        Txn::new()
            .when(Precondition::Absent(key.clone()))
            .put("content", "text")
            .put(key, n.to_string())
    };
    let written = join_all((0..300).map(|n| together.commit(create(n)))).await;
    assert!(
        written.iter().all(|c| matches!(c, Ok(Commit::Applied(_)))),
        "{written:?}"
    );
    // As many as etcd takes in one.
    assert_eq!(store.revision(), 1 + 3);
    let read = join_all((0..300).map(|n| async move { n }).map(async |n| {
        let n = n.await;
        together
            .read(&one(format!("u{n}")))
            .await
            .map(|found| (n, found.kvs))
    }))
    .await;
    for found in read {
        let (n, kvs) = found.unwrap();
        let values: Vec<&[u8]> = kvs.iter().map(|kv| kv.value.as_slice()).collect();
        assert_eq!(values, [n.to_string().as_bytes()]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_spoils_no_other() {
    let together = Together::new(Arc::new(MemoryRegistry::new()));
    together.commit(Txn::new().put("there", "1")).await.unwrap();
    let too_large = (0..200).fold(Txn::new(), |txn, n| txn.put(format!("k{n}"), ""));
    let absent = |key: &str| Txn::new().when(Precondition::Absent(key.into())).put(key, "2");
    let answers = join_all([
        together.commit(absent("a")),
        together.commit(absent("there")),
        together.commit(too_large),
        together.commit(absent("b")),
        together.commit(absent("b")),
    ])
    .await;
    let words: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            Ok(Commit::Applied(_)) => "applied",
            Ok(Commit::Refused(_)) => "refused",
            Err(RegistryError::Refused(_)) => "never",
            Err(_) => "failed",
        })
        .collect();
    assert_eq!(words, ["applied", "refused", "never", "applied", "refused"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_fails_all_and_nobody_waits_for_ever() {
    let store = MemoryRegistry::new();
    let client = store.client("one");
    let together = Together::new(Arc::new(client.clone()));
    client.cut();
    let put = |n: usize| Txn::new().put(format!("u{n}"), "");
    let answers = join_all((0..50).map(|n| together.commit(put(n)))).await;
    assert!(
        answers
            .iter()
            .all(|a| matches!(a, Err(RegistryError::Unavailable(_)))),
        "{answers:?}"
    );
    client.mend();
    assert!(together.commit(put(0)).await.is_ok());
}
