//! pingora's compression as a module of one response, ended as it should be: its own module leaves
//! out the last block of brotli, the end where trailers come, and says so in no way.

use std::any::Any;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    modules::http::{HttpModule, HttpModuleBuilder, Module},
    protocols::http::compression::{Algorithm, ResponseCompressionCtx},
};

/// What ends a brotli stream that is at a byte's boundary: an empty last block (RFC 7932 section
/// 9.2).
const BROTLI_END: u8 = 0b11;

/// Makes encoders that do nothing yet.
pub(super) struct EncoderBuilder;

impl HttpModuleBuilder for EncoderBuilder {
    fn init(&self) -> Module {
        Box::new(Encoder {
            context: ResponseCompressionCtx::new(0, false, false),
            progress: Progress::Off,
        })
    }
}

/// Compresses one response.
pub(super) struct Encoder {
    context: ResponseCompressionCtx,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Off,
    Running(Algorithm),
    Ended,
}

impl Encoder {
    /// Compresses with `coding`, from 1 the fastest on.
    pub(super) fn start(&mut self, coding: Algorithm, level: u32) -> pingora::Result<()> {
        let mut asked = RequestHeader::build(Method::GET, b"/", Some(1))?;
        asked.insert_header(header::ACCEPT_ENCODING, coding.as_str())?;
        self.context.adjust_algorithm_level(coding, level);
        self.context.request_filter(&asked);
        self.progress = Progress::Running(coding);
        Ok(())
    }

    fn encode(&mut self, data: Option<&Bytes>, is_end: bool) -> Option<Bytes> {
        let Progress::Running(coding) = self.progress else { return None };
        let encoded = self.context.response_body_filter(data, is_end)?;
        if !is_end {
            return Some(encoded);
        }
        self.progress = Progress::Ended;
        if coding != Algorithm::Brotli {
            return Some(encoded);
        }
        let mut whole = BytesMut::with_capacity(encoded.len() + 1);
        whole.extend_from_slice(&encoded);
        whole.put_u8(BROTLI_END);
        Some(whole.freeze())
    }
}

#[async_trait]
impl HttpModule for Encoder {
    async fn response_header_filter(
        &mut self,
        response: &mut ResponseHeader,
        end_of_stream: bool,
    ) -> pingora::Result<()> {
        if self.progress == Progress::Off || response.status.is_informational() {
            return Ok(());
        }
        self.context.response_header_filter(response, end_of_stream);
        if !self.context.is_enabled() {
            self.progress = Progress::Off;
        }
        Ok(())
    }

    fn response_body_filter(
        &mut self,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
    ) -> pingora::Result<()> {
        if let Some(encoded) = self.encode(body.as_ref(), end_of_stream) {
            *body = Some(encoded);
        }
        Ok(())
    }

    /// Trailers give way to the last bytes.
    fn response_trailer_filter(
        &mut self,
        _trailers: &mut Option<Box<HeaderMap>>,
    ) -> pingora::Result<Option<Bytes>> {
        Ok(self.encode(None, true))
    }

    fn response_done_filter(&mut self) -> pingora::Result<Option<Bytes>> {
        Ok(self.encode(None, true))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
