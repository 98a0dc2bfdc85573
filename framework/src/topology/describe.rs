//! A plan as text, as a Mermaid flowchart and as JSON, and the fingerprint that tells two plans apart.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::{Kind, Node, OnError, PortId, Topology};

/// What a plan's state depends on: its stateful steps and parameters. Two plans with the same fingerprint can
/// continue each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Topology {
    /// Hash of all nodes, in 32 hexadecimal digits: names, kinds, topics, windows, connections, parameters. The
    /// policy for bad data is left out: what it decided stands in the epoch log, so it may change at any start.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut plan = self.to_json();
        if let Some(plan) = plan.as_object_mut() {
            plan.remove("on_error");
        }
        Fingerprint(format!("{:032x}", xxh3_128(plan.to_string().as_bytes())))
    }

    /// The plan as JSON: `application_id`, `on_error`, `parameters` and `nodes`, each with `name`, `verb`, `kind`,
    /// `topic` where it has one, `detail` where it has one, `inputs` by name, and the name of the `table` that it joins
    /// with.
    pub fn to_json(&self) -> Value {
        let nodes: Vec<Value> = self.nodes.iter().map(|node| self.node_json(node)).collect();
        json!({
            "application_id": self.application_id,
            "on_error": match &self.on_error {
                OnError::Fail => json!("fail"),
                OnError::Skip => json!("skip"),
                OnError::DeadLetter(topic) => json!({"dead_letter": topic}),
            },
            "parameters": self.parameters,
            "nodes": nodes,
        })
    }

    fn node_json(&self, node: &Node) -> Value {
        let mut object = json!({
            "name": node.name,
            "verb": node.verb,
            "kind": kind_name(&node.kind),
            "inputs": node.inputs.iter().map(|port| self.port_name(*port)).collect::<Vec<_>>(),
        });
        if let Some(topic) = topic(&node.kind) {
            object["topic"] = json!(topic);
        }
        if let Kind::Source {
            out_of_orderness,
            format,
            ..
        } = &node.kind
        {
            object["format"] = json!(format);
            object["out_of_orderness_ms"] = json!(out_of_orderness.as_millis() as u64);
        }
        if let Kind::Sink { format, .. } = &node.kind {
            object["format"] = json!(format);
        }
        if let Kind::Stateful { detail, .. } = &node.kind {
            object["detail"] = json!(detail);
        }
        if let Some(table) = self.joined(node) {
            object["table"] = json!(self.nodes[table].name);
        }
        object
    }

    /// The table that a node joins with.
    fn joined(&self, node: &Node) -> Option<usize> {
        match node.kind {
            Kind::TableJoin { table } => Some(table),
            _ => None,
        }
    }

    fn port_name(&self, port: PortId) -> String {
        let node = &self.nodes[port.node];
        match node.ports[port.port].as_str() {
            "" => node.name.clone(),
            of => format!("{}.{of}", node.name),
        }
    }

    /// The plan as a Mermaid flowchart. A dotted arrow leads from a table to a join that looks rows up in it.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        for (index, node) in self.nodes.iter().enumerate() {
            let label = match topic(&node.kind) {
                Some(topic) => format!("{} {topic}", node.verb),
                None => node.name.clone(),
            };
            let (open, close) = match node.kind {
                Kind::Source { .. } | Kind::Sink { .. } | Kind::LateSink { .. } => ("[(", ")]"),
                Kind::Stateful { .. } | Kind::GlobalTable { .. } => ("[[", "]]"),
                _ => ("(", ")"),
            };
            text.push_str(&format!("    n{index}{open}\"{label}\"{close}\n"));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                let port = &self.nodes[input.node].ports[input.port];
                let arrow = if port.is_empty() {
                    "-->".into()
                } else {
                    format!("-->|{port}|")
                };
                text.push_str(&format!("    n{} {arrow} n{index}\n", input.node));
            }
            if let Some(table) = self.joined(node) {
                text.push_str(&format!("    n{table} -.-> n{index}\n"));
            }
        }
        text
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Topology `{}`", self.application_id)?;
        for (name, value) in &self.parameters {
            writeln!(f, "  {name} = {value}")?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            write!(f, "  {index:>2}  {:<14} {}", node.verb, node.name)?;
            if let Some(topic) = topic(&node.kind) {
                write!(f, "  topic `{topic}`")?;
            }
            if let Kind::Stateful { detail, .. } = &node.kind {
                write!(f, "  ({detail})")?;
            }
            if !node.inputs.is_empty() {
                let inputs: Vec<String> = node
                    .inputs
                    .iter()
                    .map(|port| self.port_name(*port))
                    .collect();
                write!(f, "  <- {}", inputs.join(", "))?;
            }
            if let Some(table) = self.joined(node) {
                write!(f, "  with {}", self.nodes[table].name)?;
            }
            writeln!(f)?;
        }
        match &self.on_error {
            OnError::Fail => writeln!(f, "  bad data: the run fails"),
            OnError::Skip => writeln!(f, "  bad data: skipped and counted"),
            OnError::DeadLetter(topic) => writeln!(f, "  bad data: sent to topic `{topic}`"),
        }
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn topic(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Source { topic, .. } | Kind::Sink { topic, .. } | Kind::LateSink { topic } => {
            Some(topic)
        }
        _ => None,
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Source { table: false, .. } => "source",
        Kind::Source { table: true, .. } => "table source",
        Kind::Step { .. } => "stateless",
        Kind::Stateful { .. } => "stateful",
        Kind::GlobalTable { .. } => "global table",
        Kind::TableJoin { .. } => "table join",
        Kind::Merge => "merge",
        Kind::Sink { .. } => "sink",
        Kind::LateSink { .. } => "late sink",
    }
}
