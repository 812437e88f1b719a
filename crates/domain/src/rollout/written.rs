//! Waves as people write them in one line, in the command and in the console: `canary=1,bake=10m`,
//! `ring1=20%,zone=eu-1,approval`. Absent: judging them ([`super::spec`] does), and what one line cannot say.

use std::fmt::Write as _;

use super::spec::{Detect, Gate, Wave, WaveSize};
use crate::patch::filter::{GroupLabel, InstanceFilter};

/// Reads `90s`, `45m`, `2h`, `7d` or `1h30m` as seconds.
pub fn duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a duration; write 90s, 45m, 2h, 7d or 1h30m");
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest.get(..digits).and_then(|d| d.parse().ok()).ok_or_else(wrong)?;
        let unit = rest.get(digits..).and_then(|r| r.chars().next()).ok_or_else(wrong)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(seconds).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        rest = rest.get(digits + unit.len_utf8()..).unwrap_or_default();
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Reads `canary=1,bake=10m`.
pub fn wave(text: &str) -> Result<Wave, String> {
    let (name, items) = text.split_once('=').unwrap_or((text, ""));
    if items.is_empty() && text.contains('=') {
        // A forgotten number would let every host go in this wave.
        return Err(format!(
            "nothing stands behind the = of {text:?}; write {name}=1, or {name} alone for every host that is left"
        ));
    }
    let mut wave = Wave { name: name.to_owned(), ..Wave::default() };
    let mut rest = items;
    while !rest.is_empty() {
        let (item, after) = match rest.strip_prefix("filter=") {
            Some(_) => (rest, ""),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        rest = after;
        take(&mut wave, item)?;
    }
    Ok(wave)
}

fn take(wave: &mut Wave, item: &str) -> Result<(), String> {
    let gate = |wave: &mut Wave| wave.gate.take().unwrap_or_default();
    let (key, value) = item.split_once('=').unwrap_or((item, ""));
    match key {
        "cover" => wave.cover_kinds = true,
        "approval" => wave.gate = Some(Gate { approval: true, ..gate(wave) }),
        "webhook" => wave.gate = Some(Gate { webhook: Some(value.to_owned()), ..gate(wave) }),
        "bake" => wave.bake_secs = duration(value)?,
        "detect" => wave.size = Some(WaveSize::Detect(detect(value)?)),
        "zone" | "group" | "host" | "label" | "filter" => {
            let mut select = wave.select.take().unwrap_or_default();
            choose(&mut select, key, value)?;
            wave.select = Some(select);
        }
        _ => wave.size = Some(size(item)?),
    }
    Ok(())
}

fn size(item: &str) -> Result<WaveSize, String> {
    let read = match item.strip_suffix('%') {
        Some(percent) => percent.parse().ok().map(WaveSize::Percent),
        None => item.parse().ok().map(WaveSize::Fixed),
    };
    read.ok_or_else(|| {
        format!(
            "{item:?} is no item of a wave; write N, N%, detect=30%@99.9%, cover, zone=, group=, host=, label=, filter=, \
             bake=10m, approval or webhook=URL"
        )
    })
}

fn choose(select: &mut InstanceFilter, key: &str, value: &str) -> Result<(), String> {
    match key {
        "zone" => select.zones.push(value.to_owned()),
        "group" => select.groups.push(value.to_owned()),
        "host" => select.instances.push(value.to_owned()),
        "label" => {
            let (key, value) =
                value.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| format!("{value:?} is not key=value"))?;
            if select.group_labels.is_empty() {
                select.group_labels.push(GroupLabel::default());
            }
            if let Some(group) = select.group_labels.first_mut() {
                group.labels.insert(key.to_owned(), value.to_owned());
            }
        }
        _ => select.query = Some(value.to_owned()),
    }
    Ok(())
}

/// `30%@99.9%`.
fn detect(text: &str) -> Result<Detect, String> {
    let wrong = || format!("{text:?} is not such as 30%@99.9%: the share of hosts that would fail, and how sure to meet one");
    let (share, sure) = text.split_once('@').ok_or_else(wrong)?;
    let share = share.strip_suffix('%').and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
    let sure = sure.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, tenth) = sure.split_once('.').unwrap_or((sure, "0"));
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let tenth: u32 = if tenth.len() == 1 { tenth.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    let confidence_permille = whole.checked_mul(10).and_then(|n| n.checked_add(tenth)).ok_or_else(wrong)?;
    Ok(Detect { failure_percent: share, confidence_permille })
}

