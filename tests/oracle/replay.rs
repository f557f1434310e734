//! The replay: Ottla is asked what Kafka was asked, and the answers are laid side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::cases::{Case, Known};
use crate::compare::{Declared, Pair, declared};
use crate::exchange::{Answer, Asker, Exchange, answered, read};
use crate::schema::{Api, Type, hex};
use crate::value::Value;
use crate::{
    API_VERSIONS, Listener, PATIENCE, SETTLE_PAUSE, SILENCE, has_to_settle, in_order, sent_as,
    tables,
};

const DIFFERENCES: &str = include_str!("differences.txt");

/// What a replay found.
#[derive(Default, Debug)]
pub struct Report {
    /// Requests whose answers were compared, by key and version.
    pub compared: BTreeMap<(i16, i16), usize>,
    /// Requests for APIs that are not shown yet, by name.
    pub unanswered: BTreeMap<String, usize>,
    /// What differs and is not declared, one line each.
    pub differences: Vec<String>,
    /// Keys and versions that are shown and were not compared.
    pub untested: Vec<(i16, i16)>,
    /// Declared differences that are none any more.
    pub needless: Vec<String>,
}

/// A row in one of its versions.
struct Row<'a> {
    api: &'a Api,
    case: &'a Case,
    number: i16,
    /// What Kafka did.
    recorded: &'a Exchange,
}

impl Row<'_> {
    fn place(&self) -> String {
        format!("{} / {} v{}", self.api.name, self.case.name, self.number)
    }

    /// The schema of the answer, and what Kafka said in it.
    fn said(&self) -> Result<Option<(&Type, Value)>, String> {
        match (&self.recorded.answer, answered(self.api, self.case, self.number)) {
            (Answer::Body(bytes), Some(of)) => Ok(Some((of, read(bytes, of)?))),
            _ => Ok(None),
        }
    }
}

/// Both sides as they are asked.
struct Replay {
    asker: Asker,
    /// For what Kafka did not answer.
    hurried: Asker,
    theirs: Known,
    ours: Known,
    declared: Vec<Declared>,
    needed: BTreeSet<usize>,
    /// Rows that do not settle with Ottla: what they ask for is not built.
    unsettled: BTreeSet<(i16, String)>,
    report: Report,
}

/// Asks a listener of Ottla's what Kafka's was asked, and compares.
///
/// # Errors
/// A golden file that is not what the tables say, or a broker that is gone.
pub fn replay(listener: Listener, address: SocketAddr) -> Result<Report, String> {
    let (schemas, cases) = tables(listener)?;
    let golden = listener
        .golden()
        .lines()
        .map(|line| Exchange::from_line(line).ok_or_else(|| format!("golden.txt: {line:.80}")));
    let golden: Vec<_> = golden.collect::<Result<_, _>>()?;
    let there: BTreeSet<_> = golden.iter().map(|exchange| exchange.api).collect();
    let mut replay = Replay {
        asker: Asker::new(address, PATIENCE),
        hurried: Asker::new(address, SILENCE),
        theirs: Known::default(),
        ours: Known::default(),
        declared: declared(DIFFERENCES, listener)?,
        needed: BTreeSet::new(),
        unsettled: BTreeSet::new(),
        report: Report::default(),
    };
    let shown = replay.asker.shown(&schemas[&API_VERSIONS])?;
    let mut rows = golden.iter();
    for (case, number) in in_order(&cases, &schemas).filter(|(case, _)| there.contains(&case.api)) {
        let api = &schemas[&case.api];
        let stale = || format!("{} / {} v{number}: run scripts/oracle record", api.name, case.name);
        let recorded = rows.next().ok_or_else(stale)?;
        let row = Row { api, case, number, recorded };
        let is_of_row = (recorded.api, recorded.version, &recorded.name)
            == (case.api, number, &case.name)
            && case.request(&api.versions[&number], number, &replay.theirs)? == recorded.request;
        if !is_of_row {
            return Err(stale());
        }
        let of_api = shown.get(&case.api);
        match of_api.is_some_and(|(from, to)| (*from..=*to).contains(&number)) {
            true => replay.compare(&row)?,
            false => replay.pass_over(&row)?,
        }
    }
    let all = shown.iter().flat_map(|(key, (from, to))| (*from..=*to).map(|at| (*key, at)));
    // Produce shows versions that neither answers, for the sake of old clients.
    let known = |(key, at): &(i16, i16)| schemas[key].versions.contains_key(at);
    Ok(replay.finish(all.filter(known).collect()))
}

