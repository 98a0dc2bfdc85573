//! Joins of a stream with a global table.

use std::sync::Arc;

use tiderace_operators::current;
use tiderace_operators::dataflow::Routing;
use tiderace_operators::join_table::{GlobalTable, join_table, joiner};
use tiderace_operators::key::{Data, Key};

use super::{GlobalKTable, KStream};
use crate::topology::{Attach, Kind, Node, PortId, Render};

/// What becomes of a record and its row; `None` leaves the record out.
type Joiner<K, V, TV, O> = dyn Fn(Option<&K>, V, Option<&TV>) -> Option<O> + Send + Sync;

/// The key of the row that a record is joined with.
type RowOf<K, V, TK> = dyn Fn(Option<&K>, &V) -> Option<TK> + Send + Sync;

impl<K: Key, V: Data> KStream<K, V> {
    /// Joins each record with the row of the table whose key `row_of` makes of the record's key and value. A
    /// record without a row is left out. The result keeps the record's key and timestamp. The table is as of the
    /// record's epoch, after the epoch's own changes.
    pub fn join<TK: Key, TV: Data, O: Data>(
        &self,
        table: &GlobalKTable<TK, TV>,
        row_of: impl Fn(&K, &V) -> TK + Send + Sync + 'static,
        joiner: impl Fn(V, &TV) -> O + Send + Sync + 'static,
    ) -> KStream<K, O> {
        self.add_join(
            "join",
            table,
            by_key(row_of),
            Arc::new(move |_, value, row| Some(joiner(value, row?))),
        )
    }

    /// As [`join`](Self::join), with the record's key for the joiner.
    pub fn join_with_key<TK: Key, TV: Data, O: Data>(
        &self,
        table: &GlobalKTable<TK, TV>,
        row_of: impl Fn(&K, &V) -> TK + Send + Sync + 'static,
        joiner: impl Fn(&K, V, &TV) -> O + Send + Sync + 'static,
    ) -> KStream<K, O> {
        self.add_join(
            "join",
            table,
            by_key(row_of),
            Arc::new(move |key, value, row| Some(joiner(key?, value, row?))),
        )
    }

    /// As [`join`](Self::join), but a record without a row stays, with `None` for the row. One whose key is null
    /// stays too, without a row, since nothing could be looked up.
    #[doc(alias = "leftJoin")]
    pub fn left_join<TK: Key, TV: Data, O: Data>(
        &self,
        table: &GlobalKTable<TK, TV>,
        row_of: impl Fn(&K, &V) -> TK + Send + Sync + 'static,
        joiner: impl Fn(V, Option<&TV>) -> O + Send + Sync + 'static,
    ) -> KStream<K, O> {
        self.add_join(
            "left_join",
            table,
            by_key(row_of),
            Arc::new(move |_, value, row| Some(joiner(value, row))),
        )
    }

    /// As [`left_join`](Self::left_join), with the record's key for the joiner; a record whose key is null is
    /// left out, since the joiner asks for it.
    pub fn left_join_with_key<TK: Key, TV: Data, O: Data>(
        &self,
        table: &GlobalKTable<TK, TV>,
        row_of: impl Fn(&K, &V) -> TK + Send + Sync + 'static,
        joiner: impl Fn(&K, V, Option<&TV>) -> O + Send + Sync + 'static,
    ) -> KStream<K, O> {
        self.add_join(
            "left_join",
            table,
            by_key(row_of),
            Arc::new(move |key, value, row| Some(joiner(key?, value, row))),
        )
    }

    fn add_join<TK: Key, TV: Data, O: Data>(
        &self,
        verb: &'static str,
        table: &GlobalKTable<TK, TV>,
        row_of: Arc<RowOf<K, V, TK>>,
        join: Arc<Joiner<K, V, TV, O>>,
    ) -> KStream<K, O> {
        if !self.plan.is(&table.plan) {
            self.plan.mistake(format!(
                "`{verb}` joins with a table of another builder: begin both with one"
            ));
        }
        let node = self.plan.next();
        let number = u32::try_from(node).expect("steps are counted in u32");
        let rows = table.node;
        let attach: Attach = Box::new(move |rendering, chain| {
            rendering.boundary::<K, V>(node, 0, Routing::Stay, chain)
        });
        let render: Render = Box::new(move |rendering, head| {
            let input = rendering.input::<K, V>(node, 0);
            let mut chain = rendering.chain(node, head, input.senders, input.counting);
            rendering.ends(&mut chain.head);
            let results = rendering.emit::<K, O>(node, 0, &mut chain);
            let row_of = Arc::clone(&row_of);
            let join = Arc::clone(&join);
            let row_of = move |key: Option<&K>, value: &V| {
                current::enter(number);
                row_of(key, value)
            };
            let each = joiner(
                row_of,
                move |key, value, row| join(key, value, row),
                results,
                chain.tally,
            );
            let table = rendering.shared::<GlobalTable<TK, TV>>(rows).clone();
            join_table(
                chain.head,
                input.stream,
                rendering.progress(rows),
                table,
                each,
            );
        });
        self.plan.add(Node {
            name: String::new(),
            verb,
            kind: Kind::TableJoin { table: rows },
            inputs: vec![self.port],
            ports: vec![String::new()],
            attach: vec![attach],
            render: Some(render),
            share: None,
        });
        KStream {
            partitioned: self.partitioned,
            results: self.results,
            ..KStream::new(self.plan.clone(), PortId { node, port: 0 })
        }
    }
}

fn by_key<K: 'static, V: 'static, TK: 'static>(
    row_of: impl Fn(&K, &V) -> TK + Send + Sync + 'static,
) -> Arc<RowOf<K, V, TK>> {
    Arc::new(move |key, value| Some(row_of(key?, value)))
}
