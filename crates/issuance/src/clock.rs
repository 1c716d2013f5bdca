//! Arithmetic with times that others said.

use time::{Date, Duration, Month, OffsetDateTime, Time};

/// `span` after `now`, or the end of time.
pub(crate) fn latest(now: OffsetDateTime, span: Duration) -> OffsetDateTime {
    now.saturating_add(span)
}

/// The time in a CA's words, where they say `retry after 2026-01-02 03:04:05 UTC`, as Let's Encrypt's
/// do.
pub(crate) fn stated_in(text: &str) -> Option<OffsetDateTime> {
    let (_, rest) = text.split_once("retry after ")?;
    let (day, rest) = rest.split_once(' ')?;
    let (clock, rest) = rest.split_once(' ')?;
    rest.starts_with("UTC").then_some(())?;
    let [year, month, day] = numbers(day, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    let byte = |number: i32| u8::try_from(number).ok();
    let time = Time::from_hms(byte(hour)?, byte(minute)?, byte(second)?).ok()?;
    Some(date.with_time(time).assume_utc())
}

fn numbers(text: &str, separator: char) -> Option<[i32; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_time_in_a_cas_words() {
        let said = "too many certificates (50) already issued for \"a.test\" in the last 168h0m0s, \
                    retry after 2026-01-02 03:04:05 UTC: see https://a.test/docs";
        let at = OffsetDateTime::from_unix_timestamp(1_767_323_045).unwrap();
        assert_eq!(stated_in(said), Some(at));
        for bad in [
            "",
            "retry after a while",
            "retry after 2026-13-02 03:04:05 UTC",
            "retry after 2026-01-02 25:04:05 UTC",
            "retry after 2026-01-02 03:04 UTC",
            "retry after 2026-01-02 03:04:05 CET",
            "retry after 999999999-01-02 03:04:05 UTC",
        ] {
            assert_eq!(stated_in(bad), None, "{bad}");
        }
    }
}
