#!/usr/bin/env python3
"""Writes schedules.json: moments of schedules, computed without any code of Drydock.

Days come from dateutil.rrule (and, for the nth weekday, a second time from calendar), moments from zoneinfo. Rules that are
Drydock's own are written down here once more: a local time inside a gap is due at the first moment after the gap, one that
exists twice is due the first time, a day that the zone leaves out has no run.

The zones below are ones whose rules did not change between the releases 2025b and 2026f of the database.

    python3 schedules.py > schedules.json        (needs python3-dateutil and tzdata)
"""

import calendar
import json
import sys
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, FR, MO, MONTHLY, SA, SU, TH, TU, WE, WEEKLY, rrule

DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
RRULE_DAYS = [MO, TU, WE, TH, FR, SA, SU]
UTC = timezone.utc


def stamp(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def wall(seconds, zone):
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).replace(tzinfo=None)


def moment(day, at, zone):
    """The moment of a local time, or None."""
    local = datetime.combine(day, at)
    first = local.replace(tzinfo=zone, fold=0)
    seconds = int(first.astimezone(UTC).timestamp())
    if wall(seconds, zone) == local:
        return datetime.fromtimestamp(seconds, UTC)
    # A gap: the first second whose wall clock is past the missing time is its end (halved, not taken from a table).
    low, high = seconds - 2 * 86400, seconds + 2 * 86400
    while high - low > 1:
        middle = (low + high) // 2
        if wall(middle, zone) > local:
            high = middle
        else:
            low = middle
    if wall(low, zone).date() < day < wall(high, zone).date():
        return None
    return datetime.fromtimestamp(high, UTC)


def days_of(rule, begin, end):
    """Local days of a rule in [begin, end]."""
    start = datetime.combine(begin, time())
    until = datetime.combine(end, time())
    kind = rule["frequency"]
    if kind == "DAILY":
        return [d.date() for d in rrule(DAILY, dtstart=start, until=until)]
    if kind == "WEEKLY":
        weekly = rule["weekly"]
        names = weekly.get("daysOfWeek") or [weekly["dayOfWeek"]]
        wanted = [RRULE_DAYS[DAYS.index(n)] for n in names]
        return [d.date() for d in rrule(WEEKLY, dtstart=start, until=until, byweekday=wanted)]
    monthly = rule["monthly"]
    if "monthDay" in monthly:
        return [d.date() for d in rrule(MONTHLY, dtstart=start, until=until, bymonthday=monthly["monthDay"])]
    nth = monthly["weekDayOfMonth"]
    weekday = DAYS.index(nth["dayOfWeek"])
    offset = timedelta(days=nth.get("dayOffset", 0))
    wide = start - timedelta(days=80)
    by_rrule = [
        d.date() for d in rrule(MONTHLY, dtstart=wide.replace(day=1), until=until + timedelta(days=80),
                                byweekday=RRULE_DAYS[weekday](nth["weekOrdinal"]))
    ]
    by_calendar = []
    year, month = wide.year, wide.month
    while date(year, month, 1) <= (until + timedelta(days=80)).date():
        column = [week[weekday] for week in calendar.monthcalendar(year, month) if week[weekday]]
        n = nth["weekOrdinal"]
        by_calendar.append(date(year, month, column[n - 1] if n > 0 else column[-1]))
        month += 1
        if month == 13:
            year, month = year + 1, 1
    assert [d for d in by_calendar if d in by_rrule or d <= by_rrule[-1]] == by_rrule, nth
    return [d + offset for d in by_rrule if begin <= d + offset <= end]


def expected(schedule, after, count):
    zone = ZoneInfo(schedule["timeZone"]["id"])
    tod = schedule["timeOfDay"]
    at = time(tod.get("hours", 0), tod.get("minutes", 0), tod.get("seconds", 0))
    floor = datetime.fromisoformat(after.replace("Z", "+00:00"))
    begin = floor.astimezone(zone).date() - timedelta(days=3)
    if "startTime" in schedule:
        start = datetime.fromisoformat(schedule["startTime"].replace("Z", "+00:00"))
        begin = max(begin, start.astimezone(zone).date() - timedelta(days=3))
    else:
        start = None
    end = datetime.fromisoformat(schedule["endTime"].replace("Z", "+00:00")) if "endTime" in schedule else None
    found = []
    for day in days_of(schedule, begin, begin + timedelta(days=365 * 9)):
        at_utc = moment(day, at, zone)
        if at_utc is None or at_utc <= floor or (start and at_utc < start) or (end and at_utc >= end):
            continue
        found.append(stamp(at_utc))
        if len(found) == count:
            break
    return found


