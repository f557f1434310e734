//! Sockets: TCP, or the simulated network.
//!
//! A [`Stream`] is used through shared references, in the style of readiness: wait, then try. So
//! one task can wait for bytes to read and for an answer to write at the same time, and a stream
//! with TLS inside fits the same shape. File extents go out by `sendfile`.

pub(crate) mod sim;

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BufMut;
use rustix::net::sockopt;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::disk::{File, FileTwin};
use crate::sim::SimNode;
use sim::{SimConnection, SimListener, SimStream};

/// Kafka's `socket.listen.backlog.size` would be 50; the kernel cuts this to `somaxconn`.
const LISTEN_BACKLOG: u32 = 1024;

/// The network of a node. Copies share it.
#[derive(Clone)]
pub struct Net {
    twin: NetTwin,
}

#[derive(Clone)]
enum NetTwin {
    Real,
    Sim(SimNode),
}

/// An address that was taken and is not listened on yet.
pub struct Bound {
    twin: BoundTwin,
}

enum BoundTwin {
    Tcp(TcpSocket),
    Sim(SimNode, SocketAddr),
}

/// A listening socket.
pub struct Listener {
    twin: ListenerTwin,
}

enum ListenerTwin {
    Tcp(TcpListener),
    Sim(SimListener),
}

/// An accepted connection that no event queue watches yet, so it can be given to any plane.
pub struct NewConnection {
    twin: NewTwin,
    /// Address of the other end.
    pub peer: SocketAddr,
}

enum NewTwin {
    Tcp(std::net::TcpStream),
    Sim(SimConnection),
}

/// A stream that no event queue watches, on its way from one plane to another.
pub struct ReleasedStream {
    twin: ReleasedTwin,
}

enum ReleasedTwin {
    Tcp(std::net::TcpStream),
    Sim(SimStream),
}

/// A connected stream of bytes.
pub struct Stream {
    twin: StreamTwin,
}

enum StreamTwin {
    Tcp(TcpStream),
    Sim(SimStream),
}

impl Net {
    pub(crate) fn real() -> Net {
        Net { twin: NetTwin::Real }
    }

    pub(crate) fn simulated(node: SimNode) -> Net {
        Net { twin: NetTwin::Sim(node) }
    }

    /// The addresses of a host to listen on, the best first; the empty host is all addresses of
    /// the machine.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.twin {
            NetTwin::Sim(node) => Ok(vec![SocketAddr::new(node.address(), port)]),
            NetTwin::Real if host.is_empty() => {
                let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
                Ok(all.map(|address| SocketAddr::new(address, port)).to_vec())
            }
            NetTwin::Real => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
        }
    }

    /// The machine's name, which clients are told where the configuration names no host.
    #[must_use]
    pub fn host_name(&self) -> String {
        match &self.twin {
            NetTwin::Real => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            NetTwin::Sim(node) => node.address().to_string(),
        }
    }

    /// Takes an address without listening yet: others find it in use, and clients find nobody.
    ///
    /// # Errors
    /// `AddrInUse` and the others of `bind(2)`.
    pub fn bind(&self, address: SocketAddr) -> io::Result<Bound> {
        let twin = match &self.twin {
            NetTwin::Real => BoundTwin::Tcp(bind(address)?),
            NetTwin::Sim(node) => BoundTwin::Sim(node.clone(), address),
        };
        Ok(Bound { twin })
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// `ConnectionRefused` and the others of `connect(2)`.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        let twin = match &self.twin {
            NetTwin::Real => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                StreamTwin::Tcp(stream)
            }
            NetTwin::Sim(node) => StreamTwin::Sim(SimStream::connect(node, address).await?),
        };
        Ok(Stream { twin })
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A broker that restarts must not wait for old connections to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Bound {
    /// Lets clients connect. Connections are watched by the plane that calls.
    ///
    /// # Errors
    /// `AddrInUse` and the others of `listen(2)`.
    #[expect(clippy::unused_async, reason = "the caller must be inside an event loop")]
    pub async fn listen(self) -> io::Result<Listener> {
        let twin = match self.twin {
            BoundTwin::Tcp(socket) => ListenerTwin::Tcp(socket.listen(LISTEN_BACKLOG)?),
            BoundTwin::Sim(node, address) => ListenerTwin::Sim(SimListener::bind(&node, address)?),
        };
        Ok(Listener { twin })
    }
}

impl Listener {
    /// The address that is listened on; tells the port when 0 was asked for.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.twin {
            ListenerTwin::Tcp(listener) => listener.local_addr(),
            ListenerTwin::Sim(listener) => Ok(listener.address()),
        }
    }

    /// Waits for the next connection. Cancel safe.
    ///
    /// # Errors
    /// Those of `accept(2)`; running out of descriptors passes, so callers pause and go on.
    pub async fn accept(&self) -> io::Result<NewConnection> {
        match &self.twin {
            ListenerTwin::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(NewConnection { twin: NewTwin::Tcp(stream.into_std()?), peer })
            }
            ListenerTwin::Sim(listener) => {
                let connection = listener.accept().await?;
                let peer = connection.peer();
                Ok(NewConnection { twin: NewTwin::Sim(connection), peer })
            }
        }
    }
}

