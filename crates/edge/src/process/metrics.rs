//! `process_*`, the metrics that Prometheus' clients have in common.

use std::time::SystemTime;

use prometheus::{
    Counter, IntGauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{memory, most_descriptors, open_descriptors, processor_seconds};

/// Reads the process's figures at each scrape.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    cpu: Counter,
    open: IntGauge,
    most: IntGauge,
    resident: IntGauge,
    addressed: IntGauge,
    started: IntGauge,
}

impl ProcessCollector {
    /// `started` is when the process was.
    pub(crate) fn new(started: SystemTime) -> prometheus::Result<Self> {
        let gauge = IntGauge::new::<&str, &str>;
        let collector = Self {
            cpu: Counter::new("process_cpu_seconds_total", "Processor time, user and system.")?,
            open: gauge("process_open_fds", "Open file descriptors.")?,
            most: gauge("process_max_fds", "The most file descriptors that may be open.")?,
            resident: gauge("process_resident_memory_bytes", "Bytes in memory.")?,
            addressed: gauge("process_virtual_memory_bytes", "Bytes of address space.")?,
            started: gauge("process_start_time_seconds", "Start of the process, in Unix time.")?,
        };
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        collector.started.set(signed(since.as_secs()));
        Ok(collector)
    }

    fn all(&self) -> [&dyn Collector; 6] {
        let Self { cpu, open, most, resident, addressed, started } = self;
        [cpu, open, most, resident, addressed, started]
    }

    fn read(&self) {
        // Two scrapes at once may have read the time in the other order.
        self.cpu.inc_by((processor_seconds() - self.cpu.get()).max(0.0));
        // What can't be read keeps its last value.
        if let Ok(memory) = memory() {
            self.resident.set(signed(memory.resident));
            self.addressed.set(signed(memory.addressed));
        }
        if let Ok(open) = open_descriptors() {
            self.open.set(signed(open));
        }
        self.most.set(most_descriptors().map_or(i64::MAX, signed));
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let Self { cpu, open, most, resident, addressed, started } = self;
        let gauges = [open, most, resident, addressed, started];
        gauges.into_iter().flat_map(IntGauge::desc).chain(cpu.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
