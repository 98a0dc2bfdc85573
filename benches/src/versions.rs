//! Versions of what a benchmark runs beside the engine: the broker, a peer, their Java, and Kafka's client.

use std::process::Command;

use serde::Serialize;

const BROKER: &str = include_str!("../../testing/pom.xml");
const PEER: &str = include_str!("../peers/kafka-streams/pom.xml");
const LOCK: &str = include_str!("../../Cargo.lock");

/// The broker that a benchmark uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// None.
    Unused,
    /// One that it starts.
    Started,
    /// One that was there.
    Found,
}

/// Each where it is used; what cannot be found out is `unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// The broker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<String>,
    /// The peer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_streams: Option<String>,
    /// The Java of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub java: Option<String>,
    /// Kafka's client, of the engine and the loops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub librdkafka: Option<String>,
}

impl Versions {
    /// Of a benchmark with this broker; Kafka Streams is one of its sides, or is not.
    pub fn of(broker: Broker, with_streams: bool) -> Self {
        let known = |version: Option<&str>| version.unwrap_or("unknown").to_owned();
        let runs_java = broker == Broker::Started || with_streams;
        Versions {
            kafka: match broker {
                Broker::Unused => None,
                Broker::Started => Some(known(of_artifact(BROKER, "kafka_2.13"))),
                Broker::Found => Some("as found".to_owned()),
            },
            kafka_streams: with_streams.then(|| known(of_artifact(PEER, "kafka-streams"))),
            java: runs_java.then(|| known(java().as_deref())),
            librdkafka: (broker != Broker::Unused).then(|| known(librdkafka())),
        }
    }
}

/// The version of a dependency in a `pom.xml`.
fn of_artifact<'a>(pom: &'a str, artifact: &str) -> Option<&'a str> {
    let (_, behind) = pom.split_once(&format!("<artifactId>{artifact}</artifactId>"))?;
    let (_, version) = behind.split_once("<version>")?;
    Some(version.split_once("</version>")?.0)
}

/// The crate that builds it has its version behind the crate's own.
fn librdkafka() -> Option<&'static str> {
    let (_, behind) = LOCK.split_once("name = \"rdkafka-sys\"\nversion = \"")?;
    let (version, _) = behind.split_once('"')?;
    Some(version.split_once('+')?.1)
}

/// The first line of what `java -version` says, which is on stderr.
fn java() -> Option<String> {
    let output = Command::new("java").arg("-version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_versions_of_what_is_used() {
        assert_eq!(Versions::of(Broker::Unused, false), Versions::default());
        let found = Versions::of(Broker::Found, false);
        assert_eq!(
            (found.kafka.as_deref(), found.java),
            (Some("as found"), None)
        );
        let numbered = |version: Option<&str>| {
            let version = version.unwrap_or_default();
            version.split('.').count() == 3 && !version.contains(char::is_whitespace)
        };
        assert!(numbered(found.librdkafka.as_deref()));
        assert!(numbered(of_artifact(BROKER, "kafka_2.13")));
        assert!(numbered(of_artifact(PEER, "kafka-streams")));
    }
}
