//! Signals that our own calls cause, told from those of others.

/// Counts: each change is one signal, which may come before or after the answer to the call that made it.
#[derive(Debug, Default)]
pub(super) struct Echo {
    in_flight: usize,
    /// Signals that came, less those that our calls account for.
    unexplained: isize,
}

impl Echo {
    pub(super) fn call(&mut self) {
        self.in_flight += 1;
    }

    /// A signal came. Answers whether it is news.
    pub(super) fn signal(&mut self) -> bool {
        self.unexplained += 1;
        self.is_news()
    }

    /// A call came back, having caused a signal or not. Answers whether an earlier signal was news after all.
    pub(super) fn answer(&mut self, caused: bool) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.unexplained -= isize::from(caused);
        self.is_news()
    }

    fn is_news(&mut self) -> bool {
        let news = self.in_flight == 0 && self.unexplained > 0;
        if news {
            self.unexplained = 0;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoes_of_our_own_calls_are_no_news_in_any_order() {
        let mut echo = Echo::default();
        echo.call();
        assert!(!echo.signal());
        assert!(!echo.answer(true));
        echo.call();
        assert!(!echo.answer(true));
        assert!(!echo.signal());
        assert!(echo.signal());
    }

    #[test]
    fn a_signal_of_others_during_our_call_is_news_after_it() {
        let mut echo = Echo::default();
        echo.call();
        assert!(!echo.signal());
        assert!(echo.answer(false));
        echo.call();
        assert!(!echo.signal());
        assert!(!echo.signal());
        assert!(echo.answer(true));
    }
}
