use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::Router;
use tokio::sync::watch;

use crate::origin::Origin;

/// An origin that answers nothing until it is told to.
pub struct GatedOrigin {
    origin: Origin,
    asked: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

impl GatedOrigin {
    /// Starts one that will answer `shop`.
    pub async fn start() -> Self {
        let (asked, open) = (Arc::<AtomicUsize>::default(), watch::Sender::new(false));
        let (count, gate) = (Arc::clone(&asked), open.clone());
        let handler = async move || {
            count.fetch_add(1, Ordering::Relaxed);
            // The sender lives as long as the origin.
            let _ = gate.subscribe().wait_for(|is_open| *is_open).await;
            "shop"
        };
        let origin = Origin::with_router(Router::new().fallback(handler)).await;
        Self { origin, asked, open }
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Answers what has come and what will.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Answers nothing any more.
    pub fn close(&self) {
        self.open.send_replace(false);
    }
}
