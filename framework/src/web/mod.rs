//! What a run tells over HTTP: `/metrics` as Prometheus text and `/health`.
//!
//! The server has a thread and a runtime of its own, so a slow reader costs the engine nothing; it reads
//! [`Progress`] and writes nothing. It listens on loopback unless told otherwise.

mod metrics;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::runtime::{Progress, SharedProgress};

pub use metrics::prometheus;

/// Whether the run is well, as `/health` tells it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<HealthState>);

#[derive(Debug, Default)]
struct HealthState {
    started: AtomicBool,
    failure: OnceLock<String>,
}

impl Health {
    /// The run has started: `/health` answers 200 from now on, while it is well: while it waits to restart after a
    /// failure, or a worker stands still, it answers 503 and says so.
    pub fn start(&self) {
        self.0.started.store(true, Ordering::Release);
    }

    /// The run has failed: `/health` answers 503 with the reason. The first reason stays.
    pub fn fail(&self, reason: impl Into<String>) {
        let _ = self.0.failure.set(reason.into());
    }

    fn answer(&self, progress: &Progress) -> (StatusCode, String) {
        let unwell = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text);
        if let Some(reason) = self.0.failure.get() {
            return unwell(format!("failed: {reason}\n"));
        }
        if !self.0.started.load(Ordering::Acquire) {
            return unwell("starting\n".to_owned());
        }
        match trouble(progress) {
            Some(trouble) => unwell(trouble),
            None => (StatusCode::OK, "running\n".to_owned()),
        }
    }
}

/// Why a run that goes on is not well, one line a reason.
fn trouble(progress: &Progress) -> Option<String> {
    let stalls = progress.stalls();
    let stalls = stalls.iter().map(|stall| format!("stalled: {stall}\n"));
    let trouble = progress.trouble().map(|trouble| format!("{trouble}\n"));
    let lines: String = trouble.into_iter().chain(stalls).collect();
    (!lines.is_empty()).then_some(lines)
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Shared {
    application_id: Arc<str>,
    progress: SharedProgress,
    health: Health,
}

/// Serves the figures of a run at `HOST:PORT`, on loopback if the host is left out (`:9090` or `9090`); port 0
/// takes any free one.
///
/// # Errors
/// The address cannot be resolved or listened on.
pub fn serve(
    address: &str,
    application_id: &str,
    progress: SharedProgress,
    health: Health,
) -> io::Result<Server> {
    let listener = TcpListener::bind(&*resolve(address)?)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let shared = Shared {
        application_id: application_id.into(),
        progress,
        health,
    };
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("tiderace-web".into()).spawn(move || {
        // Dropping the runtime closes what connections are still open.
        runtime.block_on(async {
            let serving = async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, routes(shared)).await
            };
            tokio::select! {
                ended = serving => if let Err(error) = ended { tracing::warn!(%error, "the web server ended") },
                _ = stopped => {}
            }
        });
    })?;
    Ok(Server {
        address,
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Server {
    /// The address it listens on, its port resolved.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let address = match address.rsplit_once(':') {
        None => format!("127.0.0.1:{address}"),
        Some(("", port)) => format!("127.0.0.1:{port}"),
        Some(_) => address.to_owned(),
    };
    Ok(address.to_socket_addrs()?.collect())
}

fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/health", get(health_page))
        .with_state(shared)
}

async fn metrics_page(State(shared): State<Shared>) -> impl IntoResponse {
    let progress: &Progress = &shared.progress;
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        prometheus(&shared.application_id, progress),
    )
}

async fn health_page(State(shared): State<Shared>) -> impl IntoResponse {
    shared.health.answer(&shared.progress)
}
