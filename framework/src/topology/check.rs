//! What is wrong with a plan, all of it at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, OnError, PortId, Topology};

/// Lists every mistake of a plan, in the order of its nodes.
pub(crate) fn check(topology: &Topology) -> Vec<String> {
    let mut mistakes = Vec::new();
    if let Err(reason) = topic_name(&topology.application_id) {
        mistakes.push(format!(
            "the application id `{}` {reason}",
            topology.application_id
        ));
    }
    if topology.sources().is_empty() {
        mistakes.push("nothing is read: begin with `stream`".into());
    }
    if topology.sources().len() > 127 {
        mistakes
            .push("more than 127 topics are read; a record's position has no room for more".into());
    }
    topics(topology, &mut mistakes);
    names(topology, &mut mistakes);
    ends(topology, &mut mistakes);
    mistakes
}

fn topics(topology: &Topology, mistakes: &mut Vec<String>) {
    let mut read = BTreeSet::new();
    let own = format!("{}-epochs", topology.application_id);
    for source in topology.sources() {
        if let Err(reason) = topic_name(&source.topic) {
            mistakes.push(format!("topic `{}` {reason}", source.topic));
        }
        if !read.insert(source.topic.clone()) {
            mistakes.push(format!(
                "topic `{}` is read twice: use the one stream twice",
                source.topic
            ));
        }
    }
    for topic in topology.sink_topics() {
        if let Err(reason) = topic_name(&topic) {
            mistakes.push(format!("topic `{topic}` {reason}"));
        }
        if read.contains(&topic) {
            mistakes.push(format!(
                "topic `{topic}` is both read and written: it would never end"
            ));
        }
    }
    let late: BTreeSet<_> = topology
        .sinks()
        .into_iter()
        .map(|(_, topic)| topic)
        .collect();
    if let OnError::DeadLetter(topic) = &topology.on_error
        && late.contains(topic)
    {
        mistakes.push(format!(
            "topic `{topic}` takes dead letters and a stream: give each its own"
        ));
    }
    if read.contains(&own) || topology.sink_topics().contains(&own) {
        mistakes.push(format!(
            "topic `{own}` is the epoch log of this application"
        ));
    }
}

fn names(topology: &Topology, mistakes: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &topology.nodes {
        *seen.entry(&node.name).or_default() += 1;
    }
    for (name, times) in seen.into_iter().filter(|(_, times)| *times > 1) {
        mistakes.push(format!(
            "{times} steps are named `{name}`: names tell steps apart"
        ));
    }
}

/// A stateful step or a source that nothing reads does work for nobody.
fn ends(topology: &Topology, mistakes: &mut Vec<String>) {
    for (node, it) in topology.nodes.iter().enumerate() {
        let read =
            (0..it.ports.len()).map(|port| !topology.readers(PortId { node, port }).is_empty());
        let read: Vec<bool> = read.collect();
        match &it.kind {
            Kind::Source { topic, .. } if !read[0] => {
                mistakes.push(format!("topic `{topic}` is read for nothing: no step uses it"));
            }
            Kind::Stateful { .. } if !read.contains(&true) => {
                mistakes.push(format!("the result of `{}` reaches no topic: end it with `to`", it.name));
            }
            Kind::Stateful { .. } if read.len() > 1 && read[0] && read[1] => mistakes.push(format!(
                "`{}` is used both on close and by update: call `windowed_by` twice, a step has one way to emit",
                it.name
            )),
            _ => {}
        }
    }
    if topology.sinks().is_empty() {
        mistakes.push("nothing is written: end a stream with `to`".into());
    }
}

/// Whether a name can be a topic's: Kafka's rule.
fn topic_name(name: &str) -> Result<(), &'static str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 {
        Err("must have 1 to 249 characters")
    } else if name == "." || name == ".." || !name.chars().all(legal) {
        Err("may hold letters, digits, `.`, `_` and `-` only")
    } else {
        Ok(())
    }
}
