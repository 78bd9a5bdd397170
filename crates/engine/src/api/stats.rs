use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use longshore_core::{ClockExt, Engine, ErrorKind, Result, Stats, Workload, WorkloadId};
use serde_json::{Value, json};

use super::{
    lookup,
    reply::{Reply, ok, streamed},
    router::Call,
    server::Shared,
    words::{self, NEVER},
};

/// `GET /containers/{name}/stats`: a sample each second, or one. A single one comes with an earlier
/// one to compare with, unless the client wants none.
pub(super) async fn stats(call: &Call, name: &str) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    let stream = call.query.get("stream").is_none() || call.query.flag("stream");
    let first = sample(&*engine, &workload.id).await?;
    if !stream {
        if call.query.flag("one-shot") {
            return Ok(ok(&record(&workload, first, None)));
        }
        call.shared.clock.sleep(PERIOD).await;
        let second = sample(&*engine, &workload.id).await?;
        return Ok(ok(&record(&workload, second, first)));
    }
    let samples = Samples {
        shared: Arc::clone(&call.shared),
        workload,
        last: None,
        next: Some(first),
    };
    let records = stream::try_unfold(samples, |mut samples| async move {
        let record = samples.next().await?;
        Ok(record.map(|record| (Bytes::from(format!("{record}\n")), samples)))
    });
    Ok(streamed("application/json", records))
}

struct Samples {
    shared: Arc<Shared>,
    workload: Workload,
    last: Option<Stats>,
    next: Option<Option<Stats>>,
}

impl Samples {
    async fn next(&mut self) -> Result<Option<Value>> {
        let now = match self.next.take() {
            Some(first) => first,
            None => {
                self.shared.clock.sleep(PERIOD).await;
                match sample(&*self.shared.engine()?, &self.workload.id).await {
                    Ok(now) => now,
                    // Removed: that is the end.
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        };
        let record = record(&self.workload, now, self.last);
        self.last = now;
        Ok(Some(record))
    }
}

/// A sample, or none of what does not run.
async fn sample(engine: &dyn Engine, id: &WorkloadId) -> Result<Option<Stats>> {
    match engine.stats(id).await {
        Ok(stats) => Ok(Some(stats)),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}

fn record(workload: &Workload, now: Option<Stats>, before: Option<Stats>) -> Value {
    let read = |stats: Option<Stats>| match stats {
        Some(stats) => words::time(Some(stats.at)),
        None => NEVER.to_owned(),
    };
    let mut record = json!({
        "read": read(now),
        "preread": read(before),
        "pids_stats": {},
        "blkio_stats": {
            "io_service_bytes_recursive": null,
            "io_serviced_recursive": null,
            "io_queue_recursive": null,
            "io_service_time_recursive": null,
            "io_wait_time_recursive": null,
            "io_merged_recursive": null,
            "io_time_recursive": null,
            "sectors_recursive": null,
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(now),
        "precpu_stats": cpu(before),
        "memory_stats": {},
        "name": format!("/{}", workload.name()),
        "id": workload.id,
    });
    if let Some(now) = now {
        record["pids_stats"] = json!({ "current": now.pids });
        record["memory_stats"] = json!({
            "usage": now.memory,
            "limit": now.memory_limit,
            "stats": {},
        });
        record["networks"] = json!({
            "eth0": {
                "rx_bytes": now.network_received, "rx_packets": 0, "rx_errors": 0, "rx_dropped": 0,
                "tx_bytes": now.network_sent, "tx_packets": 0, "tx_errors": 0, "tx_dropped": 0,
            }
        });
    }
    record
}

fn cpu(stats: Option<Stats>) -> Value {
    let stats = stats.unwrap_or_default();
    let mut cpu = json!({
        "cpu_usage": {
            "total_usage": stats.cpu_nanos,
            "usage_in_kernelmode": 0,
            "usage_in_usermode": stats.cpu_nanos,
        },
        "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
    });
    if stats.system_cpu_nanos > 0 {
        cpu["system_cpu_usage"] = json!(stats.system_cpu_nanos);
        cpu["online_cpus"] = json!(stats.online_cpus);
    }
    cpu
}

const PERIOD: Duration = Duration::from_secs(1);
