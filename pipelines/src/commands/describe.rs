//! `tiderace describe`: a pipeline's topology, without opening a log.

use std::io::Write;

use crate::cli::{Describe, DescriptionForm};
use crate::engine;
use crate::failure::Failure;

/// Prints the topology of a pipeline with its default parameters.
pub(crate) fn describe(options: &Describe) -> Result<(), Failure> {
    let topology = engine::default_topology(&options.pipeline)?;
    let text = match options.format {
        DescriptionForm::Text => topology.to_string(),
        DescriptionForm::Mermaid => topology.to_mermaid(),
        DescriptionForm::Json => topology.to_json().to_string(),
    };
    writeln!(std::io::stdout(), "{}", text.trim_end()).map_err(Failure::Output)
}