/// What was asked of Kafka and what it said, in words: the rows of an API whose names begin so.
///
/// # Errors
/// A golden file that cannot be read.
pub fn show(listener: Listener, api: &str, name: &str) -> Result<String, String> {
    let (schemas, cases) = tables(listener)?;
    let mut shown = Vec::new();
    for line in listener.golden().lines() {
        let it = Exchange::from_line(line).ok_or_else(|| format!("golden.txt: {line:.80}"))?;
        let of = &schemas[&it.api];
        let case = cases.iter().find(|case| case.api == it.api && case.name == it.name);
        let Some(case) = case.filter(|_| of.name == api && it.name.starts_with(name)) else {
            continue;
        };
        let version = &of.versions[&it.version];
        let asked = read(&it.request, &version.asked);
        let said = match (&it.answer, answered(of, case, it.version)) {
            (Answer::Body(bytes), Some(of)) => read(bytes, of)?.to_string(),
            (other, _) => short(other),
        };
        let asked = asked.map_or_else(|error| error, |value| value.to_string());
        shown.push(format!("{} v{}\n  asked {asked}\n  said  {said}", it.name, it.version));
    }
    Ok(shown.join("\n"))
}

impl Replay {
    fn pass_over(&mut self, row: &Row<'_>) -> Result<(), String> {
        *self.report.unanswered.entry(row.api.name.clone()).or_default() += 1;
        if let Some((_, said)) = row.said()? {
            self.theirs.learn(&row.case.name, &said);
        }
        Ok(())
    }

    fn compare(&mut self, row: &Row<'_>) -> Result<(), String> {
        let version = &row.api.versions[&row.number];
        let request = row.case.request(version, row.number, &self.ours)?;
        let asker = match row.recorded.answer {
            Answer::Silent => &mut self.hurried,
            _ => &mut self.asker,
        };
        let sent = sent_as(row.case, row.number);
        let mut attempts = if row.case.settles { SETTLES_MAX } else { 1 };
        if self.unsettled.contains(&(row.api.key, row.case.name.clone())) {
            attempts = 1;
        }
        let answer = loop {
            let answer = asker.ask(row.api.key, sent, version, &request)?;
            attempts -= 1;
            if attempts == 0 || !has_to_settle(&answer, version) {
                break answer;
            }
            std::thread::sleep(SETTLE_PAUSE);
        };
        if row.case.settles && has_to_settle(&answer, version) {
            // It does not, in any version: nothing is waited for again.
            self.unsettled.insert((row.api.key, row.case.name.clone()));
        }
        *self.report.compared.entry((row.case.api, row.number)).or_default() += 1;
        let differences = match (row.said()?, &answer) {
            (Some((of, said)), Answer::Body(bytes)) => {
                self.theirs.learn(&row.case.name, &said);
                match read(bytes, of) {
                    Ok(value) => {
                        self.ours.learn(&row.case.name, &value);
                        let known = [&self.theirs, &self.ours];
                        Pair { api: &row.api.name, known }.differences(&said, &value)
                    }
                    Err(error) => vec![("answer".to_owned(), error)],
                }
            }
            (said, _) => {
                if let Some((_, said)) = said {
                    self.theirs.learn(&row.case.name, &said);
                }
                let shown = || format!("{} / {}", short(&row.recorded.answer), short(&answer));
                let differs = answer != row.recorded.answer;
                differs.then(|| ("answer".to_owned(), shown())).into_iter().collect()
            }
        };
        for (path, shown) in differences {
            let is_about =
                |it: &Declared| it.is_about(&row.api.name, &row.case.name, row.number, &path);
            match self.declared.iter().position(is_about) {
                Some(at) => drop(self.needed.insert(at)),
                None => self.report.differences.push(format!("{} / {path}: {shown}", row.place())),
            }
        }
        Ok(())
    }

    fn finish(self, shown: Vec<(i16, i16)>) -> Report {
        let needless = self.declared.iter().enumerate();
        let needless = needless.filter(|(at, it)| !it.is_open() && !self.needed.contains(at));
        let needless = needless.map(|(_, it)| it.line().to_owned()).collect();
        let untested = shown.into_iter().filter(|it| !self.report.compared.contains_key(it));
        Report { needless, untested: untested.collect(), ..self.report }
    }
}

/// How often Ottla is asked for what settles.
const SETTLES_MAX: usize = 30;

fn short(answer: &Answer) -> String {
    match answer {
        Answer::Body(bytes) => format!("{:.60}", hex(bytes)),
        other => format!("{other:?}"),
    }
}
