//! Code shared by the tests.

use serde_json::{Value, json};

/// The spec of a small DryRun.
pub(crate) fn spec() -> Value {
    json!({
        "requestedBy": "alice",
        "source": {
            "host": "postgres.shop.svc", "user": "dump_ro", "database": "shop", "systemIdentifier": "7611578671664259111",
            "passwordSecretRef": {"name": "production", "key": "password"}, "network": {"cidr": "192.0.2.10/32"},
        },
        "postgres": {"image": "postgres:17", "storage": {"size": "2Gi", "minimumFree": "1Gi"}},
        "privileges": {"roles": {"archiver": {"login": true}}},
        "isolation": {"outsideAddress": "192.0.2.1:443"},
        "harness": {
            "image": "python:3",
            "inputs": [{"configMapRef": {"name": "archiver", "key": "source.tar"}, "mountPath": "/opt/archiver", "sha256": "a".repeat(64)}],
            "scenarios": [{"name": "archives", "as": {"login": "archiver"}, "command": ["true"]}],
        },
    })
}
