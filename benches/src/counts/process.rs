//! The counted process as its parent has it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use rustix::process::{Pid, Signal, kill_process};

use super::job::{Options, Said, now};
use crate::Failure;

/// A process under way; it is killed when dropped.
pub(super) struct Process {
    child: Child,
    said: Receiver<Said>,
    /// When it was started, in seconds since 1970.
    pub(super) begun: f64,
}

impl Process {
    pub(super) fn start(options: &Options) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(options.words())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let begun = now();
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let (to, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(said) = serde_json::from_str(&line)
                    && to.send(said).is_err()
                {
                    return;
                }
            }
        });
        Ok(Process { child, said, begun })
    }

    /// Its id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said since the last call.
    ///
    /// # Errors
    /// It has ended, and is not expected to.
    pub(super) fn hear(&mut self) -> Result<Option<Said>, Failure> {
        match self.said.try_recv() {
            Ok(said) => Ok(Some(said)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err(format!("the process has ended: {}", self.child.wait()?).into())
            }
        }
    }

    /// Ends it with SIGKILL.
    pub(super) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(self) -> Result<Vec<Said>, Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.end()
    }

    /// Waits for its end and hands over what it had said.
    pub(super) fn end(mut self) -> Result<Vec<Said>, Failure> {
        let said = self.said.iter().collect();
        let status = self.child.wait()?;
        if status.success() {
            return Ok(said);
        }
        Err(format!("the process ended with {status}").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
