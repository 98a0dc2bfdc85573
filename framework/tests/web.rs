//! A run's figures over HTTP.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tiderace::runtime::Progress;
use tiderace::web::{Health, Server, serve};

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn server(progress: &Arc<Progress>, health: &Health) -> Server {
    serve(":0", "rides \"per\" zone", progress.clone(), health.clone()).unwrap()
}

#[test]
fn metrics_show_the_figures_of_the_moment() {
    let progress = Arc::new(Progress::default());
    let server = server(&progress, &Health::default());
    assert!(!get(server.address(), "/metrics").contains("watermark"));
    progress.read.store(42, Ordering::Relaxed);
    progress.watermark.store(1_500, Ordering::Relaxed);
    let answer = get(server.address(), "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("tiderace_records_read_total{application=\"rides \\\"per\\\" zone\"} 42\n"),
        "{answer}"
    );
    assert!(
        answer.contains("tiderace_watermark_seconds{application=\"rides \\\"per\\\" zone\"} 1.5\n"),
        "{answer}"
    );
    assert!(
        answer.contains("verdict=\"dead_lettered\"} 0\n"),
        "{answer}"
    );
}

#[test]
fn health_follows_the_run() {
    let health = Health::default();
    let server = server(&Arc::default(), &health);
    assert!(get(server.address(), "/health").starts_with("HTTP/1.1 503"));
    health.start();
    assert!(get(server.address(), "/health").starts_with("HTTP/1.1 200"));
    health.fail("worker 0 panicked");
    let answer = get(server.address(), "/health");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("failed: worker 0 panicked\n"), "{answer}");
}

#[test]
fn a_host_left_out_is_loopback() {
    assert!(
        server(&Arc::default(), &Health::default())
            .address()
            .ip()
            .is_loopback()
    );
    let server = serve("0", "a", Arc::default(), Health::default()).unwrap();
    assert!(server.address().ip().is_loopback());
}

#[test]
fn a_dropped_server_frees_its_port() {
    let first = server(&Arc::default(), &Health::default());
    let address = first.address().to_string();
    assert!(serve(&address, "a", Arc::default(), Health::default()).is_err());
    drop(first);
    assert!(serve(&address, "a", Arc::default(), Health::default()).is_ok());
}
