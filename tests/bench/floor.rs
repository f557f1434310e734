//! The floor: a server that does what cannot be left out, and nothing else. One thread, `epoll`,
//! blocking sockets: a frame that has begun is read to its end.
//!
//! A frame of key 0 (Produce) is written whole to the end of a file with one `pwrite`; one of key 1
//! (Fetch) is answered from that file by `sendfile`, at once or when something was written; one of
//! key 20 (DeleteTopics) empties the file; [`CONFIGURE`] says what all other answers are. Nothing
//! is decoded, checked or remembered. A durable floor writes what came in one wake-up with one
//! `pwrite` into a file that is there already, and syncs it before it answers.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use rustix::net::SendFlags;

use crate::machine::now;

/// Of a length.
pub(crate) const LEN: usize = 4;
/// About as long as the answer to a Produce of one partition; it stands before pieces of files.
pub(crate) const HEAD: usize = 56;
const PRODUCE: u16 = 0;
const FETCH: u16 = 1;
const DELETE: u16 = 20;
/// Key of a frame that holds another key and the answer to frames of that.
const CONFIGURE: u16 = 0x7f00;
/// Length, key, version, correlation id.
const FRONT: usize = 12;
/// As large as small requests are; a frame that is longer gets its own length.
const BUFFER: usize = 4096;
const EVENTS_MAX: usize = 64;
/// Where the file of a floor that nobody empties begins anew.
const FILE_MAX: u64 = 2 << 30;
/// The log of a durable floor.
const LOG_LEN: u64 = 64 << 20;
const LISTENER: u64 = u64::MAX;
/// As the consumers that are measured.
const FETCH_WAIT: Duration = Duration::from_millis(500);

/// A fetch that is answered with as many pieces of the file, from its front on again and again.
pub(crate) fn fetch_frame(pieces: u32, piece: u32) -> Vec<u8> {
    frame(FETCH, &[pieces.to_be_bytes(), piece.to_be_bytes()].concat())
}

/// A fetch that is answered with all that was written since the last one on this connection; if
/// need be, later.
pub(crate) fn wait_frame() -> Vec<u8> {
    frame(FETCH, &[])
}

/// Empties the file.
pub(crate) fn delete_frame() -> Vec<u8> {
    frame(DELETE, &[])
}

/// Frames of `key` are answered with `answer`, a frame without its length, from then on.
pub(crate) fn configure_frame(key: i16, answer: &[u8]) -> Vec<u8> {
    frame(CONFIGURE, &[&key.to_be_bytes()[..], answer].concat())
}

fn frame(key: u16, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(FRONT - LEN + body.len()).expect("a frame is small");
    let mut frame = len.to_be_bytes().to_vec();
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 0, 0, 1]);
    frame.extend_from_slice(body);
    frame
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// How far a waiting fetch has read.
    read: Option<u64>,
    answers: Vec<u8>,
}

struct Floor {
    file: File,
    end: u64,
    durable: bool,
    /// What is to be written and synced before anything is answered.
    gathered: Vec<u8>,
    configured: BTreeMap<u16, Vec<u8>>,
    /// Where the next piece of the file is.
    piece_at: u64,
    /// Whether something was written since waiting fetches were looked at.
    is_new: bool,
    /// Fetches that wait, the one that has waited longest first.
    waiting: VecDeque<(Instant, usize)>,
}

/// Serves until the process is ended.
pub(crate) fn serve(port: u16, dir: &Path, durable: bool) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&queue, &listener, LISTENER)?;
    let mut floor = Floor::open(dir, durable)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        let wait = floor.waiting.front().map(|(until, _)| until.saturating_duration_since(now()));
        let wait = wait.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        retry_on_intr(|| epoll::wait(&queue, spare_capacity(&mut events), wait.as_ref()))?;
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                watch(&queue, &stream, connections.len() as u64)?;
                connections.push(Some(Connection::new(stream)));
                continue;
            }
            let index = usize::try_from(key).expect("an index");
            let Some(connection) = &mut connections[index] else { continue };
            // The other end may go whenever it likes.
            if !connection.serve(&mut floor, index).unwrap_or(false) {
                connections[index] = None;
            }
        }
        floor.sync_gathered()?;
        if durable {
            for event in &events {
                let index = usize::try_from(event.data.u64()).ok();
                let connection = index.and_then(|index| connections.get_mut(index)?.as_mut());
                let _ = connection.map(Connection::answer);
            }
        }
        floor.answer_waiting(&mut connections);
    }
}

