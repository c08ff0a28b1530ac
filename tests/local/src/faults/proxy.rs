//! An HTTP proxy in front of one service.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::refusal::refusal;
use super::{DELAYS, Fault, Service, Shared};

/// The writes of DynamoDB that conflict with transactions. A transaction's read may conflict as well; the functions
/// send none.
const WRITES: [&str; 4] = [".PutItem", ".UpdateItem", ".DeleteItem", ".TransactWriteItems"];

/// The connection is closed without a response.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

struct Proxy {
    shared: Arc<Shared>,
    service: Service,
    authority: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Serves on a free port of the loopback address. `target` is an `http` address; requests keep their paths.
pub(super) async fn start(
    proxies: &mut JoinSet<()>,
    shared: Arc<Shared>,
    service: Service,
    target: &str,
) -> io::Result<String> {
    let target: Uri = target.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let authority = target.authority().cloned().ok_or(io::ErrorKind::InvalidInput)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let proxy = Arc::new(Proxy { shared, service, authority, client });
    proxies.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    // Too many open files, for example: the client connects again.
                    let Ok((stream, _)) = accepted else { continue };
                    let proxy = Arc::clone(&proxy);
                    let serve = service_fn(move |request| Arc::clone(&proxy).serve(request));
                    // An error is a cut connection, by a fault or by the function.
                    connections.spawn(async move {
                        drop(http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await);
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(format!("http://{address}{}", target.path().trim_end_matches('/')))
}

impl Proxy {
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
        let (head, body) = request.into_parts();
        // An incomplete request has reached no service.
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        // A task of its own: a request that was delayed reaches the service even if the function has gone by then.
        tokio::spawn(async move { self.exchange(Request::from_parts(head, body)).await }).await.map_err(|_| Cut)?
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Full<Bytes>>, Cut> {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let writes = target.is_some_and(|target| WRITES.iter().any(|write| target.ends_with(write)));
        if self.service == Service::Sns {
            // Without a delay it returns at once.
            sleep(self.shared.settings().sns_delay).await;
        }
        let Some((fault, mut dice)) = self.shared.draw(self.service, writes) else {
            return self.forward(request).await;
        };
        match fault {
            Fault::CutBefore => Err(Cut),
            Fault::CutAfter => {
                self.forward(request).await?;
                Err(Cut)
            }
            Fault::DelayedBefore => {
                sleep(*dice.pick(&DELAYS)).await;
                self.forward(request).await
            }
            Fault::DelayedAfter => {
                let response = self.forward(request).await;
                sleep(*dice.pick(&DELAYS)).await;
                response
            }
            Fault::Error500Applied => {
                let refused = refusal(self.service, fault, request.body(), &mut dice);
                self.forward(request).await?;
                refused.ok_or(Cut)
            }
            Fault::Error500 | Fault::Error503 | Fault::Throttled | Fault::Conflict => {
                refusal(self.service, fault, request.body(), &mut dice).ok_or(Cut)
            }
        }
    }

    /// The service's own response, unchanged.
    async fn forward(&self, request: Request<Bytes>) -> Result<Response<Full<Bytes>>, Cut> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut uri = head.uri.into_parts();
        (uri.scheme, uri.authority, uri.path_and_query) =
            (Some(Scheme::HTTP), Some(self.authority.clone()), Some(path));
        head.uri = Uri::from_parts(uri).map_err(|_| Cut)?;
        // Headers of the connection, and the other address.
        for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(name);
        }
        let response = self.client.request(Request::from_parts(head, Full::new(body))).await.map_err(|_| Cut)?;
        let (mut head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            head.headers.remove(name);
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }
}
