//! Seeds in place of scripts: [`chance`] draws a cluster, its faults and its load from one number.

pub mod chance;