fn watch(queue: &OwnedFd, of: impl AsFd, key: u64) -> io::Result<()> {
    epoll::add(queue, of, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
    Ok(())
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        // Memory only when there is something to read: an idle connection is to cost nothing.
        Connection { stream, buffer: Vec::new(), filled: 0, read: None, answers: Vec::new() }
    }

    /// Reads and handles what is complete; tells whether the connection goes on.
    fn serve(&mut self, floor: &mut Floor, index: usize) -> io::Result<bool> {
        self.buffer.resize(self.buffer.len().max(BUFFER), 0);
        loop {
            let count = self.stream.read(&mut self.buffer[self.filled..])?;
            if count == 0 {
                return Ok(false);
            }
            self.filled += count;
            let mut begin = 0;
            while let Some(len) = frame_len(&self.buffer[begin..self.filled]) {
                let frame = begin + LEN..begin + LEN + len;
                self.handle(floor, index, frame)?;
                begin += LEN + len;
            }
            if !floor.durable {
                self.answer()?;
            }
            self.buffer.copy_within(begin..self.filled, 0);
            self.filled -= begin;
            let Some(len) = self.buffer[..self.filled].first_chunk::<LEN>() else {
                return Ok(true);
            };
            let total = LEN + u32::from_be_bytes(*len) as usize;
            self.buffer.resize(self.buffer.len().max(total), 0);
        }
    }

    fn handle(
        &mut self,
        floor: &mut Floor,
        index: usize,
        frame: std::ops::Range<usize>,
    ) -> io::Result<()> {
        let frame = &self.buffer[frame];
        let key = u16::from_be_bytes([frame[0], frame[1]]);
        let number = |at: usize| {
            let bytes = frame.get(at..at + LEN)?;
            Some(u32::from_be_bytes(bytes.try_into().expect("as many bytes")))
        };
        match key {
            PRODUCE => floor.append(frame)?,
            FETCH => {
                return match number(8).zip(number(12)) {
                    Some((pieces, piece)) => floor.send_pieces(&self.stream, pieces, piece),
                    None => self.wait(floor, index),
                };
            }
            DELETE => floor.empty()?,
            CONFIGURE => {
                let of = u16::from_be_bytes([frame[8], frame[9]]);
                floor.configured.insert(of, frame[10..].to_vec());
            }
            _ => {}
        }
        let correlation = frame[4..8].to_vec();
        match floor.configured.get(&key) {
            Some(answer) => {
                let len = u32::try_from(answer.len()).expect("an answer is small");
                self.answers.extend_from_slice(&len.to_be_bytes());
                let begin = self.answers.len();
                self.answers.extend_from_slice(answer);
                self.answers[begin..begin + LEN].copy_from_slice(&correlation);
            }
            None => self.answers.extend_from_slice(&head(&correlation, 0)),
        }
        Ok(())
    }

    fn wait(&mut self, floor: &mut Floor, index: usize) -> io::Result<()> {
        if *self.read.get_or_insert(floor.end) < floor.end {
            return self.answer_wait(floor);
        }
        floor.waiting.push_back((now() + FETCH_WAIT, index));
        Ok(())
    }

    /// Sends what was written since the last time.
    fn answer_wait(&mut self, floor: &Floor) -> io::Result<()> {
        let read = self.read.unwrap_or(floor.end);
        let len = usize::try_from(floor.end - read).expect("a piece is small");
        let flags = if len > 0 { SendFlags::MORE } else { SendFlags::empty() };
        rustix::net::send(&self.stream, &head(&[0, 0, 0, 1], len), flags)?;
        send_file(&self.stream, &floor.file, read..floor.end)?;
        self.read = Some(floor.end);
        Ok(())
    }

    fn answer(&mut self) -> io::Result<()> {
        if !self.answers.is_empty() {
            self.stream.write_all(&self.answers)?;
            self.answers.clear();
        }
        Ok(())
    }
}

