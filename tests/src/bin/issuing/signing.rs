//! Bare signatures of the library that tokens are signed with: what no server can be faster than.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

/// About as long as what is signed of an access token, in bytes.
const MESSAGE: &[u8] = &[7; 480];

/// Signatures a second of one thread, by algorithm.
pub(crate) fn rates(time: Duration) -> Result<[(&'static str, f64); 2], String> {
    let random = SystemRandom::new();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|error| error.to_string())?;
    let mut signature = vec![0; rsa.public_modulus_len()];
    let rs256 = rate(time, || rsa.sign(&RSA_PKCS1_SHA256, &random, MESSAGE, &mut signature).is_ok());
    let curve =
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|error| error.to_string())?;
    let es256 = rate(time, || curve.sign(&random, MESSAGE).is_ok());
    Ok([("RS256", rs256), ("ES256", es256)])
}

fn rate(time: Duration, mut sign: impl FnMut() -> bool) -> f64 {
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < time / 4 {
        count += u32::from(sign());
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}
