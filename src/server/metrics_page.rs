//! The page of metrics: `GET /metrics` over HTTP/1, one answer for each connection.
//!
//! What reads it is a collector of the operator's. Still: few connections, a short head and a short
//! time, each a limit with a name, and what comes beyond them is closed.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla_runtime::metrics::Metrics;
use ottla_runtime::net::ACCEPT_RETRY;
use ottla_runtime::{Listener, NewConnection, Plane, Runtime, Stream};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 8;
/// Bytes of a request, which has no body.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// How long a request and its answer may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
/// The form of the page.
const PAGE_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the page for ever.
pub async fn serve_metrics(runtime: Runtime, listener: Listener, metrics: Metrics) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept().await {
            Ok(connection) if open.load(Ordering::Relaxed) < CONNECTIONS_MAX => {
                let held = Held::new(&open);
                let (served, metrics) = (runtime.clone(), metrics.clone());
                let task = async move {
                    let exchange = exchange(&served, connection, metrics);
                    if let Some(Err(error)) = served.clock().timeout(EXCHANGE_MAX, exchange).await {
                        tracing::debug!(%error, "metrics were not read to the end");
                    }
                    drop(held);
                };
                runtime.spawn(Plane::Control, "page of metrics", task);
            }
            Ok(connection) => drop(connection),
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for metrics");
                runtime.clock().sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A connection that counts while it lives, however its task ends.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(open: &Arc<AtomicUsize>) -> Held {
        open.fetch_add(1, Ordering::Relaxed);
        Held(open.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn exchange(
    runtime: &Runtime,
    connection: NewConnection,
    metrics: Metrics,
) -> io::Result<()> {
    let stream = connection.attach()?;
    let head = read_head(&stream).await?;
    let (status, body) = match asked(&head) {
        Asked::Metrics => {
            // Groups are walked over with their locks held, one shard after the other: not on a
            // thread that serves others.
            let read = move || metrics.read().to_text();
            ("200 OK", runtime.blocking(Plane::Data(0), read).await)
        }
        Asked::Elsewhere => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        Asked::Other => ("405 Method Not Allowed", "metrics are read with GET\n".to_owned()),
        Asked::Nonsense => ("400 Bad Request", "this is no request of HTTP\n".to_owned()),
    };
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {PAGE_TYPE}\r\nContent-Length: {}\r\n{allow}\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    write_all(&stream, answer.as_bytes()).await
}

/// What a request is about.
#[derive(PartialEq, Eq, Debug)]
enum Asked {
    Metrics,
    Elsewhere,
    Other,
    Nonsense,
}

/// Looks at the first line: method, target, version.
fn asked(head: &[u8]) -> Asked {
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version)) = (method, target, version) else {
        return Asked::Nonsense;
    };
    if !version.starts_with(b"HTTP/1.") || words.next().is_some() {
        return Asked::Nonsense;
    }
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    match (method, path) {
        (b"GET", b"/metrics") => Asked::Metrics,
        (b"GET", _) => Asked::Elsewhere,
        _ => Asked::Other,
    }
}

/// Everything up to the empty line.
async fn read_head(stream: &Stream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1 << 10);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut head) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(head);
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::other("the head of the request is too long"));
        }
        if head.len() == head.capacity() {
            head.reserve(head.len());
        }
    }
}

async fn write_all(stream: &Stream, mut left: &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        stream.writable().await?;
        match stream.try_write(&[IoSlice::new(left)]) {
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        for (head, is_about) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Asked::Metrics),
            ("GET /metrics?name=x HTTP/1.0\r\n\r\n", Asked::Metrics),
            ("GET / HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            ("GET /metricsx HTTP/1.1\r\n\r\n", Asked::Elsewhere),
            ("POST /metrics HTTP/1.1\r\n\r\n", Asked::Other),
            ("GET /metrics\r\n\r\n", Asked::Nonsense),
            ("GET /metrics HTTP/2\r\n\r\n", Asked::Nonsense),
            ("GET  /metrics HTTP/1.1\r\n\r\n", Asked::Nonsense),
            ("\0\0\0\x12\0\x12 \r\n\r\n", Asked::Nonsense),
        ] {
            assert_eq!(asked(head.as_bytes()), is_about, "{head:?}");
        }
    }
}
