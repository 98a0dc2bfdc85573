//! A worker that does not go on is reported with the step and the record it sits at, until it does.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tiderace::web::{Health, serve};
use tiderace::{Config, Engine, OnError, StreamsBuilder, Topology};

use crate::job::PATIENCE;
use crate::place::{Place, RIDES, ZONES, ride, zones};

/// Holds whoever comes until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let opened = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(opened, |opened| !*opened).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// Opens the gate though the test fails: a worker that sits at it cannot be ended.
struct Opener(Gate);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn blocking(gate: Gate) -> Topology {
    let builder = StreamsBuilder::new("app");
    builder
        .stream(RIDES)
        .filter(|_| true)
        .map_values(move |ride| {
            if ride.zone == 7 {
                gate.pass();
            }
            ride.zone
        })
        .named("calls-a-service")
        .to(ZONES);
    builder.build().unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn rides(place: &Place) {
    let values: Vec<String> = (0..10).map(|zone| format!("{{\"zone\":{zone}}}")).collect();
    for value in &values {
        place.send(&[ride(1, value)]);
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what} does not come");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_closure_that_blocks_is_reported_with_its_step_and_record_until_it_returns() {
    for workers in [1, 3] {
        let place = Place::new(&[("rides", 2), ("zones", 1)]);
        rides(&place);
        let gate = Gate::default();
        let opener = Opener(gate.clone());
        let config = Config {
            workers,
            stall_timeout: Duration::from_millis(200),
            follow: true,
            ..place.config()
        };
        let running = Engine::start(blocking(gate), place.log.clone(), &config).unwrap();
        let progress = running.progress();
        let health = Health::default();
        health.start();
        let server = serve("0", "app", progress.clone(), health).unwrap();
        wait_until("the report", || !progress.stalls().is_empty());
        let [stall] = &progress.stalls()[..] else {
            panic!("others wait for nobody: {:?}", progress.stalls());
        };
        assert_eq!(stall.node, "calls-a-service");
        assert_eq!(
            stall.record.as_deref(),
            Some("topic `rides`, partition 1, offset 7")
        );
        assert!(stall.worker < workers && stall.still >= config.stall_timeout);
        let answer = get(server.address(), "/health");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("stalled: worker"), "{answer}");
        assert!(
            answer.contains("step `calls-a-service` at topic `rides`"),
            "{answer}"
        );
        let metrics = get(server.address(), "/metrics");
        let figure = format!(
            "tiderace_worker_stalled_seconds{{application=\"app\",worker=\"{}\",node=\"calls-a-service\"}} ",
            stall.worker
        );
        assert!(metrics.contains(&figure), "{metrics}");
        assert!(metrics.contains("tiderace_workers_stalled{application=\"app\"} 1\n"));
        drop(opener);
        wait_until("the end of the stall", || progress.stalls().is_empty());
        assert!(get(server.address(), "/health").starts_with("HTTP/1.1 200"));
        wait_until("the output", || place.texts("zones").len() == 10);
        running.stop_handle().stop();
        let report = running.join().unwrap();
        assert_eq!((report.counts.processed, report.restarts), (10, 0));
    }
}

#[test]
fn a_run_with_nothing_to_do_stands_still_without_a_report() {
    let place = Place::new(&[("rides", 2), ("zones", 1)]);
    rides(&place);
    let config = Config {
        workers: 2,
        stall_timeout: Duration::from_millis(1),
        follow: true,
        ..place.config()
    };
    let running = Engine::start(zones(OnError::Fail), place.log.clone(), &config).unwrap();
    let progress = running.progress();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        assert_eq!(progress.stalls(), []);
        assert!(!running.wait(Duration::from_millis(10)));
    }
    running.stop_handle().stop();
    running.join().unwrap();
}
