//! Which instances a filter reaches: rows first, and only where these leave it open the inventory behind them. Used by
//! lists, patch jobs and groups alike. Absent on purpose: SQL, and where the answers about inventory come from
//! ([`facts`]).

mod facts;
mod sections;

use drydock_domain::instance::InstanceState;
use drydock_domain::patch::filter::{InstanceFacts, InstanceFilter};
use drydock_domain::query::{HostFacts, Query, SectionTerm};
use drydock_store::candidates::{self, Candidate, CandidateQuery};
use drydock_store::instances::{self, Target};
use jiff::Timestamp;

use crate::Control;
use crate::error::{Error, Result};
use facts::{Answers, Facts};
pub(crate) use sections::SectionCache;

/// Rows looked at together, count: some 6 MB.
const CHUNK_ROWS: u32 = 10_000;

impl Control {
    /// Reads a filter that came in as `field`.
    pub(crate) fn read_query(&self, field: &str, text: &str) -> Result<Query> {
        Query::parse(text).map_err(|bad| Error::invalid(field, bad.to_string()))
    }

    /// Instances by name that match, among those that `within` reads; at most `wanted`.
    pub(crate) async fn find_matching(
        &self,
        query: &Query,
        mut within: CandidateQuery,
        wanted: usize,
        now: Timestamp,
    ) -> Result<Vec<Candidate>> {
        let required = query.required();
        let state = within.state.or(required.state);
        within = CandidateQuery { state, zone: within.zone.or(required.zone), limit: CHUNK_ROWS, ..within };
        within.labels.extend(required.labels);
        let mut found = Vec::new();
        loop {
            let rows = candidates::list(&mut *self.read().await?, &within).await?;
            let last = rows.last().filter(|_| rows.len() >= usize::try_from(CHUNK_ROWS).unwrap_or(usize::MAX));
            within.after = last.map(|row| row.name.clone());
            let more = last.is_some();
            found.extend(self.matching(query, rows, now).await?);
            if !more || found.len() >= wanted {
                found.truncate(wanted);
                return Ok(found);
            }
        }
    }

    /// Those that match, in the same order.
    async fn matching(&self, query: &Query, rows: Vec<Candidate>, now: Timestamp) -> Result<Vec<Candidate>> {
        let terms: Vec<&SectionTerm> = query.section_terms();
        let early: Vec<Option<bool>> = rows.iter().map(|row| query.judge(&self.host_facts(row), now, &mut |_| None)).collect();
        let open: Vec<&Candidate> = rows.iter().zip(&early).filter(|(_, e)| e.is_none()).map(|(row, _)| row).collect();
        let mut answers = if open.is_empty() { Vec::new() } else { self.facts().ask(&terms, &open).await? }.into_iter();
        let mut keep = Vec::with_capacity(rows.len());
        for (row, early) in rows.iter().zip(early) {
            keep.push(match early {
                Some(decided) => decided,
                None => {
                    let own = answers.next().unwrap_or_default();
                    let ask = &mut |term: &SectionTerm| Some(answer(&terms, own, term));
                    query.judge(&self.host_facts(row), now, ask).unwrap_or(false)
                }
            });
        }
        Ok(rows.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(row, _)| row).collect())
    }

    /// The active instances that a patch filter reaches, by name.
    pub(crate) async fn targets_of(&self, filter: &InstanceFilter, now: Timestamp) -> Result<Vec<Target>> {
        let Some(text) = &filter.query else {
            let all = instances::targets(&mut *self.read().await?, InstanceState::Active).await?;
            return Ok(all.into_iter().filter(|t| reaches(filter, t)).collect());
        };
        let query = self.read_query("instanceFilter.query", text)?;
        let within = CandidateQuery { state: Some(InstanceState::Active), ..CandidateQuery::default() };
        let found = self.find_matching(&query, within, usize::MAX, now).await?;
        let target = |row: Candidate| Target {
            id: row.id,
            name: row.name,
            zone: row.zone,
            labels: row.labels,
            group: row.group,
            compartment: row.compartment,
        };
        Ok(found.into_iter().map(target).filter(|t| reaches(filter, t)).collect())
    }

    fn host_facts<'a>(&self, row: &'a Candidate) -> HostFacts<'a> {
        HostFacts {
            name: &row.name,
            state: row.state,
            zone: &row.zone,
            group: row.group.as_deref().unwrap_or_default(),
            environment: row.environment.as_deref().unwrap_or_default(),
            compartment: &row.compartment,
            labels: &row.labels,
            os: row.os.as_ref(),
            last_seen: self.last_seen(row.id, row.last_seen),
            inventory: row.inventory,
            packages: row.packages,
            updates: row.updates,
            security_updates: row.security_updates,
            held_updates: row.held_updates,
            reboot: row.reboot_required,
        }
    }
}

/// Does a patch filter reach the instance, whose row is among those that its query found, if it has one?
fn reaches(filter: &InstanceFilter, target: &Target) -> bool {
    let id = target.id.to_string();
    let Target { name, zone, labels, group, .. } = target;
    filter.matches(InstanceFacts { id: &id, name, zone, labels, group: group.as_deref(), query_matches: true })
}

fn answer(terms: &[&SectionTerm], answers: Answers, term: &SectionTerm) -> bool {
    terms.iter().position(|t| *t == term).is_some_and(|n| answers.get(n))
}