/// The wave in one line; `None`: one line cannot say it.
pub fn written(wave: &Wave) -> Option<String> {
    let mut items: Vec<String> = Vec::new();
    match wave.size {
        Some(WaveSize::Fixed(n)) => items.push(n.to_string()),
        Some(WaveSize::Percent(p)) => items.push(format!("{p}%")),
        Some(WaveSize::Detect(d)) => {
            let (whole, tenth) = (d.confidence_permille / 10, d.confidence_permille % 10);
            items.push(format!("detect={}%@{whole}.{tenth}%", d.failure_percent));
        }
        None => {}
    }
    items.extend(wave.cover_kinds.then(|| "cover".to_owned()));
    items.extend((wave.bake_secs > 0).then(|| format!("bake={}s", wave.bake_secs)));
    if let Some(gate) = &wave.gate {
        items.extend(gate.approval.then(|| "approval".to_owned()));
        items.extend(gate.webhook.iter().map(|url| format!("webhook={url}")));
    }
    if let Some(select) = &wave.select {
        items.extend(select.zones.iter().map(|v| format!("zone={v}")));
        items.extend(select.groups.iter().map(|v| format!("group={v}")));
        items.extend(select.instances.iter().map(|v| format!("host={v}")));
        let labels = select.group_labels.first().into_iter().flat_map(|g| &g.labels);
        items.extend(labels.map(|(k, v)| format!("label={k}={v}")));
        items.extend(select.query.iter().map(|q| format!("filter={q}")));
    }
    let mut line = wave.name.clone();
    if !items.is_empty() {
        let _ = write!(line, "={}", items.join(","));
    }
    // Prefixes of names, several groups of labels, commas in values: whatever does not come back is not said.
    (self::wave(&line).as_ref() == Ok(wave)).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_read_item_by_item() {
        let read = |text: &str| serde_json::to_value(wave(text).expect(text)).expect("JSON");
        assert_eq!(read("canary=1,bake=10m"), serde_json::json!({"name": "canary", "size": {"fixed": 1}, "bakeSecs": 600}));
        assert_eq!(
            read("first=detect=30%@99.9%,cover,approval,webhook=https://gates.example.org/x"),
            serde_json::json!({"name": "first", "size": {"detect": {"failurePercent": 30, "confidencePermille": 999}},
                "coverKinds": true, "gate": {"approval": true, "webhook": "https://gates.example.org/x"}})
        );
        let chosen =
            wave("ring1=20%,zone=a,zone=b,label=ring=1,label=env=prod,group=g,host=h,filter=os = x, or y").expect("read");
        let select = chosen.select.expect("a choice");
        assert_eq!(select.zones, ["a", "b"]);
        assert_eq!((select.groups, select.instances), (vec!["g".to_owned()], vec!["h".to_owned()]));
        assert_eq!(select.group_labels[0].labels.len(), 2);
        assert_eq!(select.query.as_deref(), Some("os = x, or y"));
        assert_eq!(read("others"), serde_json::json!({"name": "others"}));
        for bad in ["a=many", "a=bake=soon", "a=detect=30", "a=detect=30%@99.99%", "a=label=x", "a=,1", "a=", "a=-1", "a=1%%"] {
            wave(bad).expect_err(bad);
        }
    }

    #[test]
    fn a_wave_comes_back_as_a_line_or_not_at_all() {
        for line in [
            "others",
            "canary=1,bake=600s",
            "first=detect=30%@99.9%,cover,approval,webhook=https://gates.example.org/x",
            "ring1=20%,zone=a,group=g,host=h,label=env=prod,filter=os = x, or y",
        ] {
            assert_eq!(written(&wave(line).expect(line)).as_deref(), Some(line));
        }
        for json in [
            r#"{"name":"a","select":{"instanceNamePrefixes":["web-"]}}"#,
            r#"{"name":"a","select":{"groupLabels":[{"labels":{"a":"1"}},{"labels":{"b":"1"}}]}}"#,
            r#"{"name":"a","select":{"zones":["x,y"]}}"#,
        ] {
            assert_eq!(written(&serde_json::from_str(json).expect(json)), None, "{json}");
        }
    }
}
