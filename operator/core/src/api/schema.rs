//! Schemas that a Rust type alone does not bound: the apiserver estimates the cost of a CEL rule from these bounds, and nothing in a spec may grow without end.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Labels of workloads: at least one, with values as long as Kubernetes lets them be.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// Names with a text each: environment variables, settings of a role.
pub(super) fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// The privileges that SQL knows on columns, each with the columns' names.
pub(super) fn columns(_: &mut SchemaGenerator) -> Schema {
    let names = json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 256,
        "items": {"type": "string", "minLength": 1, "maxLength": 63},
    });
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "properties": {"SELECT": names, "INSERT": names, "UPDATE": names, "REFERENCES": names},
    })
}

/// A size in bytes, as [`super::bytes_of`] reads it.
pub(super) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": "^[0-9]{1,15}(k|M|G|T|Ki|Mi|Gi|Ti)?$",
    })
}

/// A number that is declared, as [`super::Figure`] reads it.
pub(super) fn figure(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 0,
        "maxLength": 32,
        "pattern": r"^([0-9]{1,15}(\.\.([0-9]{1,15})?)?|any)$",
    })
}

/// Requests and limits of a container, without the resource claims that no pod of a run has.
pub(super) fn resources(_: &mut SchemaGenerator) -> Schema {
    // The pattern is that of resource.Quantity (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
    let quantities = json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
        },
    });
    json_schema!({
        "type": "object",
        "properties": {"requests": quantities, "limits": quantities},
    })
}

/// A plan: its members are bounded where they come from, in the DryRun.
pub(super) fn plan(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 8, "x-kubernetes-preserve-unknown-fields": true})
}

/// An object that the operator writes and whose fields follow its version.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
