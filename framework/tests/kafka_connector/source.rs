//! Reading: order, ends, pauses, offsets that are gone.

#![expect(
    clippy::disallowed_methods,
    reason = "a test waits and gives up by the clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiderace::connect::{Fetched, Log, RecordBatch, TopicPartition};
use tiderace::error::LogError;

use crate::support::{
    LIMIT, MEMORY, broker, from_start, poll_until, read_to_end, record, texts, topic, transact,
    write,
};

#[test]
fn partitions_are_read_in_order_from_their_offsets_to_their_ends() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 3);
    for partition in 0..2 {
        write(
            &log,
            &name,
            partition,
            (0..2_500).map(|n| format!("{partition}:{n}")),
        );
    }
    let assignment =
        [(1, 2_000), (0, 0), (2, 0)].map(|(at, from)| (TopicPartition::new(&*name, at), from));
    let mut source = log.source(&assignment, MEMORY).unwrap();
    let read = read_to_end(source.as_mut(), 3);
    assert_eq!(
        read[0],
        ((2_000..2_500).map(|n| format!("1:{n}")).collect(), 2_500)
    );
    assert_eq!(
        read[1],
        ((0..2_500).map(|n| format!("0:{n}")).collect(), 2_500)
    );
    assert_eq!(read[2], (vec![], 0));
    // The ends are not reported again; the next one is.
    assert!(matches!(
        source.poll(Duration::from_millis(200)).unwrap(),
        Fetched::Nothing
    ));
    write(&log, &name, 2, ["new".to_owned()]);
    let mut events = Vec::new();
    poll_until(source.as_mut(), |fetched| {
        match fetched {
            Fetched::Batch(batch) => {
                events.push(format!("{} {:?}", batch.slot(), texts(batch.as_ref())))
            }
            Fetched::CaughtUp { slot, position } => events.push(format!("{slot} at {position}")),
            Fetched::Nothing => {}
        }
        events.len() == 2
    });
    assert_eq!(events, ["2 [\"new\"]", "2 at 1"]);
}

#[test]
fn an_end_counts_control_records_and_is_not_reported_before_an_open_transaction() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let mut transactions = log
        .transactions(&broker.fresh_name("app"), std::slice::from_ref(&name))
        .unwrap();
    transact(transactions.as_mut(), 0, &[record(&name, 0, "a")]);
    transactions.begin(1).unwrap();
    transactions.send(1, &record(&name, 0, "open")).unwrap();
    transactions.flush(1).unwrap();

    let mut source = log.source(&from_start(&name, 1), MEMORY).unwrap();
    poll_until(source.as_mut(), |fetched| match fetched {
        Fetched::Batch(batch) => texts(batch.as_ref()) == ["a"],
        Fetched::CaughtUp { position, .. } => panic!("caught up at {position} before any record"),
        Fetched::Nothing => false,
    });
    // The last stable offset (2, behind the marker) is reached; the high watermark (3) is not.
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(300) {
        assert!(matches!(
            source.poll(Duration::from_millis(50)).unwrap(),
            Fetched::Nothing
        ));
    }
    transactions.commit(1).unwrap();
    transactions.confirm(1).unwrap();
    assert_eq!(
        read_to_end(source.as_mut(), 1),
        [(vec!["open".to_owned()], 4)]
    );
}

#[test]
fn an_empty_end_is_that_of_a_partition_full_of_aborted_records() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    let app = broker.fresh_name("app");
    let mut transactions = log.transactions(&app, std::slice::from_ref(&name)).unwrap();
    transactions.begin(0).unwrap();
    for n in 0..100 {
        transactions
            .send(0, &record(&name, 0, &n.to_string()))
            .unwrap();
    }
    transactions.flush(0).unwrap();
    let mut source = log.source(&from_start(&name, 1), MEMORY).unwrap();
    transactions.renew().unwrap();
    assert_eq!(read_to_end(source.as_mut(), 1), [(vec![], 101)]);
}

