//! When work is due: once, daily, weekly, monthly by day or by weekday, at a time of day in a zone. [`form`] is what an
//! operator writes (Google's field names), [`calendar`] computes moments from it.
//!
//! Absent on purpose: the clock and the time-zone database; both are arguments, so that a server takes the rules its
//! machine is given and a test takes its own.
//!
//! Daylight saving: a local time that does not exist on a day (the clock is put forward over it) is due at the first
//! moment after the gap, because a nightly run that is left out once a year is the one nobody notices; a local time that
//! exists twice (the clock is put back) is due once, the first time. A day that a zone leaves out as a whole (Samoa had
//! no 30 December 2011) has no run, as a 31st that a month does not have.

pub mod calendar;
pub mod form;

pub use calendar::{Calendar, OCCURRENCES_MAX, Occurrences};
pub use form::{
    DayOfWeek, Frequency, MonthlySchedule, OneTimeSchedule, RecurringSchedule, TimeOfDay, WeekDayOfMonth, WeeklySchedule, Zone,
};
