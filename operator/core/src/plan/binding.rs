//! Rules for Secrets that may be sent to a source.
//!
//! A requester names host and Secret. Without a word of those who hold the Secret they could have
//! any Secret of the namespace sent to a host of theirs. So the Secret itself says for which
//! sources it is, in an annotation, or the chart does.

use crate::api::Source;
use crate::problem::Problem;

/// Annotation of a Secret with the names ([`Source::uri`]) of the sources that it is for, separated
/// by white space.
pub const ANNOTATION: &str = "dryrun.dev/source";

/// Returns true if an annotation names the source.
pub fn names(annotation: &str, source: &Source) -> bool {
    let uri = source.uri();
    annotation.split_ascii_whitespace().any(|name| name == uri)
}

/// Returns true if the chart's list, of `namespace/secret=uri`, names the Secret for the source.
pub fn lists(listed: &[String], namespace: &str, secret: &str, source: &Source) -> bool {
    let entry = format!("{namespace}/{secret}={}", source.uri());
    listed.contains(&entry)
}

/// The problem of a Secret that does not exist or is not for the source: which of the two is not
/// said, as a requester may not list Secrets.
pub fn problem(namespace: &str, secret: &str, source: &Source) -> Problem {
    let uri = source.uri();
    let message = format!(
        "no Secret {secret} is for this source; its holder runs: kubectl -n {namespace} annotate --overwrite secret {secret} {ANNOTATION}='{uri}'"
    );
    Problem::permanent("SecretNotBound", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::spec;

    #[test]
    fn a_secret_is_for_the_sources_that_it_names() {
        let source = spec().source;
        let uri = source.uri();
        assert!(names(&uri, &source));
        assert!(names(&format!("postgresql://other/\n {uri} "), &source));
        for annotation in [
            "",
            "postgresql://",
            &uri[..uri.len() - 1],
            &format!("{uri}x"),
        ] {
            assert!(!names(annotation, &source), "{annotation}");
        }
    }

    #[test]
    fn each_part_of_the_source_counts() {
        let uri = spec().source.uri();
        let others: [fn(&mut Source); 6] = [
            |source| source.host = "evil".into(),
            |source| source.port = 5433,
            |source| source.user = "other".into(),
            |source| source.database = "other".into(),
            |source| source.sslmode = crate::api::SslMode::Prefer,
            |source| source.authentication = crate::api::Authentication::Any,
        ];
        for (n, change) in others.into_iter().enumerate() {
            let mut source = spec().source;
            change(&mut source);
            assert!(!names(&uri, &source), "{n}");
        }
    }

    #[test]
    fn the_chart_names_namespace_and_secret_too() {
        let source = spec().source;
        let listed = [format!("rehearsal/production={}", source.uri())];
        assert!(lists(&listed, "rehearsal", "production", &source));
        assert!(!lists(&listed, "rehearsal", "other", &source));
        assert!(!lists(&listed, "other", "production", &source));
    }

    #[test]
    fn the_command_binds_it() {
        let source = spec().source;
        let message = problem("rehearsal", "directus-production", &source).message;
        let (_, value) = message.split_once("dryrun.dev/source='").unwrap();
        assert!(names(value.trim_end_matches('\''), &source), "{message}");
    }
}