def cases():
    def daily(hours, minutes=0, **more):
        return {"frequency": "DAILY", "timeOfDay": {"hours": hours, "minutes": minutes}, **more}

    def weekly(names, hours, minutes=0):
        days = {"dayOfWeek": names[0]} if len(names) == 1 else {"daysOfWeek": names}
        return {"frequency": "WEEKLY", "timeOfDay": {"hours": hours, "minutes": minutes}, "weekly": days}

    def by_day(day, hours, minutes=0):
        return {"frequency": "MONTHLY", "timeOfDay": {"hours": hours, "minutes": minutes}, "monthly": {"monthDay": day}}

    def nth(n, name, offset, hours, minutes=0):
        which = {"weekOrdinal": n, "dayOfWeek": name}
        if offset:
            which["dayOffset"] = offset
        return {"frequency": "MONTHLY", "timeOfDay": {"hours": hours, "minutes": minutes},
                "monthly": {"weekDayOfMonth": which}}

    # Zones with the local times their clocks jump over or repeat.
    zones = {
        "Europe/Berlin": [(2, 0), (2, 30), (2, 59), (3, 0), (1, 59)],
        "Europe/London": [(1, 0), (1, 30), (2, 0)],
        "America/New_York": [(1, 30), (2, 0), (2, 30), (3, 0)],
        "America/Los_Angeles": [(2, 30), (1, 15)],
        "America/St_Johns": [(2, 30), (1, 30)],
        "America/Santiago": [(0, 0), (0, 30), (23, 30)],
        "America/Sao_Paulo": [(0, 0), (0, 30)],
        "America/Nuuk": [(22, 30), (23, 30), (0, 0)],
        "Australia/Sydney": [(2, 0), (2, 30), (3, 0)],
        "Australia/Lord_Howe": [(1, 45), (2, 0), (2, 15), (2, 29), (2, 30)],
        "Pacific/Auckland": [(2, 30), (3, 0)],
        "Pacific/Chatham": [(2, 45), (3, 15), (3, 45)],
        "Africa/Cairo": [(0, 0), (0, 30), (23, 30)],
        "Asia/Kolkata": [(2, 30)],
        "Asia/Tokyo": [(2, 30)],
        "UTC": [(0, 0), (2, 30)],
    }
    # Days around changes of clocks in both hemispheres, 2026 to 2028, and far beyond the tables of most files.
    around = ["2026-03-05T12:00:00Z", "2026-03-26T12:00:00Z", "2026-04-02T12:00:00Z", "2026-04-22T12:00:00Z",
              "2026-09-03T12:00:00Z", "2026-09-24T12:00:00Z", "2026-10-01T12:00:00Z", "2026-10-22T12:00:00Z",
              "2026-10-29T12:00:00Z", "2028-03-24T12:00:00Z"]
    for zone, times in zones.items():
        for hours, minutes in times:
            for after in around:
                yield zone, daily(hours, minutes), after, 5
            yield zone, weekly(["SUNDAY"], hours, minutes), "2026-01-01T00:00:00Z", 60
            yield zone, by_day(-1, hours, minutes), "2027-01-31T12:00:00Z", 14
        yield zone, weekly(["MONDAY", "THURSDAY"], 3), "2026-02-25T00:00:00Z", 12
        yield zone, nth(2, "TUESDAY", 3, 3), "2026-01-01T00:00:00Z", 13
        yield zone, nth(-1, "SUNDAY", 0, 2, 30), "2026-01-01T00:00:00Z", 13
    # Every day of the month over leap years, one of them without a leap day (2100).
    for day in [*range(1, 32), -1]:
        yield "Europe/Berlin", by_day(day, 3), "2027-11-30T22:00:00Z", 26
        yield "UTC", by_day(day, 0), "2099-12-31T00:00:00Z", 20
    for day in (28, 29, 30, 31, -1):
        yield "Pacific/Auckland", by_day(day, 0), "2028-01-15T00:00:00Z", 24
    # Every nth weekday, and offsets that lead into the months before and after.
    for n in (1, 2, 3, 4, -1):
        for name in DAYS:
            for offset in (0, 1, -1, 6, 30, -30, 17, -23):
                yield "America/New_York", nth(n, name, offset, 4, 15), "2027-12-10T09:15:00Z", 6
    # The moment itself is not after itself; a second before it is.
    yield "UTC", daily(3), "2026-06-01T03:00:00Z", 2
    yield "UTC", daily(3), "2026-06-01T02:59:59Z", 2
    yield "UTC", {"frequency": "DAILY", "timeOfDay": {"hours": 3, "minutes": 4, "seconds": 5}}, "2026-06-01T03:04:04Z", 2
    # Begin (counts) and end (does not).
    for start, end in [("2026-06-10T01:00:00Z", "2026-06-13T01:00:00Z"), ("2026-06-10T01:00:01Z", "2026-06-13T01:00:01Z"),
                       ("2031-02-01T00:00:00Z", "2031-02-03T00:00:00Z"), ("2026-06-09T22:00:00Z", "2026-06-10T00:30:00Z")]:
        yield "Europe/Berlin", daily(3, startTime=start, endTime=end), "2026-06-01T00:00:00Z", 10
    # Samoa had no 30 December 2011.
    yield "Pacific/Apia", daily(3), "2011-12-28T00:00:00Z", 5
    yield "Pacific/Apia", daily(0), "2011-12-28T00:00:00Z", 5
    yield "Pacific/Apia", by_day(30, 3), "2011-11-15T00:00:00Z", 3
    yield "Pacific/Apia", weekly(["FRIDAY"], 12), "2011-12-20T00:00:00Z", 4


def main():
    rows = []
    for zone, rule, after, count in cases():
        schedule = {"timeZone": {"id": zone}, **rule}
        rows.append({"schedule": schedule, "after": after, "count": count, "due": expected(schedule, after, count)})
    out = sys.stdout
    out.write("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n")


if __name__ == "__main__":
    main()