fn frame_len(bytes: &[u8]) -> Option<usize> {
    let (len, rest) = bytes.split_first_chunk::<LEN>()?;
    let len = u32::from_be_bytes(*len) as usize;
    (rest.len() >= len).then_some(len)
}

/// The front of an answer that goes on for `later` bytes.
fn head(correlation: &[u8], later: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let len = u32::try_from(HEAD - LEN + later).expect("a piece is small");
    head[..LEN].copy_from_slice(&len.to_be_bytes());
    head[LEN..2 * LEN].copy_from_slice(correlation);
    head
}

impl Floor {
    fn open(dir: &Path, durable: bool) -> io::Result<Floor> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(dir.join("floor.log"))?;
        if durable {
            let piece = vec![0; 1 << 20];
            for at in (0..LOG_LEN).step_by(piece.len()) {
                file.write_all_at(&piece, at)?;
            }
            file.sync_all()?;
        }
        Ok(Floor {
            file,
            end: 0,
            durable,
            gathered: Vec::new(),
            configured: BTreeMap::new(),
            piece_at: 0,
            is_new: false,
            waiting: VecDeque::new(),
        })
    }

    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.durable {
            self.gathered.extend_from_slice(frame);
            return Ok(());
        }
        if self.end > FILE_MAX && self.waiting.is_empty() {
            self.end = 0;
        }
        self.file.write_all_at(frame, self.end)?;
        self.end += frame.len() as u64;
        self.is_new = true;
        Ok(())
    }

    fn sync_gathered(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.end + self.gathered.len() as u64 > LOG_LEN {
            self.end = 0;
        }
        self.file.write_all_at(&self.gathered, self.end)?;
        rustix::fs::fdatasync(&self.file)?;
        self.end += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        (self.end, self.piece_at) = (0, 0);
        self.file.set_len(0)
    }

    fn send_pieces(&mut self, stream: &TcpStream, pieces: u32, piece: u32) -> io::Result<()> {
        let piece = u64::from(piece);
        let total = u64::from(pieces) * (HEAD as u64 + piece) - LEN as u64;
        let mut front = head(&[0, 0, 0, 1], 0);
        let total = u32::try_from(total).map_err(io::Error::other)?;
        front[..LEN].copy_from_slice(&total.to_be_bytes());
        for _ in 0..pieces {
            if self.piece_at + piece > self.end {
                self.piece_at = 0;
            }
            rustix::net::send(stream, &front, SendFlags::MORE)?;
            send_file(stream, &self.file, self.piece_at..self.piece_at + piece)?;
            self.piece_at += piece;
        }
        Ok(())
    }

    /// Answers all when there is something new, and those who have waited long enough.
    fn answer_waiting(&mut self, connections: &mut [Option<Connection>]) {
        let is_new = std::mem::take(&mut self.is_new);
        while let Some((until, index)) = self.waiting.front().copied() {
            if !is_new && now() < until {
                break;
            }
            self.waiting.pop_front();
            let Some(connection) = &mut connections[index] else { continue };
            // The other end may go whenever it likes.
            let _ = connection.answer_wait(self);
        }
    }
}

fn send_file(stream: &TcpStream, file: &File, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut position = range.start;
    while position < range.end {
        let len = usize::try_from(range.end - position).expect("a piece is small");
        if rustix::fs::sendfile(stream, file, Some(&mut position), len)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
