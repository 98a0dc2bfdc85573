//! A TCP proxy between clients and a Kafka broker, with faults by script: requests and answers that get lost,
//! come late or come twice, and connections that break at a chosen moment.
//!
//! Knows of the protocol that messages are framed by their length, that a request begins with its kind, version
//! and correlation id, and that an answer begins with that id. It changes what answers tell of the broker: they name the
//! proxy instead, so that every connection of a client leads through it, and no broker at all where that is wanted.

mod link;
mod script;
mod wire;

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use link::Link;
use script::Script;
pub use script::{Fault, Moment, Rule, When};
pub use wire::Api;

/// A running proxy; its connections break when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    script: Arc<Script>,
}

impl Proxy {
    /// Starts a proxy before the broker at `broker` (`127.0.0.1:PORT`), with these rules.
    ///
    /// # Panics
    /// `broker` is no address, or no port is free.
    pub fn start(broker: &str, rules: impl IntoIterator<Item = Rule>) -> Proxy {
        let broker: SocketAddr = broker.parse().expect("HOST:PORT of the broker");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let script = Arc::new(Script::new(rules));
        let of_listener = Arc::clone(&script);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_listener.is_over() {
                    return;
                }
                Link::open(client, broker, address.port(), &of_listener);
            }
        });
        Proxy { address, script }
    }

    /// `HOST:PORT` for clients.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Has answers about topics tell that the cluster has no broker, as one gives them that the controller has lost sight of; or
    /// those that it has again.
    pub fn hide_brokers(&self, hidden: bool) {
        self.script.hide_brokers(hidden);
    }

    /// How many requests of a kind have come, those among them that were not passed on.
    pub fn requests(&self, api: Api) -> u64 {
        self.script.requests(api)
    }

    /// How often each rule has struck, in the order of the rules.
    pub fn hits(&self) -> Vec<u64> {
        self.script.hits()
    }

    /// The answers to copies that were delivered behind the client's back, each with the kind of its request.
    pub fn swallowed(&self) -> Vec<(Api, Vec<u8>)> {
        self.script.swallowed()
    }

    /// Waits until the broker has answered so many copies that were delivered behind the client's back.
    ///
    /// # Panics
    /// That takes longer than half a minute.
    pub fn wait_for_swallowed(&self, wanted: usize) {
        self.script.wait_for_swallowed(wanted);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.script.end();
        // Wakes the listener, which sees that it is over.
        if let Ok(stream) = TcpStream::connect(self.address) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
