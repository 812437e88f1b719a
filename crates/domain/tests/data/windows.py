#!/usr/bin/env python3
"""Writes windows.json: when hosts with maintenance windows and freezes may be worked at, computed without any code of
Drydock: openings as in schedules.py, plus their length in elapsed time, joined, with the freezes cut out.

    python3 windows.py > windows.json        (needs python3-dateutil and tzdata)
"""

import json
import sys
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from schedules import days_of, moment, stamp


def read(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def openings(window, after, days):
    schedule = window["schedule"]
    zone = ZoneInfo(schedule["timeZone"]["id"])
    tod = schedule["timeOfDay"]
    at = time(tod.get("hours", 0), tod.get("minutes", 0))
    length = timedelta(seconds=window["durationSecs"])
    begin = after.date() - timedelta(days=12)
    starts = [moment(day, at, zone) for day in days_of(schedule, begin, begin + timedelta(days=days))]
    return [(s, s + length) for s in starts if s is not None and s + length > after]


def expected(windows, freezes, after, count):
    spans = sorted(o for w in windows for o in openings(w, after, 700))
    joined = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    # Cut moment by moment: between two neighbouring ends of anything the answer is one and the same.
    frozen = [(read(p["from"]), read(p["to"])) for p in freezes]
    edges = sorted({e for span in joined for e in span} | {e for span in frozen for e in span})
    out = []
    for begin, end in zip(edges, edges[1:]):
        is_open = any(b <= begin and end <= e for b, e in joined)
        is_frozen = any(b <= begin and end <= e for b, e in frozen)
        if is_open and not is_frozen:
            if out and out[-1][1] == begin:
                out[-1][1] = end
            else:
                out.append([begin, end])
    return [{"from": stamp(b), "to": stamp(e)} for b, e in out if e > after][:count]


def cases():
    def window(zone, hours, minutes, secs, **rule):
        schedule = {"timeZone": {"id": zone}, "timeOfDay": {"hours": hours, "minutes": minutes}, **(rule or {"frequency": "DAILY"})}
        return {"name": "w", "instanceFilter": {"all": True}, "schedule": schedule, "durationSecs": secs}

    def weekly(*days):
        return {"frequency": "WEEKLY", "weekly": {"daysOfWeek": list(days)}}

    def by_day(day):
        return {"frequency": "MONTHLY", "monthly": {"monthDay": day}}

    def nth(n, day, offset=0):
        return {"frequency": "MONTHLY", "monthly": {"weekDayOfMonth": {"weekOrdinal": n, "dayOfWeek": day, "dayOffset": offset}}}

    # Zones, and local times at, in and across the changes of their clocks.
    zones = {
        "Europe/Berlin": [(2, 0), (2, 30), (1, 30), (22, 0)],
        "America/New_York": [(1, 30), (2, 30), (23, 0)],
        "America/Santiago": [(0, 0), (23, 30)],
        "Australia/Lord_Howe": [(2, 0), (1, 45)],
        "Pacific/Auckland": [(2, 30), (20, 0)],
        "America/St_Johns": [(1, 30), (2, 30)],
        "Asia/Kolkata": [(2, 30)],
        "UTC": [(0, 0)],
    }
    around = ["2026-03-06T12:00:00Z", "2026-03-27T12:00:00Z", "2026-04-03T12:00:00Z", "2026-09-04T12:00:00Z",
              "2026-09-25T12:00:00Z", "2026-10-02T12:00:00Z", "2026-10-23T12:00:00Z", "2026-10-30T12:00:00Z",
              "2028-02-27T12:00:00Z", "2028-03-24T01:15:00Z"]
    for zone, times in zones.items():
        for hours, minutes in times:
            for after in around:
                for secs in (300, 3 * 3600, 20 * 3600):
                    yield [window(zone, hours, minutes, secs)], [], after, 5
            yield [window(zone, hours, minutes, 7200, **by_day(29))], [], "2027-12-30T00:00:00Z", 8
            yield [window(zone, hours, minutes, 7200, **by_day(-1))], [], "2027-12-30T00:00:00Z", 8
            yield [window(zone, hours, minutes, 4 * 86400, **weekly("FRIDAY", "SUNDAY"))], [], "2026-03-20T00:00:00Z", 8
            yield [window(zone, hours, minutes, 6 * 3600, **nth(2, "TUESDAY", 3))], [], "2026-01-10T00:00:00Z", 8
    # Two windows of one host, in two zones.
    for after in around:
        two = [window("Europe/Berlin", 1, 30, 3 * 3600), window("America/New_York", 20, 0, 5 * 3600, **weekly("SATURDAY", "SUNDAY"))]
        freezes = [
            {"from": "2026-03-28T23:00:00Z", "to": "2026-03-29T01:30:00Z"},
            {"from": "2026-10-24T00:00:00Z", "to": "2026-10-25T00:45:00Z"},
            {"from": "2026-10-25T00:30:00Z", "to": "2026-10-27T00:00:00Z"},
            {"from": "2028-02-29T00:00:00Z", "to": "2028-03-01T00:00:00Z"},
            {"from": "2026-09-06T02:00:00Z", "to": "2026-09-06T02:10:00Z"},
        ]
        yield two, [], after, 9
        yield two, freezes, after, 9
        yield two[:1], freezes, after, 9
    # Frozen for months: the next opening is after it.
    long = [{"from": "2026-11-15T00:00:00Z", "to": "2027-01-07T00:00:00Z"}]
    yield [window("Europe/Berlin", 2, 0, 7200, **weekly("THURSDAY"))], long, "2026-11-10T00:00:00Z", 4


def main():
    rows = []
    for windows, freezes, after, count in cases():
        open_at = expected(windows, freezes, read(after), count)
        rows.append({"windows": windows, "freezes": freezes, "after": after, "count": count, "open": open_at})
    sys.stdout.write("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n")


if __name__ == "__main__":
    main()
