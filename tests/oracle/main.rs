//! `oracle HOST:PORT FILE`: asks Apache Kafka at HOST:PORT everything, and writes the golden FILE.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, file] = arguments.as_slice() else {
        eprintln!("usage: oracle HOST:PORT FILE");
        return ExitCode::from(2);
    };
    let recorded = match address.parse() {
        Ok(address) => ottla_oracle::record(address),
        Err(error) => Err(format!("{address}: {error}")),
    };
    let written = recorded.and_then(|golden| {
        let rows = golden.lines().count();
        std::fs::write(file, &golden).map_err(|error| format!("{file}: {error}"))?;
        println!("oracle: {rows} requests recorded, {} bytes", golden.len());
        Ok(())
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oracle: {error}");
            ExitCode::FAILURE
        }
    }
}
