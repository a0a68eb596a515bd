//! Waiting for an idle machine before measuring, and saying how idle it was.

use std::time::{Duration, Instant};

/// Below this load average a machine counts as idle.
const IDLE: f64 = 0.3;
/// How long to wait for that.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits up to two minutes for a load average (one minute) below 0.3; gives the load at the end, to be printed beside the
/// figures. NaN where `/proc/loadavg` cannot be read.
pub fn wait() -> f64 {
    let begin = Instant::now();
    loop {
        let load = load();
        // An unknown load does not wait.
        if load < IDLE || load.is_nan() || begin.elapsed() > PATIENCE {
            return load;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_load_is_read() {
        assert!(super::load() >= 0.0);
    }
}
