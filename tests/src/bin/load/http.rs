//! A keep-alive connection with as little work as possible between two requests, so that the node is measured.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One connection to a node.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    key: String,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, key: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // Ends with the sender; what went wrong on the way is told to the request that met it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: address.to_string(), key: format!("Bearer {key}") })
    }

    /// `GET path`: the status and the length of the body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(StatusCode, usize), String> {
        let request = Request::get(path).header("host", &self.host).header("authorization", &self.key);
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes().len()))
    }
}
