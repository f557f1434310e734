//! The floor for many connections: one thread, `epoll`, a read and a write for each request. A
//! frame of key 0 (Produce) is written whole to the end of a file with one `pwrite` before it is
//! answered; any other has nothing done for it. Answers are as long as those that are measured.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;

use crate::floor::{LEN, PRODUCE, answer, next_frame};

/// As large as the small requests are; a frame that is longer gets its own length.
const BUFFER: usize = 4096;
const EVENTS_MAX: usize = 64;
/// Where a file of the floor begins anew.
const FILE_MAX: u64 = 1 << 30;
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// Serves until the process is ended.
pub(crate) fn serve(port: u16, dir: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch(&queue, &listener, LISTENER)?;
    let file = File::create(dir.join("floor.log"))?;
    let mut end = 0;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        epoll::wait(&queue, spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                watch(&queue, &stream, connections.len() as u64)?;
                let buffer = vec![0; BUFFER];
                connections.push(Some(Connection { stream, buffer, filled: 0 }));
                continue;
            }
            let slot = &mut connections[usize::try_from(key).expect("an index")];
            let Some(connection) = slot else { continue };
            // The other end may go whenever it likes.
            if !connection.serve(&file, &mut end).unwrap_or(false) {
                *slot = None;
            }
        }
    }
}

fn watch(queue: &OwnedFd, of: impl AsFd, key: u64) -> io::Result<()> {
    epoll::add(queue, of, epoll::EventData::new_u64(key), epoll::EventFlags::IN)?;
    Ok(())
}

impl Connection {
    /// Reads once and answers what is complete; tells whether the connection goes on.
    fn serve(&mut self, file: &File, end: &mut u64) -> io::Result<bool> {
        let count = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        let mut begin = 0;
        while let Some(frame) = next_frame(&self.buffer[begin..self.filled]) {
            if [frame[0], frame[1]] == PRODUCE {
                file.write_all_at(frame, *end)?;
                *end = if *end > FILE_MAX { 0 } else { *end + frame.len() as u64 };
            }
            self.stream.write_all(&answer(frame, 0))?;
            begin += LEN + frame.len();
        }
        self.buffer.copy_within(begin..self.filled, 0);
        self.filled -= begin;
        if let Some(len) = self.buffer[..self.filled].first_chunk::<LEN>() {
            let total = LEN + u32::from_be_bytes(*len) as usize;
            if total > self.buffer.len() {
                self.buffer.resize(total, 0);
            }
        }
        Ok(count > 0)
    }
}
