//! Creates topics, with a client that shares no code with the engine.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn create(bootstrap: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .expect("the properties are valid");
    let topics =
        [NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1")];
    let created = block_on(admin.create_topics(&topics, &Default::default()));
    for outcome in created.expect("the broker answers") {
        outcome.expect("the topic can be created");
    }
    // The controller has it; the broker, whom clients ask, may take a moment.
    let begun = Instant::now();
    loop {
        let found = admin.inner().fetch_metadata(Some(topic), LIMIT);
        let found = found.expect("the broker answers");
        if found.topics()[0].partitions().len() == partitions as usize {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "topic `{topic}` does not appear");
        std::thread::yield_now();
    }
}

/// Runs a future whose progress is made by another thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
