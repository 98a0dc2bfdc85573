//! What a list of brokers says about credentials: loopback brokers need none.

use std::net::IpAddr;

/// Whether every broker of `HOST:PORT,...` is this machine itself.
pub(super) fn all_loopback(brokers: &str) -> bool {
    brokers
        .split(',')
        .map(|broker| host(broker.trim()))
        .all(is_loopback)
}

fn host(broker: &str) -> &str {
    let broker = broker.split_once("://").map_or(broker, |(_, rest)| rest);
    if let Some(rest) = broker.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match broker.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host,
        _ => broker,
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
