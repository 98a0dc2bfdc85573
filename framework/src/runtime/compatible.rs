//! Whether a program may go on with what another start left: the same program always, another one where nothing is
//! to be replayed and each state finds its step again.

use std::collections::BTreeMap;

use super::entry::{self, Input};
use super::kept;
use super::recover::Recovered;
use crate::config::Config;
use crate::error::RunError;
use crate::topology::Topology;

/// What becomes of the states of a snapshot under a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Steps whose state goes on.
    pub kept: Vec<String>,
    /// Steps that begin with no state.
    pub new: Vec<String>,
    /// States without a step: to be dropped by name.
    pub gone: Vec<String>,
    /// Steps of a name that keeps another state now, with what it was and what it is.
    pub altered: Vec<(String, String, String)>,
}

impl Change {
    /// Compares what a snapshot holds with what a program keeps, each by name with what it is.
    pub(crate) fn between(
        kept: &BTreeMap<String, String>,
        steps: &BTreeMap<String, String>,
    ) -> Self {
        let mut change = Change::default();
        for (name, is) in steps {
            match kept.get(name) {
                Some(was) if was == is => change.kept.push(name.clone()),
                Some(was) => change.altered.push((name.clone(), was.clone(), is.clone())),
                None => change.new.push(name.clone()),
            }
        }
        let gone = kept.keys().filter(|name| !steps.contains_key(*name));
        change.gone = gone.cloned().collect();
        change
    }

    /// What becomes of the states of an application's newest snapshot under this program; `None` if there is no
    /// snapshot. Only reads.
    ///
    /// # Errors
    /// The snapshots cannot be read, or are another application's or a newer version's.
    pub fn of(topology: &Topology, config: &Config) -> Result<Option<Self>, RunError> {
        let application_id = config.application_id.as_deref();
        let application_id = application_id.unwrap_or_else(|| topology.application_id());
        let directory = config.data_dir.join("state").join(application_id);
        let Some(steps) = kept::steps(&directory, application_id)? else {
            return Ok(None);
        };
        Ok(Some(Change::between(&steps, &states(topology))))
    }

    /// Says why a snapshot cannot be taken on as it is, unless `dropped` names each state that is given up.
    fn refusal(&self, dropped: &[String]) -> Option<String> {
        let drops = |name: &String| dropped.contains(name);
        let gone = self.gone.iter().filter(|name| !drops(name));
        let gone = gone.map(|name| format!("the state of step `{name}` has no step any more"));
        let altered = self.altered.iter().filter(|(name, ..)| !drops(name));
        let altered = altered.map(|(name, was, is)| {
            format!("step `{name}` kept the state of `{was}` and is `{is}` now")
        });
        let reasons: Vec<String> = gone.chain(altered).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// Whether a program may go on with what another start of it left.
///
/// # Errors
/// Says what has changed and what can be done about it.
pub(crate) fn check(
    recovered: &Recovered,
    application_id: &str,
    topology: &Topology,
    config: &Config,
) -> Result<(), RunError> {
    let origin = recovered.origin();
    let refuse = |what: String| {
        Err(RunError::Refused(format!(
            "{what}. Use another --data-dir or --application-id to begin anew"
        )))
    };
    if origin.version != entry::VERSION {
        return refuse(format!(
            "the epoch log of `{application_id}` has version {}, not {}",
            origin.version,
            entry::VERSION
        ));
    }
    if origin.shards != config.shards {
        return refuse(format!(
            "`{application_id}` was begun with {} shards, which never change; {} are configured",
            origin.shards, config.shards
        ));
    }
    if let (Some(steps), true) = (&recovered.steps, recovered.epochs.is_empty()) {
        let change = Change::between(steps, &states(topology));
        let lacking = || lacking(&change, topology, &origin.inputs);
        return match change.refusal(&config.dropped_states).or_else(lacking) {
            None => Ok(()),
            Some(reason) => {
                let parameters = match &origin.parameters == topology.parameters() {
                    true => String::new(),
                    false => format!(
                        " (begun with {}, started with {})",
                        tell(&origin.parameters),
                        tell(topology.parameters())
                    ),
                };
                refuse(format!(
                    "the snapshot of `{application_id}` at epoch {} does not fit this program{parameters}: {reason}. \
                     Start the program that wrote it, give a step its old name with `named`, or give the state up with \
                     --drop-state NAME",
                    recovered.basis.epoch
                ))
            }
        };
    }
    let crashed = match recovered.epochs.len() {
        0 => String::new(),
        epochs => format!(
            "; {epochs} epochs since the last snapshot must be replayed by the program that wrote them: start that one \
             and stop it in order (SIGTERM), then this one"
        ),
    };
    if &origin.parameters != topology.parameters() {
        return refuse(format!(
            "`{application_id}` was begun with {} and is started with {}{crashed}",
            tell(&origin.parameters),
            tell(topology.parameters())
        ));
    }
    let fingerprint = topology.fingerprint();
    let other = recovered.epochs.iter().map(|entry| &entry.topology);
    match other
        .chain([&origin.topology])
        .find(|of| **of != fingerprint)
    {
        None => Ok(()),
        Some(other) => refuse(format!(
            "`{application_id}` was begun by another program: its topology was {other}, this one's is \
             {fingerprint}{crashed}"
        )),
    }
}

/// What each step with state keeps, by its name.
fn states(topology: &Topology) -> BTreeMap<String, String> {
    let steps = topology.stateful().into_iter();
    steps.map(|step| (step.name, step.state)).collect()
}

/// Says which global table would begin without rows that are not read again, because its topic was read before.
fn lacking(change: &Change, topology: &Topology, read: &[Input]) -> Option<String> {
    let mut tables = topology.global_tables().into_iter();
    let (step, topic) = tables.find(|(step, topic)| {
        !change.kept.contains(step) && read.iter().any(|input| input.topic == *topic)
    })?;
    Some(format!(
        "step `{step}` would lack the rows of topic `{topic}` that were read before, and giving up a state does not \
         bring them back"
    ))
}

fn tell(parameters: &BTreeMap<String, String>) -> String {
    let each: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    if each.is_empty() {
        "no parameters".to_owned()
    } else {
        each.join(", ")
    }
}
