//! A topology as text, as a Mermaid flowchart and as JSON, and what its fingerprint tells apart.

#![allow(clippy::unwrap_used)]

use tiderace::{OnError, StreamsBuilder, TimeWindows, Topic, Topology, Windowed, minutes};

const VISITS: Topic<String, u32> = Topic::json("visits");
const PAGES: Topic<u32, String> = Topic::json("pages");
const ADS: Topic<u32, String> = Topic::json("ads");
const NAMES: Topic<Windowed<u32>, String> = Topic::json("names");
const LATE: Topic<String, u32> = Topic::json("late");

/// Visits per page and ten minutes, with the page's name from one of two tables.
fn names(of_ads: bool) -> Topology {
    let builder = StreamsBuilder::new("names");
    builder.parameter("minutes", 10);
    builder.on_error(OnError::DeadLetter("bad".into()));
    let pages = builder.global_table(PAGES);
    let ads = builder.global_table(ADS);
    let rows = if of_ads { &ads } else { &pages };
    builder
        .stream(VISITS)
        .filter(|page| *page > 0)
        .group_by(|page| *page)
        .windowed_by(TimeWindows::of_size(minutes(10)).grace(minutes(1)))
        .late_to(LATE)
        .count()
        .named("visits-per-page")
        .emit_on_close()
        .left_join(
            rows,
            |of, _| of.key,
            |_, name| name.cloned().unwrap_or_default(),
        )
        .to(NAMES);
    builder.build().unwrap()
}

#[test]
fn people_read_every_step_with_where_its_records_come_from() {
    let expected = "\
Topology `names`
  minutes = 10
   0  global_table   pages-source  topic `pages`
   1  table          pages-table  <- pages-source
   2  global_table   ads-source  topic `ads`
   3  table          ads-table  <- ads-source
   4  stream         visits-source  topic `visits`
   5  filter         filter-5  <- visits-source
   6  group_by       group_by-6  <- filter-5
   7  count          visits-per-page  (windows of 600000 ms every 600000 ms, grace 60000 ms)  <- group_by-6
   8  late_to        late-sink-8  topic `late`  <- visits-per-page.late
   9  left_join      left_join-9  <- visits-per-page.closed  with pages-table
  10  to             names-sink-10  topic `names`  <- left_join-9
  bad data: sent to topic `bad`
";
    assert_eq!(names(false).to_string(), expected);
}

#[test]
fn a_flowchart_has_an_arrow_for_every_way_that_records_and_rows_go() {
    let expected = "\
flowchart TD
    n0[(\"global_table pages\")]
    n1[[\"pages-table\"]]
    n2[(\"global_table ads\")]
    n3[[\"ads-table\"]]
    n4[(\"stream visits\")]
    n5(\"filter-5\")
    n6(\"group_by-6\")
    n7[[\"visits-per-page\"]]
    n8[(\"late_to late\")]
    n9(\"left_join-9\")
    n10[(\"to names\")]
    n0 --> n1
    n2 --> n3
    n4 --> n5
    n5 --> n6
    n6 --> n7
    n7 -->|late| n8
    n7 -->|closed| n9
    n3 -.-> n9
    n9 --> n10
";
    assert_eq!(names(true).to_mermaid(), expected);
}

#[test]
fn scripts_read_topics_inputs_and_tables_by_name() {
    let plan = names(true).to_json();
    assert_eq!(plan["application_id"], "names");
    assert_eq!(plan["on_error"]["dead_letter"], "bad");
    assert_eq!(plan["parameters"]["minutes"], "10");
    let node = |name: &str| {
        let nodes = plan["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["name"] == name).unwrap()
    };
    let join = node("left_join-9");
    assert_eq!(join["kind"], "table join");
    assert_eq!(join["inputs"][0], "visits-per-page.closed");
    assert_eq!(join["table"], "ads-table");
    assert_eq!(node("visits-source")["topic"], "visits");
    assert_eq!(node("names-sink-10")["topic"], "names");
    assert_eq!(node("filter-5").get("table"), None);
}

/// Epochs are replayed by a program of the same fingerprint only: another table would come to other results.
#[test]
fn programs_that_join_with_different_tables_have_different_fingerprints() {
    assert_eq!(names(false).fingerprint(), names(false).fingerprint());
    assert_ne!(names(false).fingerprint(), names(true).fingerprint());
}
