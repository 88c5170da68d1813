//! HTTP over the daemon's socket, without a deadline.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

/// Status and body of the reply.
pub(crate) fn post(socket: &str, path: &str, request: &Value) -> Result<(u16, Vec<u8>), String> {
    let unreachable =
        |error: std::io::Error| format!("Post \"http://dummy{path}\": dial unix {socket}: connect: {error}");
    let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
    let body = request.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: dummy\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut reply = Vec::new();
    stream
        .write_all((head + &body).as_bytes())
        .and_then(|()| stream.read_to_end(&mut reply))
        .map_err(|error| error.to_string())?;
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n").ok_or("EOF")?;
    let (head, body) = reply.split_at(end);
    let body = body.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or("malformed HTTP response")?;
    if head.contains("transfer-encoding: chunked") {
        return Ok((status, unchunk(body)?));
    }
    Ok((status, body.to_vec()))
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let line = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .ok_or("unexpected EOF")?;
        let size = std::str::from_utf8(&rest[..line])
            .ok()
            .and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or("malformed chunk")?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(line + 2..line + 2 + size).ok_or("unexpected EOF")?;
        body.extend_from_slice(chunk);
        rest = rest.get(line + 4 + size..).unwrap_or_default();
    }
}
