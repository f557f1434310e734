//! `docs/configs.md`, written from the table.

use std::fmt::Write;

use crate::key::ConfigKey;
use crate::table::{TOPIC_KEYS, broker_keys};

/// The whole page.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configs\n\n\
         Written from `src/config/table/`; a test keeps it fresh. Names, defaults and ranges\n\
         are Apache Kafka's; keys that begin with `ottla.` are Ottla's own. A key that is not\n\
         here is read by nothing: in `server.properties` it is warned about with the nearest key,\n\
         on a topic it is refused.\n\n\
         Values come from `--config FILE` (Java's properties form) and `--override key=value`,\n\
         which wins. Without a file the node has both roles, listens on `PLAINTEXT://:9092` and\n\
         `CONTROLLER://:9093`, and keeps its data in `./ottla-data`.\n\n\
         ## Node\n\n| key | value | default | what it decides |\n|---|---|---|---|\n",
    );
    let mut keys: Vec<_> = broker_keys().collect();
    keys.sort_by_key(|key| key.name);
    for ConfigKey { name, kind, default, doc } in keys {
        let default = default.map_or_else(|| "none".to_owned(), |text| format!("`{text}`"));
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | {doc} |");
    }
    page.push_str(
        "\n## Topic\n\n| key | value | default from | what it decides |\n|---|---|---|---|\n",
    );
    for key in TOPIC_KEYS {
        let sources: Vec<_> = key.broker_keys.iter().map(|name| format!("`{name}`")).collect();
        let sources = sources.join(", else ");
        let _ = writeln!(page, "| `{}` | {} | {sources} | {} |", key.name, key.kind, key.doc);
    }
    page
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
