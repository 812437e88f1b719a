//! Prints how many bytes an unchanged host's inventory report has as a message (before gRPC's five bytes in front), for
//! `cargo xtask bench history`.

use drydock_api::agent::v1::ReportInventoryRequest;
use drydock_domain::inventory::{SectionKind, combined_fingerprint, fingerprint};
use prost::Message;

fn main() {
    let prints: Vec<_> = SectionKind::ALL.iter().map(|kind| (*kind, fingerprint(kind.as_str().as_bytes()))).collect();
    let sections: Vec<_> = prints.iter().map(|(kind, print)| (*kind, print.as_str())).collect();
    let report = ReportInventoryRequest { sections: Vec::new(), combined: combined_fingerprint(&sections).to_vec() };
    println!("{}", report.encoded_len());
}
