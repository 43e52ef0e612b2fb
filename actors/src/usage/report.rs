//! What usage tells the owner of a library.

use std::collections::BTreeMap;

use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::libraries;
use twinmcp_storage::usage::{self, DAYS_MAX, Day, REGISTERS, Sketch, Surface, Tool};

use super::meter::Usage;
use crate::accounts::Owner;

/// Days of one report, at most.
const REPORT_DAYS_MAX: u32 = 365;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// No such library, or another account's.
    #[error("no library `{library}`")]
    NotFound {
        /// The id asked for.
        library: LibraryId,
    },
    /// Days outside their limits.
    #[error("`days` is a number from 1 to {REPORT_DAYS_MAX}")]
    Days,
    /// The store could not be read.
    #[error("failed to read usage")]
    Storage(#[from] StorageError),
}

/// Questions asked of a library's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    /// Of all days that are kept, by surface.
    pub total: BySurface,
    /// Of each of the days asked for that had any, the oldest first.
    pub days: Vec<DayReport>,
}

/// Numbers of questions by the way they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BySurface {
    /// Pages for people.
    pub page: u64,
    /// REST.
    pub txt: u64,
    /// MCP.
    pub mcp: u64,
    /// Command lines.
    pub cli: u64,
}

impl BySurface {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.page + self.txt + self.mcp + self.cli
    }

    fn add(&mut self, surface: Surface, requests: u64) {
        *match surface {
            Surface::Page => &mut self.page,
            Surface::Txt => &mut self.txt,
            Surface::Mcp => &mut self.mcp,
            Surface::Cli => &mut self.cli,
        } += requests;
    }
}

/// The questions of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayReport {
    /// Which day.
    pub day: Day,
    /// How many, by surface.
    pub questions: BySurface,
    /// How often the library was the best answer to `resolve-library-id`.
    pub resolved: u64,
    /// How many questions, by client.
    pub clients: BTreeMap<String, u64>,
    /// About how many different callers, by client.
    pub callers: BTreeMap<String, u64>,
    /// About how many different callers in all.
    pub callers_total: u64,
}

impl Usage {
    /// The usage of a library over the last `days` days, `today` the last of them.
    pub fn report(
        &self,
        who: &Owner,
        library: &LibraryId,
        days: u32,
        today: Day,
    ) -> Result<UsageReport, UsageError> {
        if !(1..=REPORT_DAYS_MAX).contains(&days) {
            return Err(UsageError::Days);
        }
        let reader = self.cluster.reader();
        let sight = who.sight(reader)?;
        let known = libraries::get(reader, library)?.filter(|known| sight.sees(&known.owner));
        if known.is_none() {
            return Err(UsageError::NotFound { library: library.clone() });
        }
        report(reader, library, u64::from(days), today)
    }
}

fn report(
    reader: &dyn Reader,
    library: &LibraryId,
    days: u64,
    today: Day,
) -> Result<UsageReport, UsageError> {
    let mut report = UsageReport { total: BySurface::default(), days: Vec::new() };
    for ago in (0..=DAYS_MAX).rev() {
        let Some(using) = usage::day(reader, today.minus(ago), library)? else { continue };
        let mut day = DayReport {
            day: using.day,
            questions: BySurface::default(),
            resolved: 0,
            clients: BTreeMap::new(),
            callers: using.callers.iter().map(|sketch| (sketch.client.clone(), sketch.estimate())).collect(),
            callers_total: 0,
        };
        for count in using.counts {
            match count.tool {
                Tool::Resolve => day.resolved += count.requests,
                Tool::Query => {
                    day.questions.add(count.surface, count.requests);
                    report.total.add(count.surface, count.requests);
                    *day.clients.entry(count.client).or_default() += count.requests;
                }
            }
        }
        let mut all = Sketch { client: String::new(), registers: vec![0; REGISTERS] };
        using.callers.iter().for_each(|sketch| all.merge(&sketch.registers));
        day.callers_total = all.estimate();
        if ago < days {
            report.days.push(day);
        }
    }
    Ok(report)
}
