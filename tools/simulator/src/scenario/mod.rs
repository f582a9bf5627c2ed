//! Scenario files: [`script`] reads them, [`command`] is their language, `say` what they put in the mouths of the faulty, [`words`] and [`report`] how it is told.

pub mod command;
pub mod report;
pub mod say;
pub mod script;
pub mod words;
