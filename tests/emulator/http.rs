//! HTTP/1.1 on a unix socket with the habits of Go's net/http server: the client under test must cope with exactly these.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// net/http buffers this much of a reply; only what fits gets a Content-Length, the rest is chunked.
const BUFFERED: usize = 2048;
/// net/http's `DefaultMaxHeaderBytes`, and more than any request the stock client can make.
const MAX_HEAD: u64 = 1 << 20;
/// The daemon's `ReadHeaderTimeout`.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    /// As received: names keep their case, repeated ones stay.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// A Content-Length above 0 was sent: go-restful's answer to a missing Content-Type depends on it.
    pub(crate) has_length: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }
}

/// How the reply leaves the server.
pub(crate) enum Delivery {
    Whole,
    /// All headers, half of the body, end of the connection.
    Truncated,
    /// This many spaces before the body, which stay valid JSON.
    Padded(usize),
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery: Delivery,
}

/// Serves requests until the client closes, breaks the protocol, or the handler gives no reply (a Go handler that
/// panics: net/http closes the connection without a byte).
pub(crate) fn serve_connection(stream: &UnixStream, handler: impl Fn(&Request) -> Option<Reply>) {
    let mut reader = BufReader::new(stream);
    let mut first = true;
    loop {
        // no IdleTimeout: only the first request's header is under the clock from the start
        if stream.set_read_timeout(first.then_some(HEADER_TIMEOUT)).is_err() {
            return;
        }
        first = false;
        match reader.fill_buf() {
            Ok(bytes) if !bytes.is_empty() => {}
            _ => return,
        }
        if stream.set_read_timeout(Some(HEADER_TIMEOUT)).is_err() {
            return;
        }
        let request = match read_request(&mut reader, stream) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(complaint) => {
                let text = format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                     400 Bad Request{complaint}"
                );
                let _ = (&*stream).write_all(text.as_bytes());
                return;
            }
        };
        let close = request.version == "HTTP/1.0" || request.header("Connection").eq_ignore_ascii_case("close");
        let Some(reply) = handler(&request) else { return };
        // a client that has gone does not matter: what was done stays done
        if write_reply(stream, &reply, close).is_err() || close || matches!(reply.delivery, Delivery::Truncated) {
            return;
        }
    }
}

/// `None`: the connection ended or was too slow. `Err`: what Go appends to "400 Bad Request".
fn read_request(reader: &mut BufReader<&UnixStream>, stream: &UnixStream) -> Result<Option<Request>, String> {
    let mut head = reader.by_ref().take(MAX_HEAD);
    let mut line = String::new();
    let mut lines = Vec::new();
    loop {
        line.clear();
        match head.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(String::new()),
            Err(_) => return Ok(None),
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            break;
        }
        lines.push(text.to_owned());
    }
    let mut lines = lines.into_iter();
    let start = lines.next().unwrap_or_default();
    let mut words = start.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(String::new());
    };
    if !version.starts_with("HTTP/1.") {
        return Err(String::new());
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(String::new)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        headers,
        body: Vec::new(),
        has_length: false,
    };
    if version == "HTTP/1.1"
        && !request
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("Host"))
    {
        return Err(": missing required Host header".to_owned());
    }
    // no ReadTimeout: a slow body may take for ever
    if stream.set_read_timeout(None).is_err() {
        return Ok(None);
    }
    if request.header("Expect").eq_ignore_ascii_case("100-continue")
        && (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err()
    {
        return Ok(None);
    }
    if request.header("Transfer-Encoding").eq_ignore_ascii_case("chunked") {
        let Some(body) = read_chunks(reader) else {
            return Ok(None);
        };
        request.body = body;
    } else if !request.header("Content-Length").is_empty() {
        let length: usize = request.header("Content-Length").parse().map_err(|_| String::new())?;
        request.has_length = length > 0;
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return Ok(None);
        }
        request.body = body;
    }
    Ok(Some(request))
}

fn read_chunks(reader: &mut BufReader<&UnixStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        if size == 0 {
            return Some(body);
        }
        body.append(&mut chunk);
    }
}

fn write_reply(mut stream: &UnixStream, reply: &Reply, close: bool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
    for (name, value) in &reply.headers {
        head.push_str(&format_header(name, value));
    }
    head.push_str(&format_header("Date", &date(SystemTime::now())));
    if close {
        head.push_str("Connection: close\r\n");
    }
    match reply.delivery {
        Delivery::Truncated => {
            head.push_str(&format_header("Content-Length", &reply.body.len().to_string()));
            stream.write_all(format!("{head}\r\n").as_bytes())?;
            stream.write_all(reply.body.get(..reply.body.len() / 2).unwrap_or_default())
        }
        Delivery::Whole if reply.status == 204 => stream.write_all(format!("{head}\r\n").as_bytes()),
        Delivery::Whole if reply.body.len() <= BUFFERED => {
            head.push_str(&format_header("Content-Length", &reply.body.len().to_string()));
            stream.write_all(format!("{head}\r\n").as_bytes())?;
            stream.write_all(&reply.body)
        }
        Delivery::Whole | Delivery::Padded(_) => {
            head.push_str("Transfer-Encoding: chunked\r\n");
            stream.write_all(format!("{head}\r\n").as_bytes())?;
            if let Delivery::Padded(padding) = reply.delivery {
                let spaces = vec![b' '; 1 << 16];
                for _ in 0..padding / spaces.len() {
                    write_chunk(stream, &spaces)?;
                }
            }
            write_chunk(stream, &reply.body)?;
            stream.write_all(b"0\r\n\r\n")
        }
    }
}

fn write_chunk(mut stream: &UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
    stream.write_all(bytes)?;
    stream.write_all(b"\r\n")
}

fn format_header(name: &str, value: &str) -> String {
    format!("{name}: {value}\r\n")
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        415 => "Unsupported Media Type",
        _ => "Internal Server Error",
    }
}

/// IMF-fixdate; the days-to-date arithmetic is the usual one of the proleptic Gregorian calendar with years from March.
fn date(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        weekdays.get(usize::try_from(days % 7).unwrap_or(0)).unwrap_or(&"Thu"),
        names.get(usize::try_from(month - 1).unwrap_or(0)).unwrap_or(&"Jan"),
        time / 3600,
        time % 3600 / 60,
        time % 60
    )
}
