//! `/livez` and `/readyz` for the kubelet.
//!
//! Alive means that the executor runs, not that the apiserver can be reached: a restart would not
//! help then.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;

/// Serves both until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, ready: Arc<AtomicBool>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let ready = Arc::clone(&ready);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let status = status(request.uri().path(), ready.load(Ordering::Relaxed));
                async move {
                    let mut response = Response::new(Full::new(Bytes::from_static(b"")));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            });
            if let Err(error) = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                tracing::debug!(%error, "health connection");
            }
        });
    }
}

fn status(path: &str, ready: bool) -> StatusCode {
    match path {
        "/livez" => StatusCode::OK,
        "/readyz" if ready => StatusCode::OK,
        "/readyz" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::NOT_FOUND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_is_not_ready() {
        assert_eq!(status("/livez", false), StatusCode::OK);
        assert_eq!(status("/readyz", false), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/readyz", true), StatusCode::OK);
        assert_eq!(status("/", true), StatusCode::NOT_FOUND);
    }
}
