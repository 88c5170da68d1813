//! The built plugin on a whole node: kernel, SR-IOV NIC in switchdev mode, Open vSwitch, OVN, the daemon's emulator.
//! Runs in the lab's guest only (README.md); every test begins and ends at the same node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: a failed step is a failed test"
)]

mod attachment;
mod call;
mod command;
mod daemon;
mod lab;
mod nic;
#[path = "../emulator/ovsdb.rs"]
#[allow(dead_code, reason = "the emulator uses all of it")]
mod ovsdb;
mod pod;
mod random;
mod snapshot;
mod strace;
mod traffic;

mod a_offload;
mod b_attach_only;
mod c_undo;
mod d_failed_add;
mod e_del;
mod f_holders;
mod g_bad_input;
mod h_no_device;
mod i_thick_multus;
mod j_node_not_ready;
mod k_check_and_status;
mod k_given_back;
mod k_killed;
mod k_machine;
mod l_world;
mod m_udev;
mod n_callers;
mod o_crowd;
mod p_stock;
mod q_libcni;
mod q_runtimes;
mod t_node_settings;
mod v_daemon_versions;
mod w_daemon_faults;