impl ReleasedStream {
    /// Lets the plane that calls watch the stream.
    ///
    /// # Errors
    /// When the process has no descriptors or memory left.
    pub fn attach(self) -> io::Result<Stream> {
        let twin = match self.twin {
            ReleasedTwin::Tcp(stream) => StreamTwin::Tcp(TcpStream::from_std(stream)?),
            ReleasedTwin::Sim(stream) => StreamTwin::Sim(stream),
        };
        Ok(Stream { twin })
    }
}

impl NewConnection {
    /// Lets the plane that calls watch the connection. Answers are not delayed (`TCP_NODELAY`) and
    /// dead peers are noticed (`SO_KEEPALIVE`), as Kafka sets it.
    ///
    /// # Errors
    /// When the other end has gone already, or the process has no descriptors left.
    pub fn attach(self) -> io::Result<Stream> {
        let twin = match self.twin {
            NewTwin::Tcp(stream) => {
                stream.set_nodelay(true)?;
                sockopt::set_socket_keepalive(&stream, true)?;
                StreamTwin::Tcp(TcpStream::from_std(stream)?)
            }
            NewTwin::Sim(connection) => StreamTwin::Sim(connection.into_stream()),
        };
        Ok(Stream { twin })
    }
}

impl Stream {
    /// Ends the watch of its plane, so that it can be given to another one.
    ///
    /// # Errors
    /// Those of the event queue.
    pub fn release(self) -> io::Result<ReleasedStream> {
        let twin = match self.twin {
            StreamTwin::Tcp(stream) => ReleasedTwin::Tcp(stream.into_std()?),
            StreamTwin::Sim(stream) => ReleasedTwin::Sim(stream),
        };
        Ok(ReleasedStream { twin })
    }

    /// Waits until a read may succeed. Cancel safe.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.twin {
            StreamTwin::Tcp(stream) => stream.readable().await,
            StreamTwin::Sim(stream) => stream.readable().await,
        }
    }

    /// Reads what is there into the spare room of `buf`; `Ok(0)` means that the other end will
    /// send no more.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else the connection is broken.
    pub fn try_read(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        match &self.twin {
            StreamTwin::Tcp(stream) => stream.try_read_buf(buf),
            StreamTwin::Sim(stream) => stream.try_read(buf),
        }
    }

    /// A read that was shorter than its room took all there was: the next wait is for what comes
    /// from now on, and does not end at once for a read that would find nothing.
    pub fn was_drained(&self) {
        if let StreamTwin::Tcp(stream) = &self.twin {
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = stream.try_io(Interest::READABLE, nothing);
        }
    }

    /// Waits until a write may succeed. Cancel safe.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn writable(&self) -> io::Result<()> {
        match &self.twin {
            StreamTwin::Tcp(stream) => stream.writable().await,
            StreamTwin::Sim(stream) => stream.writable().await,
        }
    }

    /// Writes a part of `slices` and tells how many bytes.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; else the connection is broken.
    pub fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.twin {
            StreamTwin::Tcp(stream) => stream.try_write_vectored(slices),
            StreamTwin::Sim(stream) => stream.try_write(slices),
        }
    }

    /// Sends a part of `len` bytes of `file` at `offset` and tells how many; the bytes do not pass
    /// through this process. `Ok(0)` means that the file is shorter than that.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; else the file cannot be read or the connection is
    /// broken.
    pub fn try_send_file(&self, file: &File, offset: u64, len: usize) -> io::Result<usize> {
        match (&self.twin, file.twin()) {
            (StreamTwin::Tcp(stream), FileTwin::Real(file)) => {
                stream.try_io(Interest::WRITABLE, || {
                    let mut position = offset;
                    Ok(rustix::fs::sendfile(stream, file, Some(&mut position), len)?)
                })
            }
            (StreamTwin::Sim(stream), _) => {
                let mut bytes = vec![0; len.min(64 * 1024)];
                let count = file.read_at(&mut bytes, offset)?;
                if count == 0 { Ok(0) } else { stream.try_write(&[IoSlice::new(&bytes[..count])]) }
            }
            (StreamTwin::Tcp(_), FileTwin::Sim(_)) => {
                unreachable!("whoever has simulated files has simulated sockets")
            }
        }
    }

    /// Lets the next small writes wait for each other (`TCP_CORK`), so that the head of an answer
    /// and the file extent behind it leave in one piece. Uncorking sends what waits.
    pub fn cork(&self, on: bool) {
        if let StreamTwin::Tcp(stream) = &self.twin {
            // A hint: without it the answer only leaves in more pieces.
            let _ = sockopt::set_tcp_cork(stream, on);
        }
    }

    /// Address of this end.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.twin {
            StreamTwin::Tcp(stream) => stream.local_addr(),
            StreamTwin::Sim(stream) => Ok(stream.local_addr()),
        }
    }
}

/// Time to wait after a failed `accept` before the next: descriptors must get free first.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);