#[test]
fn pausing_loses_and_repeats_no_record() {
    const RECORDS: usize = 30_000;
    let (broker, log) = broker!();
    let name = topic(broker, &log, 2);
    for partition in 0..2 {
        write(
            &log,
            &name,
            partition,
            (0..RECORDS).map(|n| format!("{n:060}")),
        );
    }
    // So little memory that a paused partition soon makes the client stop, and so many pauses that it stops
    // with records fetched ahead.
    let mut source = log.source(&from_start(&name, 2), 256 << 10).unwrap();
    let mut next = [0_i64; 2];
    let mut ends = [false; 2];
    let mut paused: Option<usize> = None;
    let mut polls = 0;
    poll_until(source.as_mut(), |_| true);
    drop(source);
    let mut source = log.source(&from_start(&name, 2), 256 << 10).unwrap();
    let started = Instant::now();
    while ends != [true; 2] {
        assert!(
            started.elapsed() < LIMIT,
            "stuck at {next:?}, paused {paused:?}"
        );
        match source.poll(Duration::from_millis(5)).unwrap() {
            Fetched::Batch(batch) => {
                assert_ne!(paused, Some(batch.slot()), "a paused partition delivers");
                for index in 0..batch.len() {
                    let record = batch.get(index);
                    assert_eq!(
                        record.offset,
                        next[batch.slot()],
                        "partition {}",
                        batch.slot()
                    );
                    assert_eq!(
                        record.value,
                        Some(format!("{:060}", record.offset).as_bytes())
                    );
                    next[batch.slot()] += 1;
                }
            }
            Fetched::CaughtUp { slot, position } => ends[slot] = position == RECORDS as i64,
            Fetched::Nothing => {}
        }
        polls += 1;
        if polls % 3 == 0 {
            if let Some(slot) = paused.take() {
                source.resume(slot).unwrap();
            } else {
                let slot = polls / 3 % 2;
                source.pause(slot).unwrap();
                paused = Some(slot);
            }
        }
    }
    assert_eq!(next, [RECORDS as i64; 2]);
}

#[test]
fn a_partition_paused_for_long_goes_on_where_it_stopped() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 2);
    for partition in 0..2 {
        write(
            &log,
            &name,
            partition,
            (0..20_000).map(|n| format!("{n:080}")),
        );
    }
    let mut source = log.source(&from_start(&name, 2), 256 << 10).unwrap();
    source.pause(0).unwrap();
    let mut end = None;
    poll_until(source.as_mut(), |fetched| {
        match fetched {
            Fetched::Batch(batch) => assert_eq!(batch.slot(), 1),
            Fetched::CaughtUp { slot, position } => end = Some((slot, position)),
            Fetched::Nothing => {}
        }
        end.is_some()
    });
    assert_eq!(end, Some((1, 20_000)));
    source.resume(0).unwrap();
    let mut read = Vec::new();
    poll_until(source.as_mut(), |fetched| {
        match fetched {
            Fetched::Batch(batch) => {
                read.extend((0..batch.len()).map(|index| batch.get(index).offset))
            }
            Fetched::CaughtUp { slot: 0, position } => return position == 20_000,
            Fetched::CaughtUp { .. } | Fetched::Nothing => {}
        }
        false
    });
    assert_eq!(read, (0..20_000).collect::<Vec<i64>>());
}

