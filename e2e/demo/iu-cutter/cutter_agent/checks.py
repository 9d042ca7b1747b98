"""Checking units against the document that they were cut from: pure functions."""

from collections.abc import Iterable, Iterator, Sequence

from cutter_agent.model import Check, StoredUnit, digest


def check_units(units: Sequence[StoredUnit]) -> list[Check]:
    """Four checks for each unit of one run, which must come in order of their ordinals."""
    return [check for index, unit in enumerate(units) for check in _checks(units, index, unit)]


def _checks(units: Sequence[StoredUnit], index: int, unit: StoredUnit) -> Iterator[Check]:
    previous = units[index - 1] if index else None
    following = units[index + 1] if index + 1 < len(units) else None
    yield Check(unit.id, "digest", _digest(unit))
    yield Check(unit.id, "provenance", _provenance(unit))
    yield Check(unit.id, "coverage", _coverage(previous, unit, following))
    yield Check(unit.id, "sequence", _sequence(index, unit, following))


def _digest(unit: StoredUnit) -> str | None:
    return None if digest(unit.body) == unit.body_sha256 else "body_sha256 is not the digest of the body"


def _provenance(unit: StoredUnit) -> str | None:
    quoted = unit.section.body[unit.span.start : unit.span.end]
    return None if quoted == unit.body else f"section {unit.section.ordinal} has another text at {unit.span.start}..{unit.span.end}"


def _coverage(previous: StoredUnit | None, unit: StoredUnit, following: StoredUnit | None) -> str | None:
    """Nothing but white space may lie between a unit and its neighbours in the section, or the section's ends."""
    text = unit.section.body
    before = previous.span.end if previous is not None and previous.section.id == unit.section.id else 0
    gaps = [text[before : unit.span.start]]
    if following is None or following.section.id != unit.section.id:
        gaps.append(text[unit.span.end :])
    return _uncovered(gaps)


def _uncovered(gaps: Iterable[str]) -> str | None:
    lost = sum(len(gap.strip()) for gap in gaps)
    return f"{lost} characters beside it are in no unit" if lost else None


def _sequence(index: int, unit: StoredUnit, following: StoredUnit | None) -> str | None:
    if unit.ordinal != index + 1:
        return f"its ordinal is {unit.ordinal}, its place {index + 1}"
    expected = following.key if following is not None else None
    return None if unit.next_key == expected else f"its successor is {unit.next_key}, and should be {expected}"
