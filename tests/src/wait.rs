use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for what should come about at once, on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` gives a value, and returns that value.
///
/// `what` says what is waited for, as in "the edge serves the new certificate".
///
/// # Panics
/// When `deadline` has passed.
pub async fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        sleep(PAUSE).await;
    }
}
