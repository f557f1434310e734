//! `docs/configs.md`, written from the table.

use std::fmt::Write;

use crate::client_metrics::CLIENT_METRICS_KEYS;
use crate::dynamic::is_dynamic;
use crate::group::GROUP_KEYS;
use crate::key::ConfigKey;
use crate::table::{KEPT_TOPIC_KEYS, TOPIC_KEYS, broker_keys};

/// The whole page.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configs\n\n\
         Written from `src/config/table/`; a test keeps it fresh. Names, defaults and ranges\n\
         are Apache Kafka's; keys that begin with `ottla.` are Ottla's own. A key that is not\n\
         here is read by nothing: in `server.properties` it is warned about with the nearest key,\n\
         for a broker that runs, and on a topic, it is refused.\n\n\
         Values come from `--config FILE` (Java's properties form) and `--override key=value`,\n\
         which wins. Without a file the node has both roles, listens on `PLAINTEXT://:9092` and\n\
         `CONTROLLER://:9093`, and keeps its data in `./ottla-data`.\n\n\
         ## Node\n\n\
         A live key can be changed while the node runs, for one broker or for all of them, with\n\
         Kafka's tools (`kafka-configs --entity-type brokers`). It acts at once.\n\n\
         | key | value | default | live | what it decides |\n|---|---|---|---|---|\n",
    );
    let mut keys: Vec<_> = broker_keys().collect();
    keys.sort_by_key(|key| key.name);
    for ConfigKey { name, kind, default, doc } in keys {
        let default = shown(default.unwrap_or_default());
        let live = if is_dynamic(name) { "yes" } else { "" };
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | {live} | {doc} |");
    }
    page.push_str(
        "\n## Topic\n\nA change acts at once.\n\n| key | value | default from | what it decides |\n|---|---|---|---|\n",
    );
    for key in TOPIC_KEYS {
        let sources: Vec<_> = key.broker_keys.iter().map(|name| format!("`{name}`")).collect();
        let sources = sources.join(", else ");
        let _ = writeln!(page, "| `{}` | {} | {sources} | {} |", key.name, key.kind, key.doc);
    }
    describe_kept(&mut page);
    page
}

fn shown(default: &str) -> String {
    if default.is_empty() { "none".to_owned() } else { format!("`{default}`") }
}

/// What is kept and told, and read by nothing.
fn describe_kept(page: &mut String) {
    page.push_str(
        "\n## Kept\n\n\
         Kafka's other configs are checked as Kafka checks them, kept in the metadata and told to\n\
         whoever asks, and nothing reads them in this version.\n\n\
         Of topics:\n\n| key | value | default | what it decides |\n|---|---|---|---|\n",
    );
    for key in KEPT_TOPIC_KEYS {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            key.kind,
            shown(key.default),
            key.doc
        );
    }
    page.push_str(
        "\nOf groups, which this version does not have yet; the limits are those that a broker of\n\
         Kafka's has by default:\n\n| key | value | default | what it decides |\n|---|---|---|---|\n",
    );
    for key in GROUP_KEYS {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            key.kind,
            shown(key.default),
            key.doc
        );
    }
    page.push_str(
        "\nOf subscriptions to client metrics, for which clients are not asked, as with a broker of\n\
         Kafka's without a plugin for them:\n\n| key | default | what it decides |\n|---|---|---|\n",
    );
    for (name, _, default, doc) in CLIENT_METRICS_KEYS {
        let _ = writeln!(page, "| `{name}` | {} | {doc} |", shown(default));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_there_twice() {
        let mut keys: Vec<_> = broker_keys().map(|key| key.name).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), broker_keys().count(), "a key stands in two groups");
        assert!(TOPIC_KEYS.is_sorted_by_key(|key| key.name));
    }

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configs.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference_page()).expect("docs/ is writable");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference_page(), "run UPDATE=1 cargo test -p ottla-config");
    }
}
