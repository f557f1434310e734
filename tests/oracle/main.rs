//! `oracle record clients|quorum HOST:PORT FILE`: asks Apache Kafka's listener at HOST:PORT
//! everything, and writes the golden FILE. `oracle show clients|quorum API [ROW]`: what was
//! recorded, in words.

use std::process::ExitCode;

use ottla_oracle::Listener;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["record", of, address, file] => listener(of).and_then(|of| record(of, address, file)),
        ["show", of, api] => listener(of).and_then(|of| ottla_oracle::show(of, api, "")),
        ["show", of, api, row] => listener(of).and_then(|of| ottla_oracle::show(of, api, row)),
        _ => Err(USAGE.to_owned()),
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

const USAGE: &str =
    "usage: oracle record clients|quorum HOST:PORT FILE | show clients|quorum API [ROW]";

fn listener(name: &str) -> Result<Listener, String> {
    match name {
        "clients" => Ok(Listener::Clients),
        "quorum" => Ok(Listener::Quorum),
        _ => Err(USAGE.to_owned()),
    }
}

fn record(listener: Listener, address: &str, file: &str) -> Result<String, String> {
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let golden = ottla_oracle::record(listener, address)?;
    std::fs::write(file, &golden).map_err(|error| format!("{file}: {error}"))?;
    Ok(format!("oracle: {} requests recorded, {} bytes", golden.lines().count(), golden.len()))
}
