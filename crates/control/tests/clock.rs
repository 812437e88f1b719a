//! The server's clock jumps, forwards and backwards, in the middle of a job: no host is given up, no task is lost.
#![allow(missing_docs)]

mod common;

use common::*;
use drydock_domain::patch::task::TaskState;

/// Three hours: far beyond every patience of the server (90 s, 300 s).
const JUMP_SECS: i64 = 3 * 3600;

#[tokio::test]
async fn a_jump_forwards_gives_up_no_attached_host() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    let _attached: Vec<_> = hosts.iter().map(|host| world.control.hub().attach(host.id)).collect();
    let job = world.job(r#"{"instanceFilter":{"all":true},"concurrency":{"fixed":1}}"#).await;
    world.settle().await;
    let first = hosts[0].take(&world).await.task.task;
    hosts[0].report(&world, first, 1, TaskState::ApplyingPatches).await;

    world.pass(JUMP_SECS);
    world.settle().await;
    assert_eq!(world.states(job).await, ["APPLYING_PATCHES", "PENDING"]);

    hosts[0].report(&world, first, 2, TaskState::Succeeded).await;
    world.settle().await;
    let second = hosts[1].take(&world).await.task.task;
    hosts[1].report(&world, second, 1, TaskState::Succeeded).await;
    world.settle().await;
    assert_eq!(world.view(job).await.record.state.as_str(), "SUCCEEDED");
}

#[tokio::test]
async fn a_jump_backwards_stops_nothing() {
    let world = World::new().await;
    let hosts = world.hosts(2).await;
    let job = world.job(r#"{"instanceFilter":{"all":true},"concurrency":{"fixed":1},"durationSecs":600}"#).await;
    world.settle().await;
    let first = hosts[0].take(&world).await.task.task;
    hosts[0].report(&world, first, 1, TaskState::ApplyingPatches).await;

    world.pass(-JUMP_SECS);
    world.settle().await;
    hosts[0].report(&world, first, 2, TaskState::Succeeded).await;
    world.settle().await;
    assert_eq!(world.states(job).await, ["SUCCEEDED", "NOTIFIED"]);
    let second = hosts[1].take(&world).await.task.task;
    hosts[1].report(&world, second, 1, TaskState::Succeeded).await;
    world.settle().await;
    assert_eq!(world.view(job).await.record.state.as_str(), "SUCCEEDED");
}

#[tokio::test]
async fn order_numbers_grow_though_the_clock_went_back() {
    let world = World::new().await;
    let hosts = world.hosts(1).await;
    let mut last = 0;
    for _ in 0..3 {
        let job = world.job(r#"{"instanceFilter":{"all":true}}"#).await;
        world.settle().await;
        let order = hosts[0].take(&world).await;
        assert!(order.number > last, "the agent refuses order {} after {last}", order.number);
        last = order.number;
        hosts[0].report(&world, order.task.task, 1, TaskState::Succeeded).await;
        world.settle().await;
        assert_eq!(world.view(job).await.record.state.as_str(), "SUCCEEDED");
        world.pass(-JUMP_SECS);
    }
}
