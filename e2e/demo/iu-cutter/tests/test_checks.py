"""The checks need no database."""

import unittest
from dataclasses import replace

from cutter_agent.checks import check_units
from cutter_agent.model import Section, Span, StoredUnit, digest

SECTION = Section(1, 1, "Heading", "First sentence. Second sentence.")


def stored(id: int, ordinal: int, start: int, end: int, next_key: str | None) -> StoredUnit:
    body = SECTION.body[start:end]
    return StoredUnit(id, f"kb/x#{ordinal:03}", ordinal, body, digest(body), SECTION, Span(start, end), next_key)


GOOD = [stored(1, 1, 0, 15, "kb/x#002"), stored(2, 2, 16, 32, None)]


def findings(units: list[StoredUnit]) -> list[tuple[int, str]]:
    return [(check.unit_id, check.name) for check in check_units(units) if check.detail is not None]


class CheckUnits(unittest.TestCase):
    def test_a_good_cut_passes_every_check(self) -> None:
        self.assertEqual(len(check_units(GOOD)), 8)
        self.assertEqual(findings(GOOD), [])
        self.assertEqual({check.outcome for check in check_units(GOOD)}, {"passed"})

    def test_a_changed_body_is_found_twice(self) -> None:
        self.assertEqual(findings([replace(GOOD[0], body="Other."), GOOD[1]]), [(1, "digest"), (1, "provenance")])

    def test_a_missing_unit_is_a_gap(self) -> None:
        only_second = replace(GOOD[1], ordinal=1)
        self.assertEqual(findings([only_second]), [(2, "coverage")])

    def test_a_lost_tail_is_a_gap(self) -> None:
        self.assertEqual(findings([replace(GOOD[0], next_key=None)]), [(1, "coverage")])

    def test_a_broken_chain_is_found(self) -> None:
        self.assertEqual(findings([replace(GOOD[0], next_key=None), GOOD[1]]), [(1, "sequence")])


if __name__ == "__main__":
    unittest.main()
