//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{DryRun, DryRunApproval, DryRunReport};
use crate::gate;

/// The definitions of the three kinds.
///
/// They are what is derived, less the formats that Kubernetes does not know (`uint8` and its like): it would warn everybody who applies them,
/// and the bounds say the same.
pub fn crds() -> [CustomResourceDefinition; 3] {
    let mut run = DryRun::crd();
    describe_conditions(&mut run);
    [run, DryRunApproval::crd(), DryRunReport::crd()].map(|mut crd| {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version
                .schema
                .as_mut()
                .and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                drop_unknown_formats(schema);
            }
        }
        crd
    })
}

/// `kubectl explain dryrun.status.conditions` tells of every gate.
fn describe_conditions(crd: &mut CustomResourceDefinition) {
    let schemas = crd.spec.versions.iter_mut();
    let conditions = schemas
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
        .filter_map(|schema| schema.properties.as_mut()?.get_mut("status"))
        .filter_map(|status| status.properties.as_mut()?.get_mut("conditions"));
    for conditions in conditions {
        let mut text = String::from(
            "The gates, all present from the first visit: True passed, False failed for good, Unknown not yet judged or not judgeable.",
        );
        for gate in gate::ALL {
            text += &format!("\n{} {}: {}", gate.id, gate.name, gate.doc);
        }
        text += "\nSummaries: ApprovalEnforced, Approved, Succeeded, NetZero; Reconciling and Stalled only while true.";
        conditions.description = Some(text);
    }
}

fn drop_unknown_formats(schema: &mut JSONSchemaProps) {
    schema.format.take_if(|format| format.starts_with("uint"));
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(drop_unknown_formats);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => drop_unknown_formats(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => {
            items.iter_mut().for_each(drop_unknown_formats)
        }
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        drop_unknown_formats(values);
    }
}
