//! The floor: what a program costs that does nothing but the route `POST /v1/submissions` of `submit`.
//!
//! It has no SDK, no runtime of Lambda and no asynchronous tasks: it blocks on two connections, reads events by their
//! types and signs by hand. It is here to be measured and has no tests of its own: before it is measured, its answers and
//! its calls are compared with those of `submit`.
#![allow(clippy::print_stdout, reason = "a function's log")]

mod route;
mod signer;

use std::env;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use route::{Request, Result, Tables};
use signer::Signer;
use time::OffsetDateTime;

fn main() -> Result<()> {
    let tables = Tables::of_environment()?;
    let mut signer = Signer::of_environment()?;
    let mut dynamodb = Connection::open(&signer.host)?;
    let mut call = |operation, body: &[u8], now| {
        dynamodb.send("POST / HTTP/1.1\r\n", &signer.headers(operation, body, now)?, body)?;
        dynamodb.receive()
    };
    call("GetItem", &tables.warm_up()?, OffsetDateTime::now_utc())?;
    let mut api = Connection::open(&env::var("AWS_LAMBDA_RUNTIME_API")?)?;
    loop {
        api.send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n", &[], b"")?;
        let next = api.receive()?;
        let request_id = next.header("lambda-runtime-aws-request-id").unwrap_or_default();
        let request = Request::read(&next.body, request_id)?;
        let answer = match request.refusal() {
            Some(refusal) => refusal,
            None => {
                let answer = match request.put(&tables)? {
                    Ok((put, submission)) => {
                        let put = call("PutItem", &put, request.now())?;
                        request.stored(&submission, put.status, &put.body)?
                    }
                    Err(invalid) => invalid,
                };
                if let Some(count) = request.count(&answer, &tables)? {
                    call("TransactWriteItems", &count, request.now())?;
                }
                answer
            }
        };
        let line = format!("POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\n");
        api.send(&line, &[], &request.written(answer)?)?;
        api.receive()?;
    }
}

/// A connection that is kept, with one request under way at a time.
struct Connection {
    host: String,
    stream: TcpStream,
    buffer: Vec<u8>,
}

struct Received {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Connection {
    fn open(host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { host: host.to_owned(), stream, buffer: Vec::with_capacity(8_192) })
    }

    fn send(&mut self, line: &str, headers: &[(&str, String)], body: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(line.as_bytes());
        write!(self.buffer, "host: {}\r\n", self.host)?;
        for (name, value) in headers {
            write!(self.buffer, "{name}: {value}\r\n")?;
        }
        write!(self.buffer, "content-length: {}\r\n\r\n", body.len())?;
        self.buffer.extend_from_slice(body);
        self.stream.write_all(&self.buffer)
    }

    fn receive(&mut self) -> Result<Received> {
        self.buffer.clear();
        let head_end = loop {
            self.read()?;
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..head_end])?.to_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let mut received = Received { status, head, body: Vec::new() };
        let length: usize = received.header("content-length").unwrap_or("0").parse()?;
        while self.buffer.len() < head_end + length {
            self.read()?;
        }
        received.body = self.buffer[head_end..head_end + length].to_vec();
        Ok(received)
    }

    fn read(&mut self) -> Result<()> {
        let start = self.buffer.len();
        self.buffer.resize(start + 8_192, 0);
        let read = self.stream.read(&mut self.buffer[start..])?;
        self.buffer.truncate(start + read);
        if read == 0 { Err("the connection was closed".into()) } else { Ok(()) }
    }
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}
