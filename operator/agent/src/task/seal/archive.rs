//! The archive: the same files give the same bytes.

use std::io;

use tar::{Builder, Header};

use super::draft::Draft;

/// A good deal smaller than the default level's, in well under a second for what ConfigMaps can
/// hold.
const LEVEL: i32 = 9;

/// A tar of the files in their order, without anything of this machine or this time in it,
/// compressed by zstd.
pub(super) fn pack(files: &[Draft]) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for file in files {
        let mut header = Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(0o444);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        tar.append_data(&mut header, &file.path, &file.content[..])?;
    }
    zstd::bulk::compress(&tar.into_inner()?, LEVEL)
}
