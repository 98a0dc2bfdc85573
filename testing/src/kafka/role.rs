//! The two processes of a broker with its controller: what each is told.

use std::path::{Path, PathBuf};

/// One of the two processes.
pub(super) struct Role {
    /// Of its files.
    pub(super) name: &'static str,
    /// Java's options.
    pub(super) java: &'static [&'static str],
    /// Its configuration; where its data lie, and the ports of the plain, the SASL and the controller's listener.
    pub(super) properties: fn(&Path, [u16; 3]) -> String,
}

/// A broker that starts soon, takes little, and does soon what is to be tested.
pub(super) const BROKER: Role = Role {
    name: "broker",
    java: &[
        "-Xmx512m",
        "-Xms64m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
    ],
    properties: |data, ports| broker(data, ports) + SOON,
};

/// A broker as it runs in production, on two cores that others share: Java's best compiler and its default collector, with a
/// heap of 1 GiB. The limit of 20 ms a pause in Kafka's own scripts is meant for a heap of 6 GiB: in one of 1 GiB the
/// collector keeps to it by making the young generation so small that it pauses for 20 ms up to once a second.
pub(super) const MEASURED: Role = Role {
    name: "broker",
    java: &["-Xms1g", "-Xmx1g", "-XX:+UseG1GC"],
    properties: |data, ports| broker(data, ports) + FEW_THREADS,
};

/// A controller that soon takes the partitions of a broker that is gone: one that was killed may register again only when its
/// last session has expired.
pub(super) const CONTROLLER: Role = Role {
    name: "controller",
    java: CONTROLLERS_JAVA,
    properties: |data, ports| controller(data, ports) + "broker.session.timeout.ms=2000\n",
};

/// A controller for a broker that is frozen for a while: one that takes a frozen broker's partitions from it has it lose the
/// markers of transactions that end when it goes on (KAFKA-20734).
pub(super) const PATIENT: Role = Role {
    name: "controller",
    java: CONTROLLERS_JAVA,
    properties: |data, ports| controller(data, ports) + "broker.session.timeout.ms=120000\n",
};

const CONTROLLERS_JAVA: &[&str] = &[
    "-Xmx256m",
    "-Xms64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
];

pub(super) const ROLES: [&Role; 2] = [&CONTROLLER, &BROKER];

impl Role {
    /// Its configuration.
    pub(super) fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.properties", self.name))
    }

    /// What it says.
    pub(super) fn log(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.log", self.name))
    }
}

/// What tests wait for.
const SOON: &str = "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
";

/// Threads for two cores that others share.
const FEW_THREADS: &str = "num.network.threads=1
num.io.threads=2
";

fn broker(data: &Path, [plain, sasl, controller]: [u16; 3]) -> String {
    let (user, password) = (super::USER, super::PASSWORD);
    format!(
        "process.roles=broker
node.id=1
controller.quorum.voters=2@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
username=\"{user}\" password=\"{password}\" user_{user}=\"{password}\";
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=200
auto.create.topics.enable=false
",
        data = data.display()
    )
}

fn controller(data: &Path, [_, _, controller]: [u16; 3]) -> String {
    format!(
        "process.roles=controller
node.id=2
controller.quorum.voters=2@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://127.0.0.1:{controller}
log.dirs={data}
",
        data = data.display()
    )
}
