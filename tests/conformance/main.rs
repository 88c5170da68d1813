//! The 88 items of the CNI conformance list, by the built executable; README.md beside this file tells what the list is, and
//! how the suite is run against another plugin. A test's name begins with the item's number.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]
#![allow(clippy::needless_pass_by_value, reason = "calls read better with json!(…) alone")]

#[path = "../host/mod.rs"]
mod host;
mod subject;
#[path = "../support/mod.rs"]
mod support;

mod a_dispatch;
mod b_stdin;
mod c_errors;
mod d_version;
mod e_add;
mod f_results;
mod g_del;
mod h_check;
mod i_gc_and_status;
mod j_packaging;
mod multus;
mod reference;
mod suite_can_fail;

/// All that a plugin of specification 1.1.0 is to speak.
const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
