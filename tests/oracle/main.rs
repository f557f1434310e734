//! `oracle record HOST:PORT FILE`: asks Apache Kafka at HOST:PORT everything, and writes the golden
//! FILE. `oracle show API [ROW]`: what was recorded, in words.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["record", address, file] => record(address, file),
        ["show", api] => ottla_oracle::show(api, ""),
        ["show", api, row] => ottla_oracle::show(api, row),
        _ => Err("usage: oracle record HOST:PORT FILE | show API [ROW]".to_owned()),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("oracle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn record(address: &str, file: &str) -> Result<String, String> {
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let golden = ottla_oracle::record(address)?;
    std::fs::write(file, &golden).map_err(|error| format!("{file}: {error}"))?;
    Ok(format!("oracle: {} requests recorded, {} bytes", golden.lines().count(), golden.len()))
}
