//! What strangers send the authorization server.

use twinmcp_actors::fuzzing;

pub(crate) fn access_token(data: &[u8]) {
    fuzzing::access_token(&String::from_utf8_lossy(data));
}

pub(crate) fn dpop_proof(data: &[u8]) {
    fuzzing::dpop_proof(&String::from_utf8_lossy(data));
}

pub(crate) fn client_assertion(data: &[u8]) {
    fuzzing::client_assertion(&String::from_utf8_lossy(data));
}

pub(crate) fn client_metadata(data: &[u8]) {
    fuzzing::client_metadata(data);
}

pub(crate) fn redirect_uri(data: &[u8]) {
    fuzzing::redirect_uri(&String::from_utf8_lossy(data));
}

pub(crate) fn token_form(data: &[u8]) {
    fuzzing::token_form(&String::from_utf8_lossy(data));
}

pub(crate) fn authorize_query(data: &[u8]) {
    fuzzing::authorize_query(&String::from_utf8_lossy(data));
}
