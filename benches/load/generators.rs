//! wrk and h2load: how they are run, and what they say.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde::Deserialize;

use super::{LoadError, identity, process};

/// What a generator may take longer than its load lasts.
const SLACK: Duration = Duration::from_secs(20);

/// What a load was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Done {
    pub(super) requests: u64,
    pub(super) seconds: f64,
}

impl Done {
    /// Requests in a second.
    pub(super) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let requests = self.requests as f64;
        if self.seconds > 0.0 { requests / self.seconds } else { 0.0 }
    }

    /// `used`, in seconds, for each request.
    pub(super) fn each(&self, used: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let requests = self.requests.max(1) as f64;
        used.as_secs_f64() / requests
    }
}

/// Requests over HTTP/1 by wrk, each as soon as the one before it is answered.
pub(super) async fn wrk(
    script: &Path,
    address: SocketAddr,
    path: &str,
    connections: usize,
    seconds: u64,
) -> Result<Done, LoadError> {
    let url = format!("https://{}:{}{path}", identity::NAME, address.port());
    let (connections, duration) = (format!("-c{connections}"), format!("-d{seconds}s"));
    let script = script.display().to_string();
    let args = ["-t2", &connections, &duration, "--timeout", "5s", "-s", &script, &url];
    read_wrk(&process::run("wrk", &args, Duration::from_secs(seconds) + SLACK).await?)
}

/// The line that `wrk.lua` has it write last.
#[derive(Deserialize)]
struct Summary {
    requests: u64,
    microseconds: u64,
    failed: u64,
}

fn read_wrk(output: &str) -> Result<Done, LoadError> {
    let line = output.lines().rfind(|line| line.starts_with('{'));
    let unreadable =
        || LoadError::Unreadable { program: "wrk", expected: "summary", text: output.to_owned() };
    let summary = line.and_then(|line| serde_json::from_str::<Summary>(line).ok());
    let Summary { requests, microseconds, failed } = summary.ok_or_else(unreadable)?;
    if failed > 0 || requests == 0 {
        return Err(LoadError::Failures { failed, requests });
    }
    Ok(Done { requests, seconds: Duration::from_micros(microseconds).as_secs_f64() })
}

/// Requests over HTTP/2 by h2load: 16 connections of 32 streams.
pub(super) async fn h2load(address: SocketAddr, seconds: u64) -> Result<Done, LoadError> {
    let duration = format!("-D{seconds}");
    let output = h2load_with(address, &["-t2", "-c16", "-m32", &duration], seconds).await?;
    read_h2load(&output)
}

/// Runs h2load with these words.
async fn h2load_with(
    address: SocketAddr,
    words: &[&str],
    seconds: u64,
) -> Result<String, LoadError> {
    let url = format!("https://{}:{}/small", identity::NAME, address.port());
    let to = format!("--connect-to=127.0.0.1:{}", address.port());
    let args = [words, &[&to, &url]].concat();
    process::run("h2load", &args, Duration::from_secs(seconds) + SLACK).await
}

fn read_h2load(output: &str) -> Result<Done, LoadError> {
    let unreadable =
        |expected| LoadError::Unreadable { program: "h2load", expected, text: output.to_owned() };
    let after = |label: &str| output.lines().find_map(|line| line.trim().strip_prefix(label));
    if after("Application protocol: ") != Some("h2") {
        return Err(unreadable("HTTP/2"));
    }
    let seconds = after("finished in ").and_then(|rest| duration(rest.split_once(',')?.0));
    let seconds = seconds.ok_or_else(|| unreadable("duration"))?;
    let counts = after("requests: ").ok_or_else(|| unreadable("requests"))?;
    let count = |what: &str| {
        let part = counts.split(", ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse::<u64>().ok()
    };
    let statuses = after("status codes: ").ok_or_else(|| unreadable("status codes"))?;
    let good = statuses.split(", ").find_map(|part| part.strip_suffix(" 2xx")?.parse().ok());
    let (Some(requests), Some(good)) = (count("done"), good) else {
        return Err(unreadable("counts"));
    };
    let lost = [count("failed"), count("errored"), count("timeout")];
    let lost: u64 = lost.into_iter().map(Option::unwrap_or_default).sum();
    let failed = lost.max(requests.saturating_sub(good));
    if failed > 0 || requests == 0 {
        return Err(LoadError::Failures { failed, requests });
    }
    Ok(Done { requests, seconds })
}

/// Reads seconds as in `4.00s` or `812.50ms`.
fn duration(text: &str) -> Option<f64> {
    match text.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse::<f64>().ok().map(|number| number / 1_000.0),
        None => text.strip_suffix('s')?.parse().ok(),
    }
}

/// Checks that a server chooses the cipher suite and the key exchange of all, of all that OpenSSL
/// offers.
pub(super) async fn check_negotiated(
    who: &'static str,
    address: SocketAddr,
) -> Result<(), LoadError> {
    let output = h2load_with(address, &["-n1"], 0).await?;
    for expected in [
        "TLS Protocol: TLSv1.3",
        "Cipher: TLS_AES_128_GCM_SHA256",
        "Server Temp Key: X25519 253 bits",
        "Application protocol: h2",
    ] {
        if !output.lines().any(|line| line.trim() == expected) {
            return Err(LoadError::Negotiated { who, was: output, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const H2LOAD: &str = "\
starting benchmark...
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2
finished in 2.50s, 400.00 req/s, 1.01MB/s
requests: 1000 total, 1032 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.03MB (1083333) total, 15.40KB (15770) headers (space savings 91.00%), 1.00MB data
";

    #[test]
    fn requests_and_their_time_are_read_of_h2load() {
        let done = read_h2load(H2LOAD).unwrap();
        assert_eq!(done, Done { requests: 1_000, seconds: 2.5 });
        assert!((done.rate() - 400.0).abs() < 1e-9);
        assert!((done.each(Duration::from_secs(1)) - 0.001).abs() < 1e-9);
        let short = H2LOAD.replace("2.50s", "250.00ms");
        assert_eq!(read_h2load(&short).unwrap().seconds, 0.25);
    }

    #[test]
    fn anything_but_success_makes_a_run_of_h2load_invalid() {
        for (old, new, expected) in [
            ("0 failed", "3 failed", "3 of 1000"),
            ("0 timeout", "1 timeout", "1 of 1000"),
            ("1000 2xx, 0 3xx, 0 4xx, 0 5xx", "990 2xx, 0 3xx, 0 4xx, 10 5xx", "10 of 1000"),
            ("1000 done", "0 done", "0 of 0"),
            ("protocol: h2", "protocol: http/1.1", "HTTP/2"),
            ("finished in", "ended in", "duration"),
            ("requests:", "answers:", "requests"),
        ] {
            let error = read_h2load(&H2LOAD.replace(old, new)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn requests_and_their_time_are_read_of_wrk() {
        let output = "Running 4s test @ https://a:1/small\n  2 threads and 64 connections\n\
            {\"requests\":500,\"bytes\":600000,\"microseconds\":4000000,\"failed\":0}\n";
        assert_eq!(read_wrk(output).unwrap(), Done { requests: 500, seconds: 4.0 });
        let failed = output.replace("\"failed\":0", "\"failed\":2");
        let error = read_wrk(&failed).unwrap_err().to_string();
        assert!(error.contains("2 of 500"), "{error}");
        assert!(read_wrk("unable to connect").is_err());
    }
}
