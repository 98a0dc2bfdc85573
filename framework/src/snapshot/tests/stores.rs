//! What every store promises.

use std::io;

use super::{back_ends, directory};
use crate::snapshot::Stored;

#[test]
fn a_draft_is_seen_once_it_is_published_and_then_whole() {
    let directory = directory();
    for (name, store) in back_ends(directory.path()) {
        assert!(store.list().unwrap().is_empty(), "{name}");
        let mut draft = store.create().unwrap();
        draft.append(b"first, ").unwrap();
        draft.append(b"second").unwrap();
        assert!(store.list().unwrap().is_empty(), "{name}");
        draft.publish("a.data").unwrap();
        // As after an answer that was lost.
        draft.publish("a.data").unwrap();
        drop(draft);
        let there = Stored {
            name: "a.data".to_owned(),
            bytes: 13,
        };
        assert_eq!(store.list().unwrap(), [there], "{name}");

        let read = store.open("a.data").unwrap();
        let mut all = [0; 13];
        read.read_at(0, &mut all).unwrap();
        assert_eq!(&all, b"first, second", "{name}");
        let mut part = [0; 6];
        read.read_at(7, &mut part).unwrap();
        assert_eq!(&part, b"second", "{name}");
        assert_eq!(read.bytes(), 13, "{name}");
        let beyond = read.read_at(8, &mut part).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof, "{name}");
    }
}

#[test]
fn what_is_given_up_deleted_or_replaced_is_gone() {
    let directory = directory();
    for (name, store) in back_ends(directory.path()) {
        let publish = |bytes: &[u8]| {
            let mut draft = store.create().unwrap();
            draft.append(bytes).unwrap();
            draft.publish("a.data").unwrap();
        };
        store.create().unwrap().append(b"given up").unwrap();
        assert!(store.list().unwrap().is_empty(), "{name}");
        publish(b"old");
        publish(b"newer");
        let mut read = [0; 5];
        store.open("a.data").unwrap().read_at(0, &mut read).unwrap();
        assert_eq!(&read, b"newer", "{name}");
        for _ in 0..2 {
            store.delete("a.data").unwrap();
            assert!(store.list().unwrap().is_empty(), "{name}");
        }
        let missing = store.open("a.data").err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound, "{name}");
    }
}
