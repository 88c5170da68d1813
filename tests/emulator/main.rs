//! Placeholder of the kube-ovn-daemon emulator.
fn main() {}
