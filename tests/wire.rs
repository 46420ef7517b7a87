//! HTTP/1.1 on the wire, byte for byte: a client, and a server that stands for a model's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request or an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// `POST /path HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub(crate) start: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap_or("0").parse().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body, which must be JSON and say so.
    pub(crate) fn json(&self) -> Value {
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The error in the body.
    pub(crate) fn error(&self) -> Value {
        self.json()["error"].clone()
    }
}

/// Reads a message; none where the connection ends before it.
async fn read(from: &mut (impl AsyncBufReadExt + AsyncRead + Unpin)) -> Option<Message> {
    let mut message = Message::default();
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    if line.is_empty() {
        return None;
    }
    message.start = line.trim_end().to_owned();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        message.headers.push(header);
    }
    message.whole = true;
    if let Some(length) = message.header("content-length") {
        message.body = vec![0; length.parse().unwrap()];
        message.whole = from.read_exact(&mut message.body).await.is_ok();
    } else if message.header("transfer-encoding") == Some("chunked") {
        message.whole = false;
        loop {
            let mut size = String::new();
            from.read_line(&mut size).await.ok();
            let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
                break;
            };
            let mut chunk = vec![0; size + 2];
            if from.read_exact(&mut chunk).await.is_err() {
                break;
            }
            if size == 0 {
                message.whole = true;
                break;
            }
            message.body.extend_from_slice(&chunk[..size]);
        }
    }
    Some(message)
}

// === the client ===

/// One request as bytes, with `connection: close`.
pub(crate) fn request(verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{verb} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let length = ["content-length", "transfer-encoding"];
    if !headers.iter().any(|(name, _)| length.contains(name)) {
        head += &format!("content-length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Sends `bytes` over `stream`, and gives the answer.
pub(crate) async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Message {
    let mut stream = BufReader::new(stream);
    let talk = async {
        // A server that refuses early may close before all is sent.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        read(&mut stream).await
    };
    tokio::time::timeout(Duration::from_secs(60), talk)
        .await
        .expect("no answer within a minute")
        .unwrap_or_default()
}

/// A request on a connection of its own.
pub(crate) async fn send(
    to: SocketAddr,
    verb: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Message {
    let stream = TcpStream::connect(to).await.unwrap();
    exchange(stream, &request(verb, path, headers, body)).await
}

/// Posts JSON.
pub(crate) async fn post_json(to: SocketAddr, path: &str, body: &Value) -> Message {
    let json = [("content-type", "application/json")];
    send(to, "POST", path, &json, body.to_string().as_bytes()).await
}

/// Asks for a page.
pub(crate) async fn get(to: SocketAddr, path: &str) -> Message {
    send(to, "GET", path, &[], b"").await
}

/// Posts `body` in parts of `size` bytes, and gives the answer.
pub(crate) async fn post(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    size: usize,
) -> Message {
    let mut stream = open(to, path, headers, body, size).await;
    tokio::time::timeout(Duration::from_secs(60), read(&mut stream))
        .await
        .expect("no answer within a minute")
        .unwrap_or_default()
}

/// Posts, and leaves the answer to be read.
pub(crate) async fn open(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    size: usize,
) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(to).await.unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if size >= body.len() {
        head += &format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = stream.write_all(body).await;
    } else {
        head += "transfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for chunk in body.chunks(size) {
            let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            if stream.write_all(&chunk).await.is_err() {
                break; // answered before its end
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    }
    let _ = stream.flush().await;
    stream
}

// === the model's server ===

/// What an [`Upstream`] answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    /// Bytes of a part; the whole at once, with its length, where there is none.
    pub(crate) size: Option<usize>,
    /// Time between parts.
    pub(crate) pause: Duration,
    /// The connection breaks in the middle of the body.
    pub(crate) breaks: bool,
}

impl Answer {
    pub(crate) fn json(body: &str) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "application/json")],
            body: body.into(),
            size: None,
            pause: Duration::ZERO,
            breaks: false,
        }
    }

    pub(crate) fn events(body: &str, size: usize) -> Self {
        Self {
            headers: vec![("content-type", "text/event-stream; charset=utf-8")],
            size: Some(size),
            ..Self::json(body)
        }
    }
}

/// A server that answers everything alike and remembers what it was asked.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Message>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            answer: Arc::new(Mutex::new(Answer::json("{}"))),
        };
        let (seen, answer) = (upstream.seen.clone(), upstream.answer.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, seen.clone(), answer.clone()));
            }
        });
        upstream
    }

    /// What it answers from now on.
    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
        self.seen.lock().unwrap().clear();
    }

    /// What it was asked since then.
    pub(crate) fn asked(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Message>>>, answer: Arc<Mutex<Answer>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        seen.lock().unwrap().push(request);
        let answer = answer.lock().unwrap().clone();
        if write(&mut stream, answer).await.is_err() {
            return;
        }
    }
}

async fn write(stream: &mut BufReader<TcpStream>, answer: Answer) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let breaks = || std::io::Error::other("as asked");
    let Some(size) = answer.size else {
        head += &format!("content-length: {}\r\n\r\n", answer.body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&answer.body).await?;
        return stream.flush().await;
    };
    head += "transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let count = answer.body.len().div_ceil(size);
    for (i, chunk) in answer.body.chunks(size).enumerate() {
        if answer.breaks && i * 2 > count {
            return Err(breaks());
        }
        let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        stream.write_all(&chunk).await?;
        stream.flush().await?;
        if !answer.pause.is_zero() {
            tokio::time::sleep(answer.pause).await;
        }
    }
    stream.write_all(b"0\r\n\r\n").await?;
    stream.flush().await
}
