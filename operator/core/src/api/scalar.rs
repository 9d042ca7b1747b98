//! Scalars of the API that Kubernetes has no Rust type for.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;

/// A length of time such as `90s`, `2m`, `24h` or `30d`; a day has 24 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Span(
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]*(ms|s|m|h|d)$"))] pub String,
);

/// A [`Span`] that is not a number with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a duration such as 90s, 2m, 24h or 30d")]
pub struct InvalidDuration(String);

impl Span {
    /// The span as a duration.
    ///
    /// # Errors
    /// [`InvalidDuration`] for text that the API's pattern refuses.
    pub fn duration(&self) -> Result<Duration, InvalidDuration> {
        let invalid = || InvalidDuration(self.0.clone());
        let span: jiff::Span = self.0.parse().map_err(|_| invalid())?;
        let signed = span
            .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
            .map_err(|_| invalid())?;
        Duration::try_from(signed).map_err(|_| invalid())
    }

    /// The span, or `default` when the text is not one. The API's pattern makes the second case unreachable for stored objects.
    pub fn or(&self, default: Duration) -> Duration {
        self.duration().unwrap_or(default)
    }
}

impl From<&str> for Span {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A quantity that is not a whole number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a size in bytes such as 500Mi or 5Gi")]
pub struct InvalidQuantity(String);

/// The bytes that a Kubernetes quantity stands for
/// (`resource.Quantity`, <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
///
/// # Errors
/// [`InvalidQuantity`] when it is no whole number with an optional decimal or binary suffix.
pub fn bytes_of(quantity: &Quantity) -> Result<u64, InvalidQuantity> {
    let invalid = || InvalidQuantity(quantity.0.clone());
    let digits = quantity.0.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor: u64 = match &quantity.0[digits.len()..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(invalid()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("2m", 120),
            ("24h", 86_400),
            ("30d", 2_592_000),
        ] {
            assert_eq!(
                Span::from(text).duration(),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(
            Span::from("250ms").duration(),
            Ok(Duration::from_millis(250))
        );
        for text in ["", "5", "five minutes please", "-3s"] {
            assert!(Span::from(text).duration().is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_are_bytes() {
        for (text, bytes) in [
            ("5Gi", 5 << 30),
            ("500Mi", 500 << 20),
            ("1k", 1_000),
            ("7", 7),
        ] {
            assert_eq!(bytes_of(&Quantity(text.into())), Ok(bytes), "{text}");
        }
        for text in ["", "Gi", "1.5Gi", "100m", "99999999999Ti"] {
            assert!(bytes_of(&Quantity(text.into())).is_err(), "{text}");
        }
    }
}
