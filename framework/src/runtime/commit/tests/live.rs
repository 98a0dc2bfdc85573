//! When a run is live: not before every operator has its state back, and all that was logged is replayed.

use super::*;

/// The epoch whose state the run goes on from.
const BASIS: Epoch = 4;

/// The entry of an epoch that has read nothing and written nothing.
fn nothing(epoch: Epoch) -> EpochEntry {
    EpochEntry {
        epoch,
        incarnation: "before".into(),
        topology: Fingerprint::default(),
        read: Vec::new(),
        decisions: Vec::new(),
        counts: Default::default(),
        rows: 0,
        windows_closed: 0,
        outputs: BTreeMap::new(),
        steps: None,
        guarantee: Default::default(),
        previous: String::new(),
    }
}

/// A committer behind the basis with these epochs to be replayed, and what it is told through.
fn committer(logged: &[Epoch]) -> (Sender<ToCommitter>, Committer) {
    let (to_committer, mut parts) = parts(&Fake::new(1, &[]), BASIS);
    let logged = logged.iter().map(|epoch| (*epoch, nothing(*epoch)));
    parts.logged = logged.collect();
    (to_committer, Committer::new(parts))
}

/// Whether the run says that it has recovered, and lets epochs open that are not in the log: one never without the
/// other.
fn is_live(committer: &mut Committer) -> bool {
    let is_over = committer.advance().unwrap();
    assert!(!is_over, "the input has no end");
    let recovered = committer.parts.progress.recovery().is_some();
    let live = committer.parts.epochs.live_for().is_some();
    assert_eq!(recovered, live);
    live
}

#[test]
fn a_run_is_live_when_its_operators_have_passed_what_they_got_back() {
    let (workers, mut committer) = committer(&[]);
    assert!(!is_live(&mut committer), "no operator has said a word");
    // The basis is not passed: somewhere its state is still being given back.
    for epoch in [0, BASIS] {
        workers.send(ToCommitter::Passed(epoch)).unwrap();
        assert!(!is_live(&mut committer), "everything before {epoch}");
    }
    workers.send(ToCommitter::Passed(BASIS + 1)).unwrap();
    assert!(is_live(&mut committer));
}

#[test]
fn a_run_is_live_when_all_that_was_logged_is_replayed() {
    let (workers, mut committer) = committer(&[BASIS + 1, BASIS + 2]);
    for replayed in [BASIS, BASIS + 1] {
        workers.send(ToCommitter::Passed(replayed + 1)).unwrap();
        assert!(!is_live(&mut committer), "{replayed} is replayed");
    }
    workers.send(ToCommitter::Passed(BASIS + 3)).unwrap();
    assert!(is_live(&mut committer));
}
