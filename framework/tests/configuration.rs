//! `docs/configuration.md` says what the table of settings says.

use tiderace::config::{SETTINGS, reference_table};

#[test]
fn the_page_holds_the_table_as_it_is() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = reference_table();
    assert!(
        page.contains(&table),
        "the table of docs/configuration.md should read:\n\n{table}"
    );
}

#[test]
fn every_name_is_listed_once() {
    for (index, setting) in SETTINGS.iter().enumerate() {
        let twice = SETTINGS[..index]
            .iter()
            .any(|other| other.name == setting.name);
        assert!(!twice, "{} stands in the table twice", setting.name);
    }
}
