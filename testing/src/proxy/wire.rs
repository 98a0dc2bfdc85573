//! As much of Kafka's protocol as the proxy has to know.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The kind of a request, by its number in Kafka's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Api(pub i16);

impl Api {
    /// Records for partitions.
    pub const PRODUCE: Api = Api(0);
    /// Records of partitions.
    pub const FETCH: Api = Api(1);
    /// Topics, partitions and brokers.
    pub const METADATA: Api = Api(3);
    /// Who coordinates a group or a transactional id.
    pub const FIND_COORDINATOR: Api = Api(10);
    /// The id and epoch of a producer; fences older ones.
    pub const INIT_PRODUCER_ID: Api = Api(22);
    /// Partitions that a transaction is about to write to.
    pub const ADD_PARTITIONS_TO_TXN: Api = Api(24);
    /// A group whose offsets a transaction is about to commit.
    pub const ADD_OFFSETS_TO_TXN: Api = Api(25);
    /// The end of a transaction, committed or aborted.
    pub const END_TXN: Api = Api(26);
    /// Offsets of a group, in a transaction.
    pub const TXN_OFFSET_COMMIT: Api = Api(28);
    /// Brokers of a cluster.
    const DESCRIBE_CLUSTER: Api = Api(60);

    /// The first version whose strings have a compact length and whose header ends with tags, of kinds whose requests begin
    /// with a `transactional.id`.
    fn first_flexible(self) -> Option<i16> {
        match self {
            Api::PRODUCE => Some(9),
            Api::INIT_PRODUCER_ID => Some(2),
            Api::ADD_PARTITIONS_TO_TXN
            | Api::ADD_OFFSETS_TO_TXN
            | Api::END_TXN
            | Api::TXN_OFFSET_COMMIT => Some(3),
            _ => None,
        }
    }

    /// Whether answers of this kind tell where the broker is.
    fn names_the_broker(self) -> bool {
        [Api::METADATA, Api::FIND_COORDINATOR, Api::DESCRIBE_CLUSTER].contains(&self)
    }
}

/// Far above what a broker of the tests takes.
const LARGEST: usize = 256 << 20;

/// Reads one message without its length; `None` at the end of the stream.
pub(super) fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

/// Writes one message with its length in front, in one piece.
pub(super) fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = i32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes)
}

/// Kind and correlation id of a request.
pub(super) fn request(message: &[u8]) -> Option<(Api, i32)> {
    let api = i16::from_be_bytes(message.get(..2)?.try_into().ok()?);
    let correlation = i32::from_be_bytes(message.get(4..8)?.try_into().ok()?);
    Some((Api(api), correlation))
}

/// The `transactional.id` that a request begins with, where its kind has one and it is not null. Those of more than 126
/// bytes are not told in flexible versions.
pub(super) fn transactional_id(message: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = message.get(at..at + 2)?.try_into().ok()?;
        Some(i16::from_be_bytes(bytes))
    };
    let flexible = word(2)? >= Api(word(0)?).first_flexible()?;
    // A client id that is null has a length of -1.
    let body = 10 + usize::try_from(word(8)?).unwrap_or(0);
    let (begins, length) = if flexible {
        let length = *message.get(body + 1)?;
        (body + 2, usize::from(length.checked_sub(1)?))
    } else {
        (body + 2, usize::try_from(word(body)?).ok()?)
    };
    message
        .get(begins..begins + length)
        .filter(|_| length <= 126)
}

/// Correlation id of an answer.
pub(super) fn answer(message: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(message.get(..4)?.try_into().ok()?))
}

/// Puts the port of the proxy in the place of the broker's. In every version of the answers that tell it, a
/// broker's host is followed by its port, four bytes; both hosts are 127.0.0.1.
pub(super) fn name_the_proxy(api: Api, answer: &mut [u8], broker: u16, proxy: u16) {
    if !api.names_the_broker() {
        return;
    }
    let mut address = b"127.0.0.1".to_vec();
    let host = address.len();
    address.extend_from_slice(&i32::from(broker).to_be_bytes());
    let mut at = 0;
    while at + address.len() <= answer.len() {
        if answer[at..].starts_with(&address) {
            answer[at + host..at + address.len()].copy_from_slice(&i32::from(proxy).to_be_bytes());
        }
        at += 1;
    }
}

