//! The form that makes a patch deployment: a schedule around the job's form. What is typed survives a refusal. Absent: start
//! and end of a schedule, budgets and windows; the command says those.

use drydock_domain::patch::deployment::{Overlap, PatchDeploymentSpec};
use drydock_domain::schedule::{
    DayOfWeek, Frequency, MonthlySchedule, OneTimeSchedule, RecurringSchedule, TimeOfDay, WeekDayOfMonth, WeeklySchedule, Zone,
};
use drydock_domain::validate::FieldError;
use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::fields::Fields;
use super::job_form::{FormError, JobForm};

/// What is typed beside the job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentForm {
    /// Unique.
    pub name: String,
    /// Every run plans only.
    pub dry_run: bool,
    /// `daily`, `weekly`, `monthly` or `once`.
    pub when: String,
    /// `2026-12-01T03:00` in the zone.
    pub once: String,
    /// Ticked days of the week.
    pub days: Vec<String>,
    /// `15`, `-1`, `2nd tue`.
    pub month_day: String,
    /// Days after that weekday of the month; empty = on it.
    pub offset: String,
    /// `03:00`.
    pub at: String,
    /// IANA id; empty = UTC.
    pub zone: String,
    /// `skip`, `queue` or `parallel`.
    pub overlap: String,
    /// Refusals.
    pub errors: Vec<FormError>,
}

impl DeploymentForm {
    /// An empty form: nightly.
    pub fn new() -> Self {
        let text = str::to_owned;
        DeploymentForm {
            when: text("daily"),
            at: text("03:00"),
            zone: text("UTC"),
            overlap: text("skip"),
            ..DeploymentForm::default()
        }
    }

    /// Reads what was typed.
    pub fn read(f: &Fields) -> Self {
        DeploymentForm {
            name: f.text("name"),
            dry_run: f.ticked("dryRun"),
            when: f.text("when"),
            once: f.text("once"),
            days: f.all("day"),
            month_day: f.text("monthDay"),
            offset: f.text("offset"),
            at: f.text("at"),
            zone: f.text("zone"),
            overlap: f.text("overlap"),
            errors: Vec::new(),
        }
    }

    /// Check boxes: value, name, ticked.
    pub fn weekdays(&self) -> Vec<(&'static str, bool)> {
        let ticked = |day: DayOfWeek| self.days.iter().any(|d| DayOfWeek::parse(d) == Some(day));
        DayOfWeek::ALL.into_iter().map(|day| (day.name(), ticked(day))).collect()
    }

    /// What is wrong with `field`, for the templates.
    pub fn error(&self, field: &str) -> Option<String> {
        let messages: Vec<&str> = self.errors.iter().filter(|e| e.field == field).map(|e| e.message.as_str()).collect();
        if messages.is_empty() { None } else { Some(messages.join("; ")) }
    }

    fn refused<T>(&mut self, field: &'static str, message: impl Into<String>) -> Option<T> {
        self.errors.push(FormError { field, message: message.into() });
        None
    }

    /// The deployment this form and the job's mean; `None`: both say what cannot be written down.
    pub fn spec(&mut self, job: &mut JobForm) -> Option<PatchDeploymentSpec> {
        let schedule = self.schedule();
        let overlap = match self.overlap.as_str() {
            "queue" => Overlap::Queue,
            "parallel" => Overlap::Parallel,
            _ => Overlap::Skip,
        };
        let made = match job.to_spec(self.dry_run) {
            Ok(made) => made,
            Err(errors) => {
                job.errors = errors;
                return None;
            }
        };
        let (one_time_schedule, recurring_schedule) = schedule?;
        Some(PatchDeploymentSpec {
            name: self.name.clone(),
            description: made.description,
            instance_filter: made.instance_filter,
            dry_run: made.dry_run,
            duration_secs: made.duration_secs,
            patch_config: made.patch_config,
            concurrency: made.concurrency,
            rollout: made.rollout,
            one_time_schedule,
            recurring_schedule,
            overlap,
            catch_up_secs: None,
            compartment: made.compartment,
        })
    }

    fn zone_id(&self) -> &str {
        if self.zone.is_empty() { "UTC" } else { &self.zone }
    }

    fn schedule(&mut self) -> Option<(Option<OneTimeSchedule>, Option<RecurringSchedule>)> {
        let (mut weekly, mut monthly) = (None, None);
        let frequency = match self.when.as_str() {
            "once" => return Some((Some(OneTimeSchedule { execute_time: self.moment()? }), None)),
            "daily" => Frequency::Daily,
            "weekly" => {
                let days: Vec<DayOfWeek> = self.days.iter().filter_map(|d| DayOfWeek::parse(d)).collect();
                if days.is_empty() {
                    return self.refused("days", "tick at least one day");
                }
                weekly = Some(WeeklySchedule { day_of_week: None, days_of_week: days });
                Frequency::Weekly
            }
            "monthly" => {
                monthly = Some(self.month()?);
                Frequency::Monthly
            }
            _ => return self.refused("when", "choose when it runs"),
        };
        let Ok(time) = self.at.parse::<Time>() else { return self.refused("at", "is no time of day; write 03:00") };
        let time_of_day = TimeOfDay {
            hours: i32::from(time.hour()),
            minutes: i32::from(time.minute()),
            seconds: i32::from(time.second()),
            nanos: 0,
        };
        let time_zone = Zone { id: self.zone_id().to_owned() };
        let (start_time, end_time) = (None, None);
        Some((None, Some(RecurringSchedule { time_zone, start_time, end_time, time_of_day, frequency, weekly, monthly })))
    }

