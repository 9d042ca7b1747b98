"""The statements over schema ``iu``. Each function runs in its caller's transaction."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cutter_agent.errors import NotFound
from cutter_agent.model import Check, CutPlan, Document, PlannedUnit, Profile, Section, Span, StoredUnit

INSERT_CUT_RUN: LiteralString = """
    INSERT INTO iu.cut_run (run_key, document_id, profile_id, plan_sha256, unit_count)
    VALUES (%(run_key)s, %(document_id)s, %(profile_id)s, %(plan_sha256)s, %(unit_count)s)
    ON CONFLICT (run_key) DO NOTHING
    RETURNING id"""

INSERT_UNIT: LiteralString = """
    INSERT INTO iu.unit (unit_key, document_id, cut_run_id, ordinal, title, body, body_sha256)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    RETURNING id"""

INSERT_VERIFY_RUN: LiteralString = """
    INSERT INTO iu.verify_run (run_key, cut_run_id, outcome, check_count)
    VALUES (%(run_key)s, %(cut_run_id)s, %(outcome)s, %(check_count)s)
    ON CONFLICT (run_key) DO NOTHING
    RETURNING id"""

INSERT_VERIFICATION: LiteralString = """
    INSERT INTO iu.verification (verify_run_id, unit_id, check_name, outcome, detail)
    VALUES (%s, %s, %s, %s, %s)"""

SELECT_UNITS_OF_RUN: LiteralString = """
    SELECT u.id, u.unit_key, u.ordinal, u.body, u.body_sha256, s.id, s.ordinal, s.heading, s.body, p.start_offset, p.end_offset, n.unit_key
      FROM iu.unit u
      JOIN iu.unit_provenance p ON p.unit_id = u.id
      JOIN iu.source_section s ON s.id = p.section_id
      LEFT JOIN iu.unit_relation r ON r.unit_id = u.id AND r.kind = 'next'
      LEFT JOIN iu.unit n ON n.id = r.related_unit_id
     WHERE u.cut_run_id = %s
     ORDER BY u.ordinal"""


def read_document(connection: Connection[Any], key: str) -> Document:
    """The document with its sections. Raises :class:`NotFound`."""
    row = connection.execute("SELECT id FROM iu.source_document WHERE document_key = %s", [key]).fetchone()
    if row is None:
        raise NotFound(f"document {key}")
    with connection.cursor(row_factory=class_row(Section)) as cursor:
        sections = cursor.execute("SELECT id, ordinal, heading, body FROM iu.source_section WHERE document_id = %s ORDER BY ordinal", row).fetchall()
    return Document(row[0], key, tuple(sections))


def read_profile(connection: Connection[Any], name: str) -> Profile:
    """The cut profile of that name. Raises :class:`NotFound`."""
    with connection.cursor(row_factory=class_row(Profile)) as cursor:
        profile = cursor.execute("SELECT id, name, min_characters, max_characters FROM iu.cut_profile WHERE name = %s", [name]).fetchone()
    if profile is None:
        raise NotFound(f"profile {name}")
    return profile


def open_cut_run(connection: Connection[Any], run_key: str, plan: CutPlan) -> int | None:
    """Takes the run key; None if it is taken already."""
    row = connection.execute(
        INSERT_CUT_RUN,
        {
            "run_key": run_key,
            "document_id": plan.document.id,
            "profile_id": plan.profile.id,
            "plan_sha256": plan.sha256,
            "unit_count": len(plan.units),
        },
    ).fetchone()
    return None if row is None else int(row[0])


def find_cut_run(connection: Connection[Any], run_key: str) -> tuple[int, str, int]:
    """Id, plan digest and number of units of a run. Raises :class:`NotFound`."""
    row = connection.execute("SELECT id, plan_sha256, unit_count FROM iu.cut_run WHERE run_key = %s", [run_key]).fetchone()
    if row is None:
        raise NotFound(f"cut run {run_key}")
    return row[0], row[1], row[2]


def insert_units(connection: Connection[Any], run_id: int, plan: CutPlan) -> list[int]:
    """Writes the plan's units, each with its provenance, tag and successor; returns their ids in the plan's order."""
    rows = [(u.key, plan.document.id, run_id, u.ordinal, u.title, u.body, u.body_sha256) for u in plan.units]
    with connection.cursor() as cursor:
        cursor.executemany(INSERT_UNIT, rows, returning=True)
        ids = [int(row[0]) for row in _each_row(cursor)]
        cursor.executemany(
            "INSERT INTO iu.unit_provenance (unit_id, section_id, start_offset, end_offset) VALUES (%s, %s, %s, %s)",
            [(unit_id, u.section_id, u.span.start, u.span.end) for unit_id, u in zip(ids, plan.units, strict=True)],
        )
        cursor.executemany(
            "INSERT INTO iu.unit_relation (unit_id, related_unit_id, kind) VALUES (%s, %s, 'next')",
            list(pairwise(ids)),
        )
        _tag_units(connection, ids, plan.units)
    return ids


def close_cut_run(connection: Connection[Any], run_id: int) -> None:
    """States that the run's units are all there."""
    connection.execute("UPDATE iu.cut_run SET state = 'complete', finished_at = clock_timestamp() WHERE id = %s", [run_id])


