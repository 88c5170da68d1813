//! The routes, and go-restful's plain-text refusals of what is not one (go-restful v3.13.0 jsr311.go, curly.go).

use crate::http::{Delivery, Reply, Request};

const TEXT: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");
const JSON: &str = "application/json";

pub(crate) enum Route {
    Add,
    Del,
}

pub(crate) fn route(request: &Request) -> Result<Route, Reply> {
    let path = request.target.split('?').next().unwrap_or_default();
    let path = path
        .strip_prefix("http://")
        .map_or(path, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
    if path != "/api/v1" && !path.starts_with("/api/v1/") {
        // not a path of the web service: Go's own ServeMux answers
        let mut reply = refusal(404, "404 page not found\n");
        reply.headers.push(("X-Content-Type-Options", "nosniff"));
        return Err(reply);
    }
    let route = match path.trim_end_matches('/') {
        "/api/v1/add" => Route::Add,
        "/api/v1/del" => Route::Del,
        _ => return Err(refusal(404, "404: Page Not Found")),
    };
    if request.method != "POST" {
        let mut reply = refusal(405, "405: Method Not Allowed");
        reply.headers.insert(0, ("Allow", "POST"));
        return Err(reply);
    }
    let is_json = lists(request.header("Content-Type"), &[JSON]);
    if !is_json && request.has_length {
        return Err(refusal(415, "415: Unsupported Media Type"));
    }
    let accept = request.header("Accept");
    if !is_json || !(accept.is_empty() || lists(accept, &[JSON, "*/*"])) {
        let available = if is_json { JSON } else { "" };
        return Err(match request.header("Content-Length") {
            "" | "0" => refusal(
                415,
                &format!("415: Unsupported Media Type\n\nAvailable representations: {available}"),
            ),
            _ => refusal(
                406,
                &format!("406: Not Acceptable\n\nAvailable representations: {available}"),
            ),
        });
    }
    Ok(route)
}

/// A comma list of media types, parameters ignored.
fn lists(header: &str, wanted: &[&str]) -> bool {
    header
        .split(',')
        .any(|item| wanted.contains(&item.split(';').next().unwrap_or_default().trim()))
}

fn refusal(status: u16, text: &str) -> Reply {
    Reply {
        status,
        headers: vec![TEXT],
        body: text.as_bytes().to_vec(),
        delivery: Delivery::Whole,
    }
}
