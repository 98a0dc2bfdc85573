//! One broker process: started, waited for, stopped, killed, frozen.
//!
//! Java runs under a small shell that reads its commands from a pipe. When the pipe closes, because the
//! [`Node`] is dropped or because the test process died, even of SIGKILL, the shell kills Java and deletes
//! the data. Statics are never dropped, so nothing less would do.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::{Pid, Signal, kill_process};

use super::install::Installation;

/// `$1` is the broker's folder, the rest is the command line. `read` does not reap, so Java's pid cannot
/// pass to another process before `wait`.
const GUARD: &str = r#"
folder=$1; shift
"$@" >>"$folder/broker.log" 2>&1 </dev/null & pid=$!
echo $pid
if read -r word; then
  if [ "$word" = term ]; then kill -TERM $pid; else kill -KILL $pid; fi
  wait $pid
else
  kill -KILL $pid; wait $pid; rm -rf "$folder"
fi
"#;

const START_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Node {
    folder: PathBuf,
    jars: PathBuf,
    ports: [u16; 3],
    bootstrap: String,
    sasl_bootstrap: String,
    guard: Mutex<Option<Guard>>,
}

struct Guard {
    shell: Child,
    commands: ChildStdin,
    java: Pid,
}

impl Node {
    /// Starts a broker and returns when it answers. Another process may take a free port before the broker
    /// does; then others are tried.
    pub(super) fn start(installation: &Installation) -> Node {
        let mut log = String::new();
        for _ in 0..3 {
            let ports = free_ports();
            let folder = tempfile::Builder::new()
                .prefix("tiderace-kafka-")
                .tempdir()
                .expect("a temporary folder");
            let folder = folder.keep();
            copy(&installation.template, &folder.join("data"));
            fs::write(
                folder.join("server.properties"),
                properties(&folder.join("data"), ports),
            )
            .expect("the temporary folder can be written");
            let node = Node {
                folder,
                jars: installation.jars.clone(),
                ports,
                bootstrap: format!("127.0.0.1:{}", ports[0]),
                sasl_bootstrap: format!("127.0.0.1:{}", ports[1]),
                guard: Mutex::new(None),
            };
            if node.launch() {
                return node;
            }
            log = fs::read_to_string(node.folder.join("broker.log")).unwrap_or_default();
        }
        panic!("the broker does not start; its log says:\n{log}");
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(super) fn sasl_bootstrap(&self) -> &str {
        &self.sasl_bootstrap
    }

    pub(super) fn signal(&self, signal: Signal) {
        let guard = self.guard.lock().expect("no test panics inside");
        let java = guard.as_ref().expect("the broker runs").java;
        kill_process(java, signal).expect("the broker is our own process");
    }

    /// Gives the guard its word and waits until Java is gone.
    pub(super) fn end(&self, word: &str) {
        let mut guard = self.guard.lock().expect("no test panics inside");
        let mut running = guard.take().expect("the broker runs");
        writeln!(running.commands, "{word}").expect("the guard reads");
        running.shell.wait().expect("the guard is our own child");
    }

    pub(super) fn restart(&self) {
        assert!(
            self.guard.lock().expect("no test panics inside").is_none(),
            "the broker runs already"
        );
        assert!(
            self.launch(),
            "the broker on {:?} does not start again",
            self.ports
        );
    }

    /// Whether the broker came up.
    fn launch(&self) -> bool {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "kafka-guard"])
            .arg(&self.folder)
            .args([
                "java",
                "-Xmx512m",
                "-Xms128m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
            ])
            .args(["-Djava.awt.headless=true", "-Dlog4j2.level=WARN", "-cp"])
            .arg(format!("{}/*", self.jars.display()))
            .arg("kafka.Kafka")
            .arg(self.folder.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let commands = shell.stdin.take().expect("piped");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the guard says Java's pid");
        let java = Pid::from_raw(line.trim().parse().expect("a pid")).expect("not zero");
        let up = wait_until_up(&self.bootstrap, java);
        *self.guard.lock().expect("no test panics inside") = Some(Guard {
            shell,
            commands,
            java,
        });
        if !up {
            self.end("kill");
        }
        up
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        match self.guard.lock().expect("no test panics inside").take() {
            Some(Guard {
                mut shell,
                commands,
                ..
            }) => {
                drop(commands);
                let _ = shell.wait();
            }
            None => {
                let _ = fs::remove_dir_all(&self.folder);
            }
        }
    }
}

fn wait_until_up(bootstrap: &str, java: Pid) -> bool {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "100")
        .create()
        .expect("the properties are valid");
    let started = Instant::now();
    while started.elapsed() < START_LIMIT && !is_zombie(java) {
        if client
            .fetch_metadata(None, Duration::from_millis(500))
            .is_ok_and(|found| !found.brokers().is_empty())
        {
            return true;
        }
    }
    false
}

/// Java that has died stays a zombie until the guard waits for it. Where there is no `/proc`, the time limit
/// has to tell.
fn is_zombie(java: Pid) -> bool {
    fs::read_to_string(format!("/proc/{java}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    listeners
        .each_ref()
        .map(|listener| listener.local_addr().expect("bound").port())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the temporary folder can be written");
    for entry in fs::read_dir(from).expect("the template is there") {
        let entry = entry.expect("the template can be read");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("the template holds plain files");
    }
}

/// The broker's configuration; ports of the plain, the SASL and the controller's listener. A broker that was
/// killed may register again only when its last session has expired, so that is short.
pub(super) fn properties(data: &Path, [plain, sasl, controller]: [u16; 3]) -> String {
    let (user, password) = (super::USER, super::PASSWORD);
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
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
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.retention.check.interval.ms=1000
log.cleaner.backoff.ms=500
auto.create.topics.enable=false
",
        data = data.display()
    )
}
