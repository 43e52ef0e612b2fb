//! What a service answers, read without trust.

use serde::Deserialize;

use super::EndpointError;

/// Characters of a refusal that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Told,
}

/// Most services send an object with a message, some only the message.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Object { message: String },
    Text(String),
}

/// The unit vectors of `count` texts in their order.
pub(super) fn vectors(
    body: &[u8],
    count: usize,
    dimensions: usize,
) -> Result<Vec<Option<Vec<f32>>>, EndpointError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| EndpointError::Answer(error.to_string()))?;
    if answer.data.len() != count {
        let what = format!("{} vectors for {count} texts", answer.data.len());
        return Err(EndpointError::Answer(what));
    }
    let mut vectors: Vec<Option<Option<Vec<f32>>>> = vec![None; count];
    for (place, entry) in answer.data.into_iter().enumerate() {
        let found = entry.embedding.len();
        if found != dimensions {
            return Err(EndpointError::Dimensions { expected: dimensions, found });
        }
        let unit = unit(entry.embedding)?;
        match vectors.get_mut(entry.index.unwrap_or(place)) {
            Some(empty @ None) => *empty = Some(unit),
            Some(Some(_)) | None => {
                return Err(EndpointError::Answer("an index is wrong or there twice".to_owned()));
            }
        }
    }
    Ok(vectors.into_iter().flatten().collect())
}

/// `None` for a vector of zeros.
fn unit(mut vector: Vec<f32>) -> Result<Option<Vec<f32>>, EndpointError> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if !length.is_finite() {
        return Err(EndpointError::Answer("a vector holds a number that is not finite".to_owned()));
    }
    if !length.is_normal() {
        return Ok(None);
    }
    vector.iter_mut().for_each(|value| *value /= length);
    Ok(Some(vector))
}

/// What a refusal says, short, printable, and without the key should it be repeated there.
pub(super) fn message(body: &[u8], key: Option<&str>) -> String {
    let text = match serde_json::from_slice(body) {
        Ok(Refusal { error: Told::Object { message } | Told::Text(message) }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text = key.map_or_else(|| text.clone(), |key| text.replace(key, "***"));
    let clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect();
    if clean.trim().is_empty() { "without a word".to_owned() } else { clean.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_in_the_order_of_their_indexes_at_unit_length() {
        let body = br#"{"object":"list","model":"m","data":[
            {"object":"embedding","index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}]}"#;
        assert_eq!(vectors(body, 2, 2).unwrap(), [Some(vec![0.6, 0.8]), Some(vec![0.0, 1.0])]);
        let unnumbered = br#"{"data":[{"embedding":[1,0]},{"embedding":[0,0]}]}"#;
        assert_eq!(vectors(unnumbered, 2, 2).unwrap(), [Some(vec![1.0, 0.0]), None]);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_refused_with_a_reason() {
        for (body, reason) in [
            (r#"{"data":[{"embedding":[1,0]}]}"#, "1 vectors for 2 texts"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[1,0]}]}"#, "there twice"),
            (r#"{"data":[{"index":0,"embedding":[1,0]},{"index":9,"embedding":[1,0]}]}"#, "index is wrong"),
            (
                r#"{"data":[{"embedding":[1,0]},{"embedding":[1]}]}"#,
                "of 1 dimensions, `embeddings.dimensions` says 2",
            ),
            (r#"{"data":[{"embedding":[1,0]},{"embedding":[3e38,3e38]}]}"#, "not finite"),
            (r#"{"data":[{"embedding":[1,0]},{"embedding":[1e300,0]}]}"#, "not finite"),
            (r#"{"data":[{"embedding":[NaN,0]},{"embedding":[1,0]}]}"#, "cannot be read"),
            (r#"{"data":[{"embedding":[null,0]},{"embedding":[1,0]}]}"#, "cannot be read"),
            (r#"{"data":[{"embedding":[1,0]},{"embedding":[1,0"#, "cannot be read"),
            (r#"{"data":[{"embedding":["a"]}]}"#, "cannot be read"),
            ("<html>", "cannot be read"),
        ] {
            let error = vectors(body.as_bytes(), 2, 2).unwrap_err().to_string();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }

    #[test]
    fn a_refusal_is_short_and_never_repeats_the_key() {
        let object = br#"{"error":{"message":"Incorrect API key: sk-secret\u0007","type":"invalid"}}"#;
        assert_eq!(message(object, Some("sk-secret")), "Incorrect API key: ***");
        assert_eq!(message(br#"{"error":"model not found"}"#, None), "model not found");
        assert_eq!(message(b"", None), "without a word");
        assert_eq!(message(&[b'x'; 5_000], None).len(), MESSAGE_CHARS_MAX);
    }
}
