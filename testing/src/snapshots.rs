//! How far the snapshots of an application reach, by what their files are called: shares no code with the engine.

use std::path::Path;

/// The epoch of the newest snapshot that was published under a data directory, whole or not; `None` if there is none.
pub fn newest(data_dir: &Path, application_id: &str) -> Option<u64> {
    let directory = data_dir
        .join("state")
        .join(application_id)
        .join("snapshots");
    let files = std::fs::read_dir(directory).ok()?;
    let epoch = |file: std::io::Result<std::fs::DirEntry>| {
        let name = file.ok()?.file_name().into_string().ok()?;
        let (epoch, _) = name.strip_suffix(".manifest")?.split_once('-')?;
        epoch.parse().ok()
    };
    files.filter_map(epoch).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_manifest_counts_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(newest(directory.path(), "app"), None);
        let snapshots = directory.path().join("state/app/snapshots");
        std::fs::create_dir_all(&snapshots).unwrap();
        for name in [
            "0007-ab.manifest",
            "0012-cd.manifest",
            "0090-ef.data",
            "x.manifest",
        ] {
            std::fs::write(snapshots.join(name), "").unwrap();
        }
        assert_eq!(newest(directory.path(), "app"), Some(12));
    }
}
