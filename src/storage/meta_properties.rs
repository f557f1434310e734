//! `meta.properties`: whose directory it is (KIP-858, version 1).

use std::fmt::Write;
use std::io;

use ottla_config::Properties;
use ottla_types::{NodeId, Timestamp, Uuid};

/// Content of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    /// `cluster.id`: 22 characters that need not stand for a UUID.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: NodeId,
    /// `directory.id`; `None` in a directory of an older Kafka.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// The text of the file, with the time of writing as Kafka has it.
    #[must_use]
    pub fn to_text(&self, now: Timestamp) -> String {
        let mut text = format!("#\n#{}\nnode.id={}\n", java_date(now), self.node_id);
        if let Some(id) = self.directory_id {
            let _ = writeln!(text, "directory.id={id}");
        }
        let _ = write!(text, "version=1\ncluster.id={}\n", self.cluster_id);
        text
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// `InvalidData` with the reason: another version, or a value that is missing or wrong.
    pub fn parse(bytes: &[u8]) -> io::Result<MetaProperties> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let properties = Properties::parse(bytes)
            .map_err(|error| invalid(format!("meta.properties: {error}")))?;
        match properties.get("version") {
            Some("1") => {}
            Some(version) => {
                return Err(invalid(format!("meta.properties has version {version}, not 1")));
            }
            None => return Err(invalid("meta.properties has no version".to_owned())),
        }
        let wrong = |key: &str| invalid(format!("meta.properties has no valid {key}"));
        let node_id = properties.get("node.id").and_then(|id| id.parse().ok());
        let cluster_id = properties.get("cluster.id").filter(|id| !id.is_empty());
        let directory_id = properties.get("directory.id").map(str::parse).transpose();
        Ok(MetaProperties {
            cluster_id: cluster_id.ok_or_else(|| wrong("cluster.id"))?.to_owned(),
            node_id: NodeId(node_id.ok_or_else(|| wrong("node.id"))?),
            directory_id: directory_id.map_err(|_| wrong("directory.id"))?,
        })
    }
}

/// A moment as `java.util.Date.toString` writes it, in UTC.
fn java_date(now: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now.0.max(0) / 1000;
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let weekday = DAYS[usize::try_from(days % 7).expect("below 7")];
    let mut year = 1970;
    while days >= days_in(year) {
        days -= days_in(year);
        year += 1;
    }
    let february = days_in(year) - 337;
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let (month, day) = (MONTHS[month], days + 1);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

fn days_in(year: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    365 + i64::from(leap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_writes_is_read() {
        let text = "#\n#Sat Nov 21 03:54:27 UTC 2026\nnode.id=1\n\
                    directory.id=AAAAAAAAAAAAAAAAAAAAAQ\nversion=1\ncluster.id=5L6g3nShT-eMCtK--X86sw\n";
        let meta = MetaProperties::parse(text.as_bytes()).expect("valid");
        assert_eq!(meta.cluster_id, "5L6g3nShT-eMCtK--X86sw");
        assert_eq!((meta.node_id, meta.directory_id), (NodeId(1), Some(Uuid::METADATA_TOPIC)));
        let text_of_ours = meta.to_text(Timestamp(1_795_233_267_891));
        assert_eq!(text_of_ours, text);
    }

    #[test]
    fn dates_are_javas() {
        let check = |ms: i64, expected: &str| assert_eq!(java_date(Timestamp(ms)), expected);
        check(0, "Thu Jan 01 00:00:00 UTC 1970");
        check(951_782_399_000, "Mon Feb 28 23:59:59 UTC 2000");
        check(951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000");
        check(951_868_800_000, "Wed Mar 01 00:00:00 UTC 2000");
        check(1_798_761_599_999, "Thu Dec 31 23:59:59 UTC 2026");
        check(-1, "Thu Jan 01 00:00:00 UTC 1970");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let check = |text: &str, reason: &str| {
            let error = MetaProperties::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        };
        check("", "no version");
        check("version=0", "version 0");
        check("version=1\ncluster.id=c", "node.id");
        check("version=1\nnode.id=1", "cluster.id");
        check("version=1\nnode.id=1\ncluster.id=c\ndirectory.id=x", "directory.id");
    }
}
