//! The same for the release build, which is compiled without what only tests switch on.

use tiderace_testing::program::release_build;

use crate::kills::{Campaign, Ends, survive_kills};
use crate::site::Site;

#[test]
fn ten_kills_of_the_release_build_change_no_byte() {
    survive_kills(
        &Site::of_program(release_build()),
        &Campaign {
            build: "the release build",
            kills: 10,
            scale: 1000,
            seed: 3,
            ends: Ends::Records,
        },
    );
}
