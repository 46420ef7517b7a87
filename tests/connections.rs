//! Connections come to an end of what the system has, and go on.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::program::Program;
use crate::support::golden;
use crate::wire::{exchange, get, request};

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_the_server_waits_and_then_serves_on() {
    let server = Program::serve_with_files(80, &golden("bert-sequence"));
    let address = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let open = get(address, "/readyz").await;
    assert_eq!(open.status(), 200);
    let mut held = Vec::new();
    for _ in 0..120 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = server.processor_time();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = server.processor_time() - before;
    assert!(
        used < Duration::from_millis(700),
        "{used:?} of one second: it spins"
    );
    // The first are served; the last is once there is room.
    let ask = request("GET", "/readyz", &[], b"");
    assert_eq!(exchange(held.swap_remove(0), &ask).await.status(), 200);
    let last = held.pop().unwrap();
    drop(held);
    assert_eq!(exchange(last, &ask).await.status(), 200);
    server.stop();
}
