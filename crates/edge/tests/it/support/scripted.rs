//! An HTTP/1.1 origin that does what a test wants.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::PATIENCE;

/// A connection to the origin whose request header has been read.
pub(crate) struct Exchange {
    /// The request's line and fields.
    pub(crate) header: String,
    /// What follows.
    pub(crate) stream: BufReader<TcpStream>,
}

impl Exchange {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The edge may have ended it.
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }
}

/// An origin. Each connection has one request.
pub(crate) struct Scripted {
    address: SocketAddr,
    headers: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(crate) fn start(script: impl Fn(Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let headers = Arc::<Mutex<Vec<String>>>::default();
        let (seen, script) = (Arc::clone(&headers), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || {
                    if let Some(exchange) = read(stream) {
                        seen.lock().unwrap().push(exchange.header.clone());
                        script(exchange);
                    }
                });
            }
        });
        Self { address, headers }
    }

    /// Always answers with these bytes and ends the connection.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut exchange| exchange.send(&answer))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The headers of the requests so far, in lower case.
    pub(crate) fn headers(&self) -> Vec<String> {
        self.headers.lock().unwrap().iter().map(|header| header.to_lowercase()).collect()
    }
}

fn read(stream: TcpStream) -> Option<Exchange> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut exchange = Exchange { header: String::new(), stream: BufReader::new(stream) };
    while !exchange.header.ends_with("\r\n\r\n") {
        if exchange.stream.read_line(&mut exchange.header).ok()? == 0 {
            return None;
        }
    }
    Some(exchange)
}
