//! Sets of numbers as ranges: addresses and ports alike.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

/// A set of numbers, kept as sorted ranges that do not overlap, as nftables requires for the
/// elements of an interval set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// The addresses of a network.
    pub fn network(network: Ipv4Net) -> Self {
        Self::from_iter([network.network()..=network.broadcast()])
    }

    /// A set of single addresses.
    pub fn addresses(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        addresses
            .into_iter()
            .map(|address| address..=address)
            .collect()
    }

    /// The numbers of `self` that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &(start, end) in &self.0 {
            // Start of the remaining part of this range; `None` once a hole reaches its end.
            let mut rest = Some(start);
            for &(hole_start, hole_end) in other
                .0
                .iter()
                .filter(|hole| hole.0 <= end && hole.1 >= start)
            {
                if let Some(from) = rest.filter(|from| *from < hole_start) {
                    left.push((from, hole_start - 1));
                }
                rest = hole_end.checked_add(1).filter(|from| *from <= end);
            }
            left.extend(rest.map(|from| (from, end)));
        }
        Self(left)
    }

    /// Returns whether the set contains `number`.
    pub fn contains(&self, number: u32) -> bool {
        self.0
            .iter()
            .any(|&(start, end)| (start..=end).contains(&number))
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RangeInclusive<u32>> {
        self.0.iter().map(|&(start, end)| start..=end)
    }
}

impl<T: Into<u32>> FromIterator<RangeInclusive<T>> for Ranges {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<T>>>(ranges: I) -> Self {
        let bounds = ranges
            .into_iter()
            .map(RangeInclusive::into_inner)
            .map(|(start, end)| (start.into(), end.into()));
        let mut sorted: Vec<(u32, u32)> = bounds.filter(|(start, end)| start <= end).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for (start, end) in sorted {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Ranges> {
        let near = |edge: u32| (edge.saturating_sub(20)..=edge.saturating_add(20), 0u32..12);
        let range = prop_oneof![near(20), near(u32::MAX)]
            .prop_map(|(start, length)| start..=start.saturating_add(length));
        prop::collection::vec(range, 0..6).prop_map(Ranges::from_iter)
    }

    fn near_edges() -> impl Iterator<Item = u32> {
        (0..=60).chain(u32::MAX - 60..=u32::MAX)
    }

    proptest! {
        #[test]
        fn ranges_are_sorted_and_disjoint(ranges in ranges()) {
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert!(ranges.0.iter().all(|(start, end)| start <= end));
        }

        #[test]
        fn difference_is_set_difference(a in ranges(), b in ranges()) {
            let difference = a.minus(&b);
            for number in near_edges() {
                prop_assert_eq!(difference.contains(number), a.contains(number) && !b.contains(number), "{}", number);
            }
            prop_assert!(difference.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }

        #[test]
        fn union_is_set_union(a in ranges(), b in ranges()) {
            let union: Ranges = a.iter().chain(b.iter()).collect();
            for number in near_edges() {
                prop_assert_eq!(union.contains(number), a.contains(number) || b.contains(number), "{}", number);
            }
        }
    }
}