def units_of_run(connection: Connection[Any], run_id: int) -> list[StoredUnit]:
    """The run's units in order, as they are stored."""
    rows = connection.execute(SELECT_UNITS_OF_RUN, [run_id]).fetchall()
    return [
        StoredUnit(unit_id, key, ordinal, body, body_sha256, Section(*section), Span(start, end), next_key)
        for unit_id, key, ordinal, body, body_sha256, *section, start, end, next_key in rows
    ]


def open_verify_run(connection: Connection[Any], run_key: str, cut_run_id: int, outcome: str, check_count: int) -> int | None:
    """Takes the run key; None if it is taken already."""
    row = connection.execute(
        INSERT_VERIFY_RUN,
        {"run_key": run_key, "cut_run_id": cut_run_id, "outcome": outcome, "check_count": check_count},
    ).fetchone()
    return None if row is None else int(row[0])


def find_verify_run(connection: Connection[Any], run_key: str) -> tuple[int, int, str, int]:
    """Id, cut run, outcome and number of checks of a verification. Raises :class:`NotFound`."""
    row = connection.execute("SELECT id, cut_run_id, outcome, check_count FROM iu.verify_run WHERE run_key = %s", [run_key]).fetchone()
    if row is None:
        raise NotFound(f"verify run {run_key}")
    return row[0], row[1], row[2], row[3]


def insert_verifications(connection: Connection[Any], run_id: int, checks: Sequence[Check]) -> None:
    """Writes one row for each check."""
    with connection.cursor() as cursor:
        cursor.executemany(INSERT_VERIFICATION, [(run_id, check.unit_id, check.name, check.outcome, check.detail) for check in checks])


def record_event(connection: Connection[Any], kind: str, subject: str, **payload: object) -> None:
    """Appends to the log of what was done."""
    connection.execute("INSERT INTO iu.event (kind, subject, payload) VALUES (%s, %s, %s)", [kind, subject, Jsonb(payload)])


def _tag_units(connection: Connection[Any], ids: Sequence[int], units: Sequence[PlannedUnit]) -> None:
    names = sorted({unit.tag for unit in units})
    connection.execute("INSERT INTO iu.tag (name) SELECT unnest(%s::text[]) ON CONFLICT (name) DO NOTHING", [names])
    tags: dict[str, int] = dict(connection.execute("SELECT name, id FROM iu.tag WHERE name = ANY (%s)", [names]).fetchall())
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO iu.unit_tag (unit_id, tag_id) VALUES (%s, %s)",
            [(unit_id, tags[unit.tag]) for unit_id, unit in zip(ids, units, strict=True)],
        )


def _each_row(cursor: Any) -> Any:
    """The rows of every result of ``executemany(…, returning=True)``."""
    more = True
    while more:
        yield from cursor.fetchall()
        more = cursor.nextset()
