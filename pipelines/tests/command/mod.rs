//! Starts the `tiderace` command in a directory of its own, and looks at what it says.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with an embedded log, removed at the end, and the program that is started in it.
pub(crate) struct Place {
    directory: TempDir,
    program: PathBuf,
    /// What every command works on instead of the embedded log.
    brokers: Option<String>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The stdout of a command that has to have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// The stderr of a command that has to have ended with this code.
    pub(crate) fn refused(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.stderr
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Place::of_program(env!("CARGO_BIN_EXE_tiderace").into())
    }

    /// A directory in which another build of the command is started.
    pub(crate) fn of_program(program: PathBuf) -> Self {
        Place {
            directory: tempfile::tempdir().unwrap(),
            program,
            brokers: None,
        }
    }

    /// A directory for the state, and a broker for all else.
    pub(crate) fn on_brokers(bootstrap: &str) -> Self {
        Place {
            brokers: Some(bootstrap.to_owned()),
            ..Place::new()
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.directory.path()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(line.split_whitespace())
            .current_dir(self.path());
        if let Some(brokers) = &self.brokers {
            command.args(["--brokers", brokers]);
        }
        for (name, _) in std::env::vars() {
            if name.starts_with("TIDERACE_")
                || name.starts_with("CLUSTER_API_")
                || name == "RUST_LOG"
            {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command, its words separated by blanks, to its end.
    pub(crate) fn run(&self, line: &str) -> Ended {
        self.run_with(line, "")
    }

    /// Runs a command with `stdin` to its end.
    pub(crate) fn run_with(&self, line: &str, stdin: &str) -> Ended {
        let mut started = self.start(line);
        let mut input = started.take_stdin();
        let text = stdin.to_owned();
        // A command that refuses its configuration does not read its input, and writing fails.
        std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
        started.end()
    }

    /// Starts a command that goes on until it is told to end.
    pub(crate) fn start(&self, line: &str) -> Following {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Following {
            child: Some(child),
            stdout,
            stderr,
        }
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// How it ended; none if it does not end within the time allowed.
fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    None
}

/// A command under way; it is killed when dropped.
pub(crate) struct Following {
    child: Option<Child>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Following {
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.child.as_mut().unwrap().stdin.take().unwrap()
    }

    /// The next line of stdout.
    pub(crate) fn line(&self) -> String {
        self.stdout
            .recv_timeout(PATIENCE)
            .expect("another line within the time allowed")
    }

    /// Waits for a line of stderr that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self
                .stderr
                .recv_timeout(PATIENCE)
                .expect("the line within the time allowed");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal, `INT` or `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Sends SIGKILL and waits for the end: true if that is what it died of.
    pub(crate) fn kill(mut self) -> bool {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap().signal() == Some(9)
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let child = self.child.as_mut().unwrap();
        let status = wait(child);
        if status.is_none() {
            child.kill().unwrap();
        }
        let collect =
            |lines: &Receiver<String>| lines.iter().map(|line| line + "\n").collect::<String>();
        let Some(status) = status else {
            panic!(
                "the command did not end within {PATIENCE:?}; it said\n{}{}",
                collect(&self.stdout),
                collect(&self.stderr)
            );
        };
        let code = status.code().expect("the command ended by itself");
        Ended {
            code,
            stdout: collect(&self.stdout),
            stderr: collect(&self.stderr),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
