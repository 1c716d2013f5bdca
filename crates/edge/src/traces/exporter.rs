//! The task that sends spans, in batches and off the request path.

use std::{error::Error, future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use pingora_core::{server::ShutdownWatch, services::background::BackgroundService};
use prost::Message;
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, sleep, timeout},
};

use super::{
    collector::{Collector, ExportError},
    metrics::{Dropped, TraceMetrics},
    span::text,
};
use crate::{
    backoff::{Backoff, random},
    config::Tracing,
};

/// Spans after which a batch is sent at once.
const BATCH: usize = 512;
/// For all that is left at the end of the process: less than tasks have to end.
const FLUSH: Duration = Duration::from_millis(1500);
/// The longest pause that a collector may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How often trouble that lasts is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Sends what requests have left, for as long as it runs.
pub(crate) struct Exporter {
    collector: Collector,
    resource: Resource,
    interval: Duration,
    metrics: Arc<TraceMetrics>,
    /// Held by the one task that sends.
    outbox: Mutex<Outbox>,
}

/// What is on its way. A task that dies leaves it to the next.
struct Outbox {
    queue: mpsc::Receiver<Vec<Span>>,
    gathered: Vec<Span>,
    batch: Option<Batch>,
    trouble: Option<Trouble>,
}

/// Spans, encoded once however often they are sent.
#[derive(Clone)]
struct Batch {
    body: Bytes,
    spans: u64,
}

/// What keeps spans from being sent.
struct Trouble {
    since: Instant,
    logged: Instant,
}

impl Exporter {
    pub(super) fn new(
        config: &Tracing,
        collector: Collector,
        queue: mpsc::Receiver<Vec<Span>>,
        metrics: Arc<TraceMetrics>,
    ) -> Self {
        let outbox = Outbox { queue, gathered: Vec::new(), batch: None, trouble: None };
        Self {
            collector,
            resource: resource(&config.service_name),
            interval: config.interval,
            metrics,
            outbox: Mutex::new(outbox),
        }
    }

    /// Sends until it is told to stop, and then what is left. What is on its way at that moment is
    /// not given up, or it would be sent twice.
    async fn send_until(&self, stop: &mut ShutdownWatch, outbox: &mut Outbox) {
        let mut backoff = Backoff::default();
        while let Some(batch) = self.next_batch(stop, outbox).await {
            let sent = self.collector.send(batch.body).await;
            let pause = match &sent {
                Err(error) if error.is_passing() => {
                    let asked = error.retry_after().unwrap_or_default().min(MAX_PAUSE);
                    Some(asked + backoff.next(random()))
                }
                _ => None,
            };
            self.note(outbox, batch.spans, sent);
            match pause {
                None => {
                    outbox.batch = None;
                    backoff.reset();
                }
                Some(_) if *stop.borrow() => return,
                Some(pause) => {
                    // It ends early where it is time to stop.
                    let _ = timeout(pause, stopped(stop)).await;
                }
            }
        }
    }

    /// What is to be sent next. `None` once it is told to stop and nothing is left.
    async fn next_batch(&self, stop: &mut ShutdownWatch, outbox: &mut Outbox) -> Option<Batch> {
        if outbox.batch.is_some() {
            return outbox.batch.clone();
        }
        tokio::select! {
            biased;
            () = stopped(stop) => outbox.gather_rest(),
            () = outbox.gather(self.interval) => {}
        }
        (!outbox.gathered.is_empty()).then(|| self.encode(outbox))
    }

    fn encode(&self, outbox: &mut Outbox) -> Batch {
        let gathered = std::mem::take(&mut outbox.gathered);
        let spans = gathered.len() as u64;
        let scope = InstrumentationScope {
            name: "landfall".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let of_scope = ScopeSpans { scope: Some(scope), spans: gathered, ..ScopeSpans::default() };
        let of_resource = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![of_scope],
            ..ResourceSpans::default()
        };
        let request = ExportTraceServiceRequest { resource_spans: vec![of_resource] };
        let batch = Batch { body: request.encode_to_vec().into(), spans };
        outbox.batch = Some(batch.clone());
        batch
    }

    /// Counts and logs how sending went.
    fn note(&self, outbox: &mut Outbox, spans: u64, sent: Result<u64, ExportError>) {
        match sent {
            Ok(refused) => {
                let refused = refused.min(spans);
                self.metrics.exported(spans - refused);
                self.metrics.dropped(refused, Dropped::Refused);
                if let Some(trouble) = outbox.trouble.take() {
                    let seconds = trouble.since.elapsed().as_secs();
                    tracing::info!(seconds, "traces are sent again");
                }
            }
            Err(error) => {
                self.metrics.export_failed(error.reason());
                if !error.is_passing() {
                    self.metrics.dropped(spans, Dropped::Refused);
                }
                outbox.warn(&error);
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Exporter {
    /// Told of the end once requests have ended, so that their spans are sent too.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut outbox = self.outbox.lock().await;
        let mut stop = shutdown.clone();
        let out_of_time = async {
            stopped(&mut shutdown).await;
            sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.send_until(&mut stop, &mut outbox) => {}
            () = out_of_time => {}
        }
        self.metrics.dropped(outbox.left(), Dropped::Shutdown);
    }
}

/// Ready when it is time to end. A sender that is gone says so too.
async fn stopped(stop: &mut ShutdownWatch) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Outbox {
    /// Waits for spans, and a little for more of them. May be dropped at any time.
    async fn gather(&mut self, interval: Duration) {
        if self.gathered.is_empty() {
            self.gather_next().await;
        }
        let fill = async {
            while self.gathered.len() < BATCH {
                self.gather_next().await;
            }
        };
        // Time is up: what there is makes a batch.
        let _ = timeout(interval, fill).await;
    }

    async fn gather_next(&mut self) {
        match self.queue.recv().await {
            Some(spans) => self.gathered.extend(spans),
            // All who could trace are gone: what comes next is the end.
            None => pending().await,
        }
    }

    /// Takes what there is.
    fn gather_rest(&mut self) {
        while self.gathered.len() < BATCH
            && let Ok(spans) = self.queue.try_recv()
        {
            self.gathered.extend(spans);
        }
    }

    /// How many spans are left, none of which is sent any more.
    fn left(&mut self) -> u64 {
        let mut left = self.batch.take().map_or(0, |batch| batch.spans);
        left += std::mem::take(&mut self.gathered).len() as u64;
        while let Ok(spans) = self.queue.try_recv() {
            left += spans.len() as u64;
        }
        left
    }

    /// Logs trouble when it begins, and once a minute while it lasts.
    fn warn(&mut self, error: &ExportError) {
        let now = Instant::now();
        let known = self.trouble.get_or_insert_with(|| Trouble {
            since: now,
            logged: now.checked_sub(LOG_EVERY).unwrap_or(now),
        });
        if known.since == now || now.duration_since(known.logged) >= LOG_EVERY {
            known.logged = now;
            let cause = error.source().map(tracing::field::display);
            tracing::warn!(%error, cause, "traces are not sent; requests go on");
        }
    }
}

/// Who sends: by its name, its machine's, and one of its own for each start.
fn resource(service_name: &str) -> Resource {
    let mut instance = [0; 16];
    // Without randomness the process could do no TLS either.
    let _ = aws_lc_rs::rand::fill(&mut instance);
    let mut attributes = vec![
        text("service.name", service_name),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &HEXLOWER.encode(&instance)),
    ];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    attributes.extend(host.map(|host| text("host.name", host.trim())));
    Resource { attributes, ..Resource::default() }
}
