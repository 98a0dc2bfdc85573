//! One broker and its controller: started, waited for, stopped, killed, frozen.
//!
//! They are two processes, as in a cluster of any size, and a broker that was killed starts only when the controller has
//! taken its partitions from it. One that starts before finds its transactions in its log, goes on with them, and loses
//! the markers of those whose partitions are taken from it meanwhile: Kafka 4.3 takes a partition without a leader for
//! one that was deleted (KAFKA-20734), and readers of committed records wait there for ever.
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
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::{Pid, Signal, kill_process};

use super::install::Installation;
use super::role::Role;

/// `$1` is the folder of both, `$2` the process's log, the rest is the command line. `read` does not reap, so Java's pid
/// cannot pass to another process before `wait`. Ctrl-C goes to the shell as well, which has to stay until its input ends;
/// Java is started before, as it would never heed what it was started to ignore.
const GUARD: &str = r#"
folder=$1; log=$2; shift 2
"$@" >>"$log" 2>&1 </dev/null & pid=$!
trap '' INT HUP TERM
echo $pid
if read -r word; then
  if [ "$word" = term ]; then kill -TERM $pid; else kill -KILL $pid; fi
  wait $pid
else
  kill -KILL $pid; wait $pid; rm -rf "$folder"
fi
"#;

const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a broker stays away at least: with [`CONTROLLER`](super::role::CONTROLLER) its session lasts half of that.
const FENCED: Duration = Duration::from_secs(4);

pub(super) struct Node {
    /// The broker's.
    role: &'static Role,
    folder: PathBuf,
    jars: PathBuf,
    ports: [u16; 3],
    bootstrap: String,
    sasl_bootstrap: String,
    controller: Java,
    broker: Mutex<Broker>,
}

enum Broker {
    Runs(Java),
    /// Since then.
    Ended(Instant),
}

/// A Java process under its shell.
struct Java {
    shell: Child,
    /// None when it is to end.
    commands: Option<ChildStdin>,
    pid: Pid,
}

impl Node {
    /// Starts a broker and returns when it answers. Another process may take a free port before the broker
    /// does; then others are tried.
    pub(super) fn start(
        installation: &Installation,
        controller: &'static Role,
        role: &'static Role,
    ) -> Node {
        let mut log = String::new();
        for _ in 0..3 {
            let ports = free_ports();
            let folder = tempfile::Builder::new()
                .prefix("tiderace-kafka-")
                .tempdir()
                .expect("a temporary folder");
            let folder = folder.keep();
            let roles = [controller, role];
            for role in roles {
                let data = folder.join(role.name);
                copy(&installation.template.join(role.name), &data);
                fs::write(role.file(&folder), (role.properties)(&data, ports))
                    .expect("the temporary folder can be written");
            }
            let controller = Java::start(controller, &folder, &installation.jars);
            let node = Node {
                role,
                folder,
                jars: installation.jars.clone(),
                bootstrap: format!("127.0.0.1:{}", ports[0]),
                sasl_bootstrap: format!("127.0.0.1:{}", ports[1]),
                ports,
                controller,
                broker: Mutex::new(Broker::Ended(Instant::now())),
            };
            if node.launch() {
                return node;
            }
            log = roles
                .iter()
                .filter_map(|role| fs::read_to_string(role.log(&node.folder)).ok())
                .collect();
        }
        panic!("the broker does not start; the logs say:\n{log}");
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(super) fn sasl_bootstrap(&self) -> &str {
        &self.sasl_bootstrap
    }

    /// To the broker.
    pub(super) fn signal(&self, signal: Signal) {
        let Broker::Runs(broker) = &*self.broker() else {
            panic!("the broker does not run");
        };
        kill_process(broker.pid, signal).expect("it is our own process");
    }

    /// Gives the guard its word and waits until the broker is gone.
    pub(super) fn end(&self, word: &str) {
        let broker = &mut *self.broker();
        let Broker::Runs(running) = broker else {
            panic!("the broker does not run");
        };
        let commands = running.commands.as_mut().expect("it is not dropped");
        writeln!(commands, "{word}").expect("the guard reads");
        running.shell.wait().expect("the guard is our own child");
        *broker = Broker::Ended(Instant::now());
    }

    pub(super) fn restart(&self) {
        let Broker::Ended(at) = *self.broker() else {
            panic!("the broker runs already");
        };
        std::thread::sleep(FENCED.saturating_sub(at.elapsed()));
        assert!(
            self.launch(),
            "the broker on {:?} does not start again",
            self.ports
        );
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().expect("no test panics inside")
    }

    /// Whether the broker came up.
    fn launch(&self) -> bool {
        let broker = Java::start(self.role, &self.folder, &self.jars);
        let up = wait_until_up(&self.bootstrap, [broker.pid, self.controller.pid]);
        *self.broker() = Broker::Runs(broker);
        if !up {
            self.end("kill");
        }
        up
    }
}

impl Java {
    fn start(role: &Role, folder: &Path, jars: &Path) -> Java {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "kafka-guard"])
            .args([folder, &role.log(folder)])
            .arg("java")
            .args(role.java)
            .args(["-Djava.awt.headless=true", "-Dlog4j2.level=WARN", "-cp"])
            .arg(format!("{}/*", jars.display()))
            .arg("kafka.Kafka")
            .arg(role.file(folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let commands = shell.stdin.take();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the guard says Java's pid");
        Java {
            shell,
            commands,
            pid: Pid::from_raw(line.trim().parse().expect("a pid")).expect("not zero"),
        }
    }
}

/// Has the shell kill it, if it runs, and delete the data.
impl Drop for Java {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.shell.wait();
    }
}

/// Whether the broker answers, which takes both processes.
fn wait_until_up(bootstrap: &str, both: [Pid; 2]) -> bool {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "100")
        .create()
        .expect("the properties are valid");
    let started = Instant::now();
    while started.elapsed() < START_LIMIT && !both.into_iter().any(is_zombie) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_was_sent_a_signal_ends_its_process_all_the_same() {
        for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
            let folder = tempfile::tempdir().expect("a temporary folder").keep();
            let mut shell = Command::new("sh")
                .args(["-c", GUARD, "kafka-guard"])
                .args([&folder, &folder.join("log")])
                .args(["sleep", "600"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("sh runs");
            let mut line = String::new();
            let said = shell.stdout.take().expect("piped");
            BufReader::new(said).read_line(&mut line).expect("it says");
            let pid = Pid::from_raw(line.trim().parse().expect("a pid")).expect("not zero");
            kill_process(Pid::from_child(&shell), signal).expect("the shell runs");
            drop(shell.stdin.take());
            shell.wait().expect("the shell is our own child");
            assert!(!folder.exists(), "{signal:?}");
            assert!(
                rustix::process::test_kill_process(pid).is_err(),
                "{signal:?}"
            );
        }
    }
}
