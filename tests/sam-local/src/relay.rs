//! A connection to the store that can be cut.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the relay passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Requests and responses.
    Open,
    /// No requests: the store receives nothing.
    NoRequests,
    /// Requests but no responses: writes are applied, and the client does not learn of it.
    NoAnswers,
}

/// Passes connections on to a store as its [`Flow`] allows. A connection on which something was held back stays
/// blocked, as after a cut cable.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    flow: watch::Sender<Flow>,
    sent: Sent,
    task: JoinHandle<()>,
}

/// What clients sent, by connection.
type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

impl Relay {
    /// Accepts connections on `listen` for the store at `to`.
    ///
    /// # Errors
    /// If `listen` is in use.
    pub async fn start(listen: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (flow, watched) = watch::channel(Flow::Open);
        let sent = Sent::default();
        let kept = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(pass(connection, to, watched.clone(), Arc::clone(&kept)));
            }
        });
        Ok(Self { address, flow, sent, task })
    }

    /// The address, for the functions' `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What clients sent so far, by connection, whether it was passed on or not.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is passed on from now on.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, to: SocketAddr, flow: watch::Receiver<Flow>, sent: Sent) {
    // A store that cannot be reached looks like one that closes the connection: the client is dropped.
    let Ok(store) = TcpStream::connect(to).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_store, to_store) = store.into_split();
    let connection = {
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(Vec::new());
        sent.len() - 1
    };
    let keep = |bytes: &[u8]| {
        sent.lock().unwrap_or_else(PoisonError::into_inner)[connection].extend_from_slice(bytes);
    };
    tokio::select! {
        _ = copy(from_client, to_store, Flow::NoRequests, flow.clone(), keep) => {}
        _ = copy(from_store, to_client, Flow::NoAnswers, flow, |_| ()) => {}
    }
}

/// Copies until the end. If something arrives while `flow` is `stopped_by`, it is held until the flow changes and then
/// dropped with the connection.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stopped_by: Flow,
    mut flow: watch::Receiver<Flow>,
    keep: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        keep(&buffer[..read]);
        if *flow.borrow_and_update() == stopped_by {
            // An error means that the relay is gone, and with it the reason to wait.
            return flow.changed().await.map_err(io::Error::other);
        }
        to.write_all(&buffer[..read]).await?;
    }
}
