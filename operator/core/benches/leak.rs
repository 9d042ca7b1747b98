//! Speed of the search for credentials: `cargo bench -p dryrun-core --bench leak`.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{hint::black_box, io, time::Instant};

use dryrun_core::{
    leak::{Credential, Scanner},
    run::{credentials::scenario_password, facts::LeakFacts},
};

const BYTES: usize = 256 << 20;
/// A statement in the copy's log.
const LINE: &str = r#"{"timestamp":"2026-11-26 19:40:01.123 UTC","user":"cutter_exec","dbname":"directus","pid":4711,"remote_host":"10.244.0.9","remote_port":40312,"session_id":"6744f1a1.1267","line_num":42,"ps":"SELECT","session_start":"2026-11-26 19:39:58 UTC","vxid":"5/12","txid":0,"error_severity":"LOG","message":"statement: SELECT id, state, updated_at FROM iu.unit WHERE id = 'a8098c1a-f86e-11da-bd1a-00112448be66'","application_name":"python","backend_type":"client backend","query_id":-4327482374}
"#;

fn main() {
    let random = |count: usize, seed: usize| -> String {
        (0..count)
            .map(|index| scenario_password("bench", "uid", seed + index))
            .collect()
    };
    let texts = [
        ("server log", LINE.repeat(BYTES / LINE.len())),
        (
            "letters and digits",
            random(1 << 15, 1 << 20).repeat(BYTES >> 20),
        ),
    ];
    let roles: Vec<String> = (0..20).map(|role| format!("role_{role}")).collect();
    for count in [25, 268] {
        let credentials = (0..count)
            .map(|index| Credential::new(index.to_string(), random(1, index)))
            .collect();
        let started = Instant::now();
        let scanner = Scanner::new(credentials, &roles).unwrap();
        println!("{count} credentials: built in {:.1?}", started.elapsed());
        for (name, text) in &texts {
            let speed = |seconds: f64| text.len() as f64 / seconds / 1e9;
            let started = Instant::now();
            let mut facts = LeakFacts::default();
            scanner.search(name, text.as_bytes(), &mut facts);
            let searched = speed(started.elapsed().as_secs_f64());
            assert_eq!(black_box(facts).found_count, 0);
            let started = Instant::now();
            scanner.redact(text.as_bytes(), io::sink()).unwrap();
            let redacted = speed(started.elapsed().as_secs_f64());
            println!(
                "{count} credentials, {name}: search {searched:.2} GB/s, redaction {redacted:.2} GB/s"
            );
        }
    }
}
