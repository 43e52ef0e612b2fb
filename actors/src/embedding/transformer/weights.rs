//! Weights out of a safetensors file, tensor by tensor, so that never more than one is there twice.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use ndarray::{Array1, Array2};
use safetensors::tensor::{Dtype, Metadata};

use super::ModelError;

/// Longest header, in bytes.
const HEADER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Largest tensor, in bytes: the token table of a large BERT has 125 MB.
const TENSOR_BYTES_MAX: usize = 256 * 1024 * 1024;

/// An open file of weights.
pub(super) struct Weights {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the tensors begin.
    start: u64,
    hasher: blake3::Hasher,
}

impl Weights {
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let mut file = File::open(path).map_err(ModelError::read(path))?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(ModelError::read(path))?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_BYTES_MAX {
            return Err(ModelError::unsuitable(path, "is not a safetensors file: its header is too long"));
        }
        let mut header = Vec::new();
        file.by_ref().take(length).read_to_end(&mut header).map_err(ModelError::read(path))?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|source| ModelError::Header { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, metadata, start: 8 + length, hasher: blake3::Hasher::new() })
    }

    /// Hash of the tensors read so far, in their order.
    pub(super) fn digest(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Array2<f32>, ModelError> {
        let numbers = self.numbers(name, &[rows, columns])?;
        Array2::from_shape_vec((rows, columns), numbers).map_err(|_| self.wrong(name, "has another shape"))
    }

    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Array1<f32>, ModelError> {
        Ok(Array1::from_vec(self.numbers(name, &[length])?))
    }

    fn numbers(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let info = self.metadata.info(name).ok_or_else(|| self.wrong(name, "is missing"))?;
        if info.shape != shape {
            let what = format!("has shape {:?} where config.json asks for {shape:?}", info.shape);
            return Err(self.wrong(name, &what));
        }
        let (dtype, (from, to)) = (info.dtype, info.data_offsets);
        let bytes_max = to.checked_sub(from).filter(|bytes| *bytes <= TENSOR_BYTES_MAX);
        let mut bytes = vec![0; bytes_max.ok_or_else(|| self.wrong(name, "is too large"))?];
        self.file
            .seek(SeekFrom::Start(self.start.saturating_add(from as u64)))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(ModelError::read(&self.path))?;
        self.hasher.update(name.as_bytes()).update(&bytes);
        let numbers: Vec<f32> = match dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::F16 => {
                bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
            }
            Dtype::BF16 => {
                bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
            }
            other => {
                return Err(self.wrong(name, &format!("is of type {other:?}; F32, F16 and BF16 are read")));
            }
        };
        if numbers.len() != shape.iter().product::<usize>() {
            return Err(self.wrong(name, "has another length than its shape"));
        }
        if numbers.iter().any(|number| !number.is_finite()) {
            return Err(self.wrong(name, "holds a number that is not finite"));
        }
        Ok(numbers)
    }

    fn wrong(&self, name: &str, what: &str) -> ModelError {
        ModelError::unsuitable(&self.path, format!("cannot be used: tensor `{name}` {what}"))
    }
}