#[test]
fn a_partition_that_was_paused_at_its_end_goes_on_with_the_next_record() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    // So little memory that the client stops; librdkafka 2.2 to 2.12 then goes on a record too far (its issue 4844).
    let mut source = log.source(&from_start(&name, 1), 256 << 10).unwrap();
    let mut next = 0;
    for round in 0..12 {
        source.pause(0).unwrap();
        write(&log, &name, 0, (0..900).map(|n| format!("{n:0100}")));
        // Long enough for the client to come to the end, so that records and end are handed out together.
        std::thread::park_timeout(Duration::from_millis(100));
        let held = source.poll(Duration::from_millis(50)).unwrap();
        assert!(matches!(held, Fetched::Nothing));
        let behind = || write(&log, &name, 0, ["behind", "the end"].map(str::to_owned));
        if round % 2 == 0 {
            behind();
        }
        source.resume(0).unwrap();
        let end = next + 902;
        let written = end - if round % 2 == 0 { 0 } else { 2 };
        poll_until(source.as_mut(), |fetched| {
            if let Fetched::Batch(batch) = fetched {
                for index in 0..batch.len() {
                    assert_eq!(batch.get(index).offset, next);
                    next += 1;
                }
            }
            next == written
        });
        if round % 2 == 1 {
            // Nothing lies behind the end yet, which is no error to the client.
            while !matches!(
                source.poll(Duration::from_millis(50)).unwrap(),
                Fetched::Nothing
            ) {}
            behind();
            poll_until(source.as_mut(), |fetched| {
                if let Fetched::Batch(batch) = fetched {
                    assert_eq!(batch.get(0).offset, next);
                    next += batch.len() as i64;
                }
                next == end
            });
        }
    }
}

#[test]
fn batches_outlive_their_source_and_are_read_from_other_threads() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    write(&log, &name, 0, (0..1_000).map(|n| n.to_string()));
    let mut source = log.source(&from_start(&name, 1), MEMORY).unwrap();
    let mut batches: Vec<Arc<dyn RecordBatch>> = Vec::new();
    poll_until(source.as_mut(), |fetched| {
        if let Fetched::Batch(batch) = fetched {
            batches.push(batch);
        }
        batches.iter().map(|batch| batch.len()).sum::<usize>() == 1_000
    });
    drop(source);
    let batches = &batches;
    let read = || {
        batches
            .iter()
            .flat_map(|batch| texts(batch.as_ref()))
            .collect::<Vec<_>>()
    };
    let headers = || {
        batches
            .iter()
            .flat_map(|batch| (0..batch.len()).flat_map(|at| batch.headers(at)))
            .count()
    };
    std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        let parsers = [scope.spawn(headers), scope.spawn(headers)];
        assert_eq!(
            reader.join().unwrap(),
            (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>()
        );
        assert_eq!(parsers.map(|parser| parser.join().unwrap()), [0, 0]);
    });
    assert!(batches.iter().map(|batch| batch.memory()).sum::<usize>() >= 1_000 * 3);
}

#[test]
fn an_offset_that_is_no_longer_held_is_gone() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    write(&log, &name, 0, (0..10).map(|n| n.to_string()));
    crate::support::delete_records(broker, &name, 0, 6);
    let error = first_error(&log, &name, 2);
    let partition = TopicPartition::new(&*name, 0);
    assert!(
        matches!(&error, LogError::Gone { partition: at, wanted: 2, first: 6 } if *at == partition),
        "{error:?}"
    );
    assert_eq!(error.exit_code(), 66);
}

#[test]
fn an_offset_behind_the_end_is_lost() {
    let (broker, log) = broker!();
    let name = topic(broker, &log, 1);
    write(&log, &name, 0, (0..10).map(|n| n.to_string()));
    let error = first_error(&log, &name, 11);
    assert!(
        matches!(
            error,
            LogError::Beyond {
                wanted: 11,
                end: 10,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.exit_code(), 66);
}

fn first_error(log: &dyn Log, topic: &str, offset: i64) -> LogError {
    let mut source = log
        .source(&[(TopicPartition::new(topic, 0), offset)], MEMORY)
        .unwrap();
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < LIMIT, "no error came");
        match source.poll(Duration::from_millis(50)) {
            Err(error) => return error,
            Ok(Fetched::Batch(_)) => panic!("records came from an offset that is out of range"),
            Ok(_) => {}
        }
    }
}
