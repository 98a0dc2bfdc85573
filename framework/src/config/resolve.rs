//! From the layers in which settings are given to one [`Config`]: defaults, then `--properties FILE`, then the
//! environment, then `--set NAME=VALUE`, then the option's own flag; the later one wins.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Config, ConfigError, Origin, SETTINGS, brokers, properties};

/// Prefix of the settings that go to the Kafka client as they are.
const CLIENT: &str = "kafka.";
const ENVIRONMENT: &str = "TIDERACE_";
const API_KEY: &str = "CLUSTER_API_KEY";
const API_SECRET: &str = "CLUSTER_API_SECRET";

/// What a command was given, a layer a field, the weakest first.
#[derive(Default)]
pub struct Layers<'a> {
    /// A file of Kafka's properties format.
    pub properties: Option<&'a Path>,
    /// The environment's variables; those that do not concern Tiderace are passed over.
    pub environment: Vec<(String, String)>,
    /// `NAME=VALUE` each.
    pub assignments: &'a [String],
    /// For each flag that was given: the flag, the setting that it sets, and the value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A setting's value and where it was given.
type Given = BTreeMap<String, (String, Origin)>;

/// Resolves the layers into the configuration of a run.
///
/// # Errors
/// An unknown name, a value that does not fit its setting, a file that cannot be read, half of a cluster's
/// credentials, or encryption asked of a build without it.
pub fn resolve(layers: &Layers<'_>) -> Result<Config, ConfigError> {
    resolve_for(layers, cfg!(feature = "tls"))
}

pub(super) fn resolve_for(layers: &Layers<'_>, tls: bool) -> Result<Config, ConfigError> {
    let mut given = Given::new();
    if let Some(file) = layers.properties {
        from_file(file, &mut given)?;
    }
    from_environment(&layers.environment, &mut given)?;
    for assignment in layers.assignments {
        let (name, value) = assignment.split_once('=').ok_or(ConfigError::Assignment)?;
        give(&mut given, name.trim(), value, Origin::Assignment)?;
    }
    for (flag, name, value) in &layers.flags {
        give(&mut given, name, value, Origin::Flag(flag))?;
    }
    let mut config = applied(given)?;
    sign_in(&mut config, &layers.environment)?;
    check_encryption(&config, tls)?;
    config.check_transaction_timeout()?;
    Ok(config)
}

fn from_file(file: &Path, given: &mut Given) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|source| ConfigError::File {
        file: file.to_owned(),
        source,
    })?;
    let settings = properties::parse(&text).map_err(|malformed| ConfigError::Syntax {
        file: file.to_owned(),
        line: malformed.line,
        reason: malformed.reason,
    })?;
    for (name, value) in settings {
        give(given, &name, &value, Origin::File(file.to_owned()))?;
    }
    Ok(())
}

fn from_environment(variables: &[(String, String)], given: &mut Given) -> Result<(), ConfigError> {
    for (variable, value) in variables {
        if let Some(name) = variable.strip_prefix(ENVIRONMENT) {
            let name = name.to_ascii_lowercase().replace('_', ".");
            give(given, &name, value, Origin::Environment(variable.clone()))?;
        }
    }
    Ok(())
}

fn give(given: &mut Given, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
    let known = SETTINGS.iter().any(|setting| setting.name == name);
    let passes = name
        .strip_prefix(CLIENT)
        .is_some_and(|property| !property.is_empty());
    if !known && !passes {
        let nearest = nearest(name, &origin);
        return Err(ConfigError::Unknown {
            name: name.to_owned(),
            origin,
            nearest,
        });
    }
    given.insert(name.to_owned(), (value.to_owned(), origin));
    Ok(())
}

fn applied(given: Given) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    for (name, (value, origin)) in given {
        if let Some(property) = name.strip_prefix(CLIENT) {
            config.kafka.insert(property.to_owned(), value);
            continue;
        }
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        let setting = setting.expect("names were checked when they were given");
        (setting.apply)(&mut config, value.trim()).map_err(|reason| ConfigError::Value {
            name,
            origin,
            reason,
        })?;
    }
    Ok(config)
}

/// A cluster's key and secret mean SASL_SSL with PLAIN, unless the client was told otherwise.
fn sign_in(config: &mut Config, environment: &[(String, String)]) -> Result<(), ConfigError> {
    let elsewhere = config
        .brokers
        .as_deref()
        .is_some_and(|list| !brokers::all_loopback(list));
    let value = |name| {
        environment
            .iter()
            .find(|(variable, value)| variable == name && !value.is_empty())
    };
    let (key, secret) = match (value(API_KEY), value(API_SECRET)) {
        _ if !elsewhere => return Ok(()),
        (Some((_, key)), Some((_, secret))) => (key, secret),
        (None, None) => return Ok(()),
        (Some(_), None) => {
            return Err(ConfigError::HalfCredentials {
                present: API_KEY,
                absent: API_SECRET,
            });
        }
        (None, Some(_)) => {
            return Err(ConfigError::HalfCredentials {
                present: API_SECRET,
                absent: API_KEY,
            });
        }
    };
    let mechanism_given = config.kafka.contains_key("sasl.mechanisms");
    let mut set = |name: &str, value: &str| {
        config
            .kafka
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    };
    set("security.protocol", "SASL_SSL");
    if !mechanism_given {
        set("sasl.mechanism", "PLAIN");
    }
    set("sasl.username", key);
    set("sasl.password", secret);
    Ok(())
}

fn check_encryption(config: &Config, tls: bool) -> Result<(), ConfigError> {
    let protocol = config
        .kafka
        .get("security.protocol")
        .map(|protocol| protocol.to_ascii_uppercase());
    match protocol {
        Some(protocol) if protocol.ends_with("SSL") && !tls => Err(ConfigError::NoTls { protocol }),
        _ => Ok(()),
    }
}

/// The name that was probably meant, in the form in which it has to be given.
fn nearest(name: &str, origin: &Origin) -> Option<String> {
    let in_form = |name: &str| match origin {
        Origin::Environment(_) => format!(
            "{ENVIRONMENT}{}",
            name.to_ascii_uppercase().replace('.', "_")
        ),
        _ => name.to_owned(),
    };
    let similar = SETTINGS
        .iter()
        .map(|setting| {
            (
                strsim::normalized_damerau_levenshtein(name, setting.name),
                setting.name,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((similarity, setting)) = similar
        && similarity >= 0.6
    {
        return Some(in_form(setting));
    }
    let property = ["main.consumer.", "consumer.", "producer.", "admin."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    let of_client = [
        "sasl.",
        "ssl.",
        "security.",
        "client.",
        "fetch.",
        "socket.",
        "session.",
        "request.",
        "linger.",
        "batch.",
        "queue.",
        "compression.",
        "message.",
        "metadata.",
        "reconnect.",
        "retry.",
        "max.",
        "transaction.",
    ]
    .iter()
    .any(|prefix| property.starts_with(prefix));
    if of_client || property.len() < name.len() {
        return Some(in_form(&format!("{CLIENT}{property}")));
    }
    similar
        .filter(|(similarity, _)| *similarity >= 0.3)
        .map(|(_, setting)| in_form(setting))
}
