//! A caller of unary methods that does as little as HTTP/2 allows (RFC 9113), so that the server is what is measured.
//!
//! Headers are sent as a client with a header table sends them: in full with a connection's first call, by their place in
//! the table (RFC 7541) with every later one. Answers are counted and handed on, not decoded.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// The largest window, less the one that a connection begins with: nothing is ever held back by us.
const MORE_WINDOW: u32 = 0x7fff_ffff - 65_535;
/// Method and scheme, then the five headers of [`first_headers`]: places 66 to 62, for the last to enter is the first.
const LATER_HEADERS: [u8; 7] = [0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe];

/// What a connection calls.
#[derive(Clone)]
pub struct Target {
    /// Where.
    pub addr: SocketAddr,
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// The bearer token.
    pub token: String,
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    target: Target,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    /// What has come of answers that are not whole yet, by stream.
    begun: HashMap<u32, Vec<u8>>,
    next_stream: u32,
    answers: usize,
    ends: usize,
}

impl Connection {
    /// Connects.
    pub async fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.addr).await?;
        stream.set_nodelay(true)?;
        let mut unsent = PREFACE.to_vec();
        frame(&mut unsent, SETTINGS, 0, 0, &[]);
        frame(&mut unsent, WINDOW_UPDATE, 0, 0, &MORE_WINDOW.to_be_bytes());
        let target = target.clone();
        let (unread, begun) = (Vec::new(), HashMap::new());
        Ok(Self { stream, target, unread, unsent, begun, next_stream: 1, answers: 0, ends: 0 })
    }

    /// Calls with at most `window` calls under way until `until`, or until there are no more messages; then waits for the
    /// last answers. Gives how many were answered in time.
    pub async fn call(
        &mut self,
        window: usize,
        until: Instant,
        mut next: impl FnMut(&mut Vec<u8>) -> bool,
        mut answer: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let (start, mut sent) = (self.ends, 0);
        let mut in_time = 0;
        let mut message = Vec::new();
        loop {
            let running = Instant::now() < until;
            if running {
                in_time = self.ends - start;
            }
            while running && sent - (self.ends - start) < window {
                message.clear();
                if !next(&mut message) {
                    break;
                }
                self.request(&message);
                sent += 1;
            }
            self.stream.write_all(&self.unsent).await?;
            self.unsent.clear();
            if sent == self.ends - start {
                assert_eq!(self.answers, self.ends, "a call has failed");
                return Ok(in_time.max(if running { sent } else { 0 }));
            }
            self.unread.reserve(64 * 1024);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read_frames(&mut answer);
        }
    }

    /// How long each of `calls` took, one after the other.
    pub async fn time(
        &mut self,
        calls: usize,
        mut next: impl FnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(calls);
        let far = Instant::now() + Duration::from_hours(1);
        for _ in 0..calls {
            let began = Instant::now();
            let mut first = true;
            self.call(1, far, |message| std::mem::take(&mut first) && next(message), |_| ()).await?;
            times.push(began.elapsed());
        }
        Ok(times)
    }

    fn request(&mut self, message: &[u8]) {
        let headers = if self.next_stream == 1 { first_headers(&self.target) } else { LATER_HEADERS.to_vec() };
        frame(&mut self.unsent, HEADERS, END_HEADERS, self.next_stream, &headers);
        let len = u32::try_from(message.len()).expect("a small message");
        frame_head(&mut self.unsent, DATA, END_STREAM, self.next_stream, len + 5);
        self.unsent.push(0);
        self.unsent.extend_from_slice(&len.to_be_bytes());
        self.unsent.extend_from_slice(message);
        self.next_stream += 2;
    }

    fn read_frames(&mut self, answer: &mut impl FnMut(&[u8])) {
        let mut at = 0;
        while let Some(head) = self.unread.get(at..at + 9) {
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            let Some(body) = self.unread.get(at + 9..at + 9 + len) else { break };
            match kind {
                DATA if !body.is_empty() => {
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    let begun = self.begun.remove(&stream).map(|begun| [&begun, body].concat());
                    let message = begun.as_deref().unwrap_or(body);
                    let whole = |message: &[u8]| {
                        let len = message.get(1..5).and_then(|len| Some(u32::from_be_bytes(len.try_into().ok()?)));
                        len.is_some_and(|len| message.len() == 5 + len as usize)
                    };
                    if whole(message) {
                        self.answers += 1;
                        answer(&message[5..]);
                    } else {
                        // The rest comes in another frame, after those of other calls perhaps.
                        self.begun.insert(stream, message.to_vec());
                    }
                }
                SETTINGS if flags & ACK == 0 => frame(&mut self.unsent, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(&mut self.unsent, PING, ACK, 0, body),
                RST_STREAM | GOAWAY => panic!("the server has refused a call: {body:?}"),
                _ => {}
            }
            self.ends += usize::from(matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0);
            at += 9 + len;
        }
        self.unread.drain(..at);
    }
}

/// The header block of a connection's first call; what it says enters the table.
fn first_headers(target: &Target) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let authority = target.addr.to_string();
    let bearer = format!("Bearer {}", target.token);
    // Names by their places in the static table, but for the one that is not in it.
    for (name, value) in [(4, target.path), (1, &authority), (31, "application/grpc"), (0, "trailers"), (23, &bearer)] {
        put_number(&mut block, 0x40, 0x3f, name);
        if name == 0 {
            put_text(&mut block, "te");
        }
        put_text(&mut block, value);
    }
    block
}

fn put_text(block: &mut Vec<u8>, text: &str) {
    put_number(block, 0, 0x7f, text.len());
    block.extend_from_slice(text.as_bytes());
}

/// A number in the bits of `mask`, and in more bytes when it does not fit there (RFC 7541 section 5.1).
fn put_number(block: &mut Vec<u8>, flags: u8, mask: u8, number: usize) {
    if number < usize::from(mask) {
        return block.push(flags | u8::try_from(number).expect("fits the mask"));
    }
    block.push(flags | mask);
    let mut rest = number - usize::from(mask);
    while rest >= 128 {
        block.push(0x80 | u8::try_from(rest % 128).expect("seven bits"));
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("seven bits"));
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    frame_head(out, kind, flags, stream, u32::try_from(body.len()).expect("a small frame"));
    out.extend_from_slice(body);
}

fn frame_head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, len: u32) {
    out.extend_from_slice(&len.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}
