//! Measuring Logothete: the load generator, what it reports, and the bound that the transport sets.
//!
//! What may enter: code that *measures* the system from outside, through the interfaces that everybody uses
//! ([`logothete_client::Session`] for the load, [`logothete_transport::datagram`] for the null protocol), and code that
//! turns measurements into files and pictures. What must never: anything that the engine needs in order to run, and any
//! private door into the engine that would measure something that users do not get.
//!
//! - [`load`] drives sessions in a closed or an open loop, and counts and times every answer;
//! - [`latency`] is the histogram that all parts share;
//! - [`history`] writes every call and answer, and [`linearizability`] judges what was written;
//! - [`processes`] samples processor time and memory of the processes of a run from `/proc`;
//! - [`report`] is the JSON object of `bench` and `demo`, its acceptance check, and the table for a terminal;
//! - [`plot`] draws the latency and throughput picture as SVG;
//! - [`null_protocol`] sends PBFT's datagrams with nothing behind them: the limit that the engine is held against.

pub mod latency;
pub mod linearizability;
pub mod load;
pub mod null_protocol;
pub mod plot;
pub mod processes;
pub mod report;

pub use load::history;
