//! The clock that runs while the machine is suspended: the one a lease in etcd runs by, seen from here.
//!
//! `CLOCK_BOOTTIME`, not tokio's clock: that one stands still in suspend, and a machine that wakes up after its lease
//! has run out must know (timerfd_create(2), clock_gettime(2)).

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::clock_gettime;
use tokio::io::unix::AsyncFd;

/// Time since the machine booted, suspend included.
pub type BootTime = Duration;

/// A handle that fleetd's rooms share.
pub type SharedClock = Arc<dyn Clock>;

/// The boot-time clock; virtual in tests.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now.
    fn now(&self) -> BootTime;

    /// Returns at `at`, or at once if that is past.
    async fn sleep_until(&self, at: BootTime);
}

/// The kernel's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

#[async_trait]
impl Clock for Kernel {
    fn now(&self) -> BootTime {
        // It cannot fail on a kernel that has the clock, which is any since 2.6.39; the far future ends what must end.
        clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
    }

    async fn sleep_until(&self, at: BootTime) {
        if at <= self.now() {
            return;
        }
        if let Err(error) = expire(at).await {
            tracing::warn!(%error, "could not use a boot-time timer");
            tokio::time::sleep(at.saturating_sub(self.now())).await;
        }
    }
}

async fn expire(at: BootTime) -> std::io::Result<()> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
    let once = Expiration::OneShot(TimeSpec::from_duration(at));
    timer.set(once, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    let timer = OwnedFd::from(timer);
    // SAFETY: the registration owns the timer, which nobody else closes or replaces.
    #[expect(unsafe_code, reason = "tokio has no safe registration of a file descriptor")]
    let timer = unsafe { AsyncFd::register(timer) }?;
    timer.readable().await?.retain_ready();
    Ok(())
}

/// tokio's clock as a boot-time clock, for tests in virtual time: `rate` is how fast this machine's clock runs against
/// true time, in parts per thousand (1010 is one percent fast).
#[derive(Debug, Clone)]
pub struct Virtual {
    started: tokio::time::Instant,
    rate: u32,
}

impl Virtual {
    /// A clock that starts now at one day after boot.
    pub fn new(rate: u32) -> Self {
        Self {
            started: tokio::time::Instant::now(),
            rate,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> BootTime {
        DAY + self.started.elapsed() * self.rate / 1000
    }

    async fn sleep_until(&self, at: BootTime) {
        let true_span = at.saturating_sub(DAY) * 1000 / self.rate.max(1);
        // A millisecond more than the rounding can take away.
        tokio::time::sleep_until(self.started + true_span + Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernels_timer_goes_off_when_its_clock_is_there() {
        let at = Kernel.now() + Duration::from_millis(30);
        Kernel.sleep_until(at).await;
        assert!(Kernel.now() >= at);
        Kernel.sleep_until(at).await;
    }
}