/// Where the answer to this request to end a transaction has its error: behind a correlation id and a time, and tags from version
/// 3 on.
pub(super) fn error_of_end(request: &[u8]) -> usize {
    let flexible = Api::END_TXN.first_flexible().unwrap_or(i16::MAX);
    let version = i16::from_be_bytes([request[2], request[3]]);
    8 + usize::from(version >= flexible)
}

/// Takes the brokers out of an answer about topics, of version 9 or later.
pub(super) fn name_no_broker(api: Api, answer: &mut Vec<u8>) {
    if api == Api::METADATA
        && let Some(brokers) = brokers(answer)
    {
        answer.splice(brokers, [1]);
    }
}

/// Where the brokers lie in an answer about topics, with their number in front. It has a correlation id, tags, a time, and then
/// these, each of a number, a host, a port, a rack and tags.
fn brokers(answer: &[u8]) -> Option<std::ops::Range<usize>> {
    const BEGIN: usize = 4 + 1 + 4;
    // A compact length is one more than it counts, 0 for null, and of one byte as long as it is short.
    let length = |at: usize| Some(usize::from(answer.get(at)?.saturating_sub(1)));
    let mut at = BEGIN + 1;
    for _ in 0..length(BEGIN)? {
        at += 4;
        at += 1 + length(at)? + 4;
        at += 1 + length(at)? + 1;
    }
    (at <= answer.len()).then_some(BEGIN..at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_its_transactional_id_in_every_version() {
        let end = |version: u8, rest: &[u8]| {
            let header = [0, 26, 0, version, 0, 0, 0, 9, 0, 2, b'm', b'e'];
            [&header, rest].concat()
        };
        let old = end(2, b"\0\x05app-1\0\0");
        assert_eq!(transactional_id(&old), Some(&b"app-1"[..]));
        let flexible = end(3, b"\0\x06app-1\0\0");
        assert_eq!(transactional_id(&flexible), Some(&b"app-1"[..]));
        for nobody in [
            end(2, b"\xff\xff\0"),
            end(3, b"\0\0\0"),
            end(3, b"\0\x09app"),
            b"\0\x03".to_vec(),
            [&[0, 3, 0, 2], &flexible[4..]].concat(),
        ] {
            assert_eq!(transactional_id(&nobody), None, "{nobody:?}");
        }
    }

    #[test]
    fn an_answer_about_topics_tells_of_no_broker_where_they_are_hidden() {
        let broker = [
            b"\0\0\0\x01\x0a127.0.0.1".as_slice(),
            b"\0\0\x23\x84\x05rack\0",
        ]
        .concat();
        let answer = |brokers: &[u8]| {
            let head = b"\0\0\0\x07\0\0\0\0\0".as_slice();
            [head, brokers, b"\x04id\0 and topics"].concat()
        };
        let two = answer(&[&[3], &broker[..], &broker[..]].concat());
        let mut hidden = two.clone();
        name_no_broker(Api::METADATA, &mut hidden);
        assert_eq!(hidden, answer(&[1]));
        let mut others = two.clone();
        name_no_broker(Api::PRODUCE, &mut others);
        assert_eq!(others, two);
        let mut cut = two[..20].to_vec();
        name_no_broker(Api::METADATA, &mut cut);
        assert_eq!(cut, two[..20]);
    }

    #[test]
    fn only_the_port_behind_the_brokers_host_changes_and_only_where_the_broker_is_told() {
        let message = |port: i32| {
            let mut message = b"\0\0\0\x07\x0a127.0.0.1".to_vec();
            message.extend_from_slice(&port.to_be_bytes());
            message.extend_from_slice(b"rack 127.0.0.1 and 9092");
            message
        };
        let mut changed = message(9092);
        name_the_proxy(Api::METADATA, &mut changed, 9092, 50_001);
        assert_eq!(changed, message(50_001));
        let mut other = message(9093);
        name_the_proxy(Api::METADATA, &mut other, 9092, 50_001);
        assert_eq!(other, message(9093));
        let mut records = message(9092);
        name_the_proxy(Api::PRODUCE, &mut records, 9092, 50_001);
        assert_eq!(records, message(9092));
    }
}
