//! One connection of a client, and its twin to the broker: a thread for each direction.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::script::{Fault, Moment, Script};
use super::wire::{self, Api};

/// What the two directions of a connection share.
pub(super) struct Link {
    client: TcpStream,
    broker: TcpStream,
    script: Arc<Script>,
    broker_port: u16,
    proxy_port: u16,
    awaited: Mutex<Awaited>,
}

#[derive(Default)]
struct Awaited {
    /// What is to become of the answers that have not come, by correlation id.
    answers: HashMap<i32, (Api, Fate)>,
    /// The client sends nothing more: the connection ends with the last answer.
    complete: bool,
}

/// What becomes of an answer.
#[derive(Clone, Copy)]
enum Fate {
    Sent,
    Dropped,
    Delayed(Moment),
    /// The answer tells of an error, at this place.
    Failed(usize),
    /// The connection breaks in its place.
    Closed,
}

impl Link {
    /// Connects a client with the broker; a broker that is not there breaks the client's connection.
    pub(super) fn open(
        client: TcpStream,
        broker: SocketAddr,
        proxy_port: u16,
        script: &Arc<Script>,
    ) {
        let Ok(to_broker) = TcpStream::connect(broker) else {
            return;
        };
        // Small messages must not wait for each other.
        let _ = (client.set_nodelay(true), to_broker.set_nodelay(true));
        let link = Arc::new(Link {
            client,
            broker: to_broker,
            script: Arc::clone(script),
            broker_port: broker.port(),
            proxy_port,
            awaited: Mutex::default(),
        });
        let of_answers = Arc::clone(&link);
        std::thread::spawn(move || link.carry_requests(broker));
        std::thread::spawn(move || of_answers.carry_answers());
    }

    fn carry_requests(&self, broker: SocketAddr) {
        let (Ok(mut from), Ok(mut to)) = (self.client.try_clone(), self.broker.try_clone()) else {
            return self.close();
        };
        while let Ok(Some(message)) = wire::read(&mut from) {
            let Some((api, correlation)) = wire::request(&message) else {
                break;
            };
            let fault = self.script.look(api, &message);
            let fate = match fault {
                Some(Fault::DropRequest) => continue,
                Some(Fault::HoldRequest(moment)) => {
                    self.deliver_later(api, message, moment, broker);
                    continue;
                }
                Some(Fault::CloseBefore) => break,
                Some(Fault::CloseAndDeliver(moment)) => {
                    self.deliver_later(api, message, moment, broker);
                    break;
                }
                Some(Fault::Repeat(moment)) => {
                    self.deliver_later(api, message.clone(), moment, broker);
                    Fate::Sent
                }
                Some(Fault::DelayRequest(moment)) => {
                    if !self.script.wait(moment) {
                        break;
                    }
                    Fate::Sent
                }
                Some(Fault::FailEnd) => Fate::Failed(wire::error_of_end(&message)),
                Some(Fault::DropAnswer) => Fate::Dropped,
                Some(Fault::DelayAnswer(moment)) => Fate::Delayed(moment),
                Some(Fault::CloseBehind) => Fate::Closed,
                None => Fate::Sent,
            };
            self.awaited().answers.insert(correlation, (api, fate));
            if wire::write(&mut to, &message).is_err() {
                return self.close();
            }
        }
        // What was passed on takes effect and is answered, whether or not the client is still there.
        let _ = self.client.shutdown(Shutdown::Both);
        let mut awaited = self.awaited();
        awaited.complete = true;
        if awaited.answers.is_empty() {
            self.close();
        }
    }

    fn carry_answers(&self) {
        let (Ok(mut from), Ok(mut to)) = (self.broker.try_clone(), self.client.try_clone()) else {
            return self.close();
        };
        while let Ok(Some(mut message)) = wire::read(&mut from) {
            let awaited = wire::answer(&message)
                .and_then(|correlation| self.awaited().answers.remove(&correlation));
            let Some((api, fate)) = awaited else {
                break;
            };
            let sent = match fate {
                Fate::Sent => true,
                Fate::Failed(at) => {
                    message[at..at + 2].copy_from_slice(&(-1_i16).to_be_bytes());
                    true
                }
                Fate::Dropped => false,
                Fate::Delayed(moment) if self.script.wait(moment) => true,
                Fate::Delayed(_) | Fate::Closed => break,
            };
            if sent {
                if self.script.hides_brokers() {
                    wire::name_no_broker(api, &mut message);
                }
                wire::name_the_proxy(api, &mut message, self.broker_port, self.proxy_port);
                if wire::write(&mut to, &message).is_ok() {
                    self.script.answered(api);
                }
            }
            let awaited = self.awaited();
            if awaited.complete && awaited.answers.is_empty() {
                break;
            }
        }
        self.close();
    }

    /// Sends a request over a connection of its own when its moment has come, and keeps the answer.
    fn deliver_later(&self, api: Api, message: Vec<u8>, moment: Moment, broker: SocketAddr) {
        let script = Arc::clone(&self.script);
        std::thread::spawn(move || {
            if !script.wait(moment) {
                return;
            }
            let Ok(mut stream) = TcpStream::connect(broker) else {
                return;
            };
            if wire::write(&mut stream, &message).is_ok()
                && let Ok(Some(answer)) = wire::read(&mut stream)
            {
                script.swallow(api, answer);
            }
        });
    }

    fn close(&self) {
        // One that is closed already needs nothing more.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    fn awaited(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