    fn moment(&mut self) -> Option<Timestamp> {
        let Ok(at) = self.once.parse::<DateTime>() else { return self.refused("once", "is no time; write 2026-12-01T03:00") };
        let Ok(zone) = TimeZone::get(self.zone_id()) else {
            return self.refused("zone", "is no time zone that this server knows; write such as Europe/Berlin");
        };
        match at.to_zoned(zone) {
            Ok(at) => Some(at.timestamp()),
            Err(_) => self.refused("once", "is out of range"),
        }
    }

    fn month(&mut self) -> Option<MonthlySchedule> {
        if let Ok(day) = self.month_day.parse() {
            return Some(MonthlySchedule { month_day: Some(day), week_day_of_month: None });
        }
        let text = self.month_day.to_lowercase();
        let (which, day) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        let ordinal = match which {
            "1st" | "first" => Some(1),
            "2nd" | "second" => Some(2),
            "3rd" | "third" => Some(3),
            "4th" | "fourth" => Some(4),
            "last" => Some(-1),
            _ => None,
        };
        let (Some(week_ordinal), Some(day_of_week)) = (ordinal, DayOfWeek::parse(day.trim())) else {
            return self.refused("monthDay", "is no day of a month; write 15, -1 for the last day, 2nd tue or last fri");
        };
        let day_offset = match self.offset.as_str() {
            "" => 0,
            text => match text.parse() {
                Ok(days) => days,
                Err(_) => return self.refused("offset", "is no number of days"),
            },
        };
        let nth = WeekDayOfMonth { week_ordinal, day_of_week, day_offset };
        Some(MonthlySchedule { month_day: None, week_day_of_month: Some(nth) })
    }

    /// Notes the domain's refusals at the fields they come from, here or in the job's form.
    pub fn refuse(&mut self, refused: &[FieldError], job: &mut JobForm) {
        for error in refused {
            let field = match error.field.as_str() {
                "name" => "name",
                path if path.starts_with("oneTimeSchedule") => "once",
                path if path.starts_with("recurringSchedule.timeZone") => "zone",
                path if path.starts_with("recurringSchedule.timeOfDay") => "at",
                path if path.starts_with("recurringSchedule.weekly") => "days",
                path if path.contains("dayOffset") => "offset",
                path if path.starts_with("recurringSchedule.monthly") => "monthDay",
                path if path.starts_with("recurringSchedule") => "when",
                _ => {
                    job.refuse(std::slice::from_ref(error));
                    continue;
                }
            };
            self.errors.push(FormError { field, message: error.message.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms() -> (DeploymentForm, JobForm) {
        (
            DeploymentForm { name: "nightly".into(), ..DeploymentForm::new() },
            JobForm { target: "all".into(), ..JobForm::new("k".into()) },
        )
    }

    fn refusals(form: &DeploymentForm) -> Vec<&'static str> {
        form.errors.iter().map(|e| e.field).collect()
    }

    #[test]
    fn schedules_are_what_was_typed() {
        let zones = jiff::tz::db();
        for (change, want) in [
            ((|_: &mut DeploymentForm| ()) as fn(&mut DeploymentForm), "daily at 03:00 UTC"),
            (
                |f| {
                    f.when = "weekly".into();
                    f.days = vec!["Monday".into(), "Thursday".into()];
                    f.at = "22:30".into();
                },
                "Mon, Thu at 22:30 UTC",
            ),
            (
                |f| {
                    f.when = "monthly".into();
                    f.month_day = "2nd Tue".into();
                    f.offset = "3".into();
                },
                "2nd Tuesday of the month +3 days at 03:00 UTC",
            ),
            (
                |f| {
                    f.when = "monthly".into();
                    f.month_day = "-1".into();
                },
                "last day of the month at 03:00 UTC",
            ),
        ] {
            let (mut form, mut job) = forms();
            change(&mut form);
            let spec = form.spec(&mut job).expect("a deployment");
            let text = spec.recurring_schedule.as_ref().expect("recurring").to_string();
            assert_eq!(text, want);
            spec.validate(zones).expect("valid");
        }
        let (mut form, mut job) = forms();
        (form.when, form.once, form.zone) = ("once".into(), "2030-12-01T03:00".into(), "Europe/Berlin".into());
        let spec = form.spec(&mut job).expect("a deployment");
        let at = spec.one_time_schedule.expect("once").execute_time;
        assert_eq!(at.to_string(), "2030-12-01T02:00:00Z");
    }

    #[test]
    fn refusals_stand_at_their_fields() {
        let (mut form, mut job) = forms();
        form.when = "weekly".into();
        assert!(form.spec(&mut job).is_none());
        assert_eq!(refusals(&form), ["days"]);
        for (month_day, offset, want) in [("soon", "", "monthDay"), ("2nd tue", "x", "offset")] {
            let (mut form, mut job) = forms();
            (form.when, form.month_day, form.offset) = ("monthly".into(), month_day.into(), offset.into());
            assert!(form.spec(&mut job).is_none());
            assert_eq!(refusals(&form), [want]);
        }
        let (mut form, mut job) = forms();
        (form.name, form.zone, form.at) = ("No Good".into(), "Moon/Base".into(), "03:00".into());
        job.duration = "0".into();
        let spec = form.spec(&mut job).expect("can be written down");
        let refused = spec.validate(jiff::tz::db()).expect_err("refused");
        form.refuse(&refused.errors, &mut job);
        assert_eq!(refusals(&form), ["name", "zone"]);
        assert_eq!(job.errors.iter().map(|e| e.field).collect::<Vec<_>>(), ["duration"]);
    }
}
