//! A catalogue file as it is or packed with gzip, zstd or xz, told apart by its first bytes.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

/// Memory an xz stream may ask for; `xz -9` asks for 65 MiB.
const XZ_MEMORY_MAX: u64 = 128 << 20;
/// Several xz streams one after the other are one stream (`LZMA_CONCATENATED`).
const XZ_CONCATENATED: u32 = 0x08;

/// The stream unpacked. Reading it blocks.
///
/// # Errors
/// When the first bytes cannot be read, or the stream asks for more memory than it may.
pub fn unpacked(mut packed: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    Ok(match packed.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(packed)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX, XZ_CONCATENATED);
            Box::new(XzDecoder::new_stream(packed, stream.map_err(io::Error::other)?))
        }
        _ => Box::new(packed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> String {
        let mut text = String::new();
        unpacked(io::Cursor::new(bytes)).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn every_packing_gives_the_same_lines() {
        let lines = b"{\"id\":\"/a/b\"}\n";
        let mut gzip = flate2::bufread::GzEncoder::new(&lines[..], flate2::Compression::fast());
        let mut xz = liblzma::bufread::XzEncoder::new(&lines[..], 1);
        let (mut gzipped, mut xzed) = (Vec::new(), Vec::new());
        gzip.read_to_end(&mut gzipped).unwrap();
        xz.read_to_end(&mut xzed).unwrap();
        let zstd = zstd::encode_all(&lines[..], 1).unwrap();
        for packed in [lines.to_vec(), gzipped, xzed, zstd] {
            assert_eq!(read(packed).as_bytes(), lines);
        }
        assert_eq!(read(Vec::new()), "");
    }
}
