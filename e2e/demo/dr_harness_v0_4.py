"""Scenarios S1 to S12 of the iu-cutter v0.4 rehearsal, one per process: ``python dr_harness_v0_4.py S2``.

A scenario takes everything from PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSFILE, and logs one JSON object a line on stdout. It ends with status 0
when all its assertions held, 1 when one did not, 2 when it could not be run. What an error means is asserted here as the client sees it; which
errors the server logged is for the caller to judge.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import psycopg
from cutter_agent import store
from cutter_agent.cut import cut, plan_cut
from cutter_agent.errors import CutConflict, CutterError
from cutter_agent.verify import verify
from psycopg import Connection, errors

ENVIRONMENT = {"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSFILE"}
DEADLINE = 10.0
"""Deadline of a scenario's waits, in seconds."""

RETURNS = "kb/returns-policy"
SAFETY = "kb/warehouse-safety"
HANDOVER = "kb/carrier-handover"
COLD_CHAIN = "kb/cold-chain"
CUT_KEY = "dry-run/returns-policy"
VERIFY_KEY = "dry-run/verify/returns-policy"

VIEWS = (
    "activity_by_day",
    "cut_run_summary",
    "document_overview",
    "document_uncut",
    "finding",
    "section_coverage",
    "section_outline",
    "tag_usage",
    "unit_current",
    "unit_labels",
    "unit_origin",
    "unit_sequence",
    "verify_run_summary",
)

Session = Connection[tuple[Any, ...]]
scenarios: dict[str, Callable[[], None]] = {}


class Failed(Exception):
    """An assertion of the scenario did not hold."""


def scenario(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Registers a function as the scenario of that name."""

    def register(run: Callable[[], None]) -> Callable[[], None]:
        scenarios[name] = run
        return run

    return register


def log(event: str, **fields: object) -> None:
    """One line of the structured log."""
    print(json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}), flush=True)


def check(what: str, seen: object, expected: object) -> None:
    """Asserts that two values are equal, and logs both."""
    holds = seen == expected
    log("check", what=what, seen=seen, expected=expected, holds=holds)
    if not holds:
        raise Failed(f"{what}: {seen!r} instead of {expected!r}")


def connect(options: str = "") -> Session:
    """A session of the scenario's login, in autocommit."""
    return psycopg.connect(application_name="dr-harness", connect_timeout=10, autocommit=True, options=options)


def scalar(session: Session, query: Any, *parameters: object) -> Any:
    """The only value of the only row."""
    row = session.execute(query, parameters).fetchone()
    if row is None:
        raise Failed("the query returned no row")
    return row[0]


def footprint(session: Session, document: str) -> dict[str, int]:
    """Numbers of the document's rows in the tables written by a cut."""
    query = """
        SELECT (SELECT count(*) FROM iu.cut_run r WHERE r.document_id = d.id), count(u.id), count(p.id),
               (SELECT count(*) FROM iu.unit_relation r JOIN iu.unit x ON x.id = r.unit_id WHERE x.document_id = d.id),
               (SELECT count(*) FROM iu.unit_tag t JOIN iu.unit x ON x.id = t.unit_id WHERE x.document_id = d.id)
          FROM iu.source_document d LEFT JOIN iu.unit u ON u.document_id = d.id LEFT JOIN iu.unit_provenance p ON p.unit_id = u.id
         WHERE d.document_key = %s GROUP BY d.id"""
    row = session.execute(query, [document]).fetchone()
    if row is None:
        raise Failed(f"{document} does not exist")
    return dict(zip(("runs", "units", "provenance", "relations", "tags"), row, strict=True))


UNCUT = {"runs": 0, "units": 0, "provenance": 0, "relations": 0, "tags": 0}


@contextmanager
def refused(error: type[psycopg.Error], table: str | None = None) -> Iterator[None]:
    """Asserts that the block ends with that error of the server, about that table where one is named."""
    try:
        yield
    except error as refusal:
        message = refusal.diag.message_primary or ""
        log("refused", sqlstate=refusal.sqlstate, message=message)
        if table is not None:
            check("message", message, f"permission denied for table {table}")
    else:
        raise Failed(f"not refused with {error.sqlstate}")


@contextmanager
def connection_refused(reason: str) -> Iterator[None]:
    """Asserts that no session is established, for that reason. libpq gives no SQLSTATE for a connection that was never made."""
    try:
        yield
    except psycopg.OperationalError as refusal:
        seen = re.search(r"FATAL:\s+(.*)", str(refusal))
        check("reason", seen and seen[1], reason)
    else:
        raise Failed("the connection was accepted")


def until(what: str, probe: Callable[[], Any]) -> Any:
    """The first true value of the probe. Fails when the deadline passes without one."""
    deadline = time.monotonic() + DEADLINE
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {DEADLINE:.0f} s")
        time.sleep(0.02)
    log("reached", what=what)
    return value


@scenario("S1")
def plan() -> None:
    """A plan is repeatable and writes nothing."""
    with connect() as session:
        first, second = plan_cut(session, RETURNS), plan_cut(session, RETURNS)
        check("plan is repeatable", second.sha256, first.sha256)
        check("planned units", len(first.units), 8)
        check("rows", footprint(session, RETURNS), UNCUT)


@scenario("S2")
def cut_document() -> None:
    """A document is cut: every unit with its provenance, tag and successor."""
    with connect() as session:
        result = cut(session, RETURNS, CUT_KEY)
        check("cut", (result.units, result.replayed), (8, False))
        check("rows", footprint(session, RETURNS), {"runs": 1, "units": 8, "provenance": 8, "relations": 7, "tags": 8})
        check("state", scalar(session, "SELECT state FROM iu.cut_run WHERE id = %s", result.run_id), "complete")


@scenario("S3")
def replay() -> None:
    """The same cut under the same key changes nothing."""
    with connect() as session:
        before = footprint(session, RETURNS)
        check("replayed", cut(session, RETURNS, CUT_KEY).replayed, True)
        check("rows", footprint(session, RETURNS), before)


@scenario("S4")
def conflict() -> None:
    """A unit that was added by hand conflicts: the whole cut rolls back, including the units before it."""
    with connect() as session:
        before = footprint(session, SAFETY)
        check("planned units", len(plan_cut(session, SAFETY).units) > 3, True)
        try:
            cut(session, SAFETY, "dry-run/warehouse-safety")
        except CutConflict as refusal:
            check("conflict", str(refusal), "Key (unit_key)=(kb/warehouse-safety#003) already exists.")
        else:
            raise Failed("the cut went through")
        check("rows", footprint(session, SAFETY), before)


@scenario("S5")
def verify_cut() -> None:
    """The units cut by S2 pass every check, and verifying them again changes nothing."""
    with connect() as session:
        result = verify(session, CUT_KEY, VERIFY_KEY)
        check("verified", (result.outcome, result.checks, result.replayed), ("passed", 32, False))
        check("replayed", verify(session, CUT_KEY, VERIFY_KEY).replayed, True)
        check("rows", scalar(session, "SELECT count(*) FROM iu.verification WHERE verify_run_id = %s", result.run_id), 32)


@scenario("S6")
def update_columns() -> None:
    """The three columns that the cutter may change."""
    with connect() as session:
        for column, statement in (
            ("iu.unit.state", "UPDATE iu.unit SET state = 'retired' WHERE unit_key = %s"),
            ("iu.cut_run.state", "UPDATE iu.cut_run SET state = 'abandoned' WHERE run_key = %s"),
            ("iu.cut_run.finished_at", "UPDATE iu.cut_run SET finished_at = now() WHERE run_key = %s"),
        ):
            key = f"{RETURNS}#008" if column.startswith("iu.unit.") else CUT_KEY
            check(column, session.execute(statement, [key]).rowcount, 1)


@scenario("S7")
def third_connection() -> None:
    """Two sessions are allowed, the third is refused."""
    role = os.environ["PGUSER"]
    with connect() as first, connect() as second:
        check("sessions", [scalar(session, "SELECT 1") for session in (first, second)], [1, 1])
        with connection_refused(f'too many connections for role "{role}"'), connect():
            pass


@scenario("S8")
def statement_timeout() -> None:
    """A cut that waits for another one runs into its statement timeout, after it has opened its run; nothing of it stays."""
    with connect() as holder, connect(options="-c statement_timeout=500ms") as waiting:
        with holder.transaction(force_rollback=True):
            cut(holder, HANDOVER, "dry-run/s8/holder")
            with refused(errors.QueryCanceled):
                cut(waiting, HANDOVER, "dry-run/s8/waiting")
        check("rows", footprint(waiting, HANDOVER), UNCUT)


@scenario("S9")
def verifier_cuts() -> None:
    """The verifier may not cut: the statement of S2, refused."""
    with connect() as session:
        before = footprint(session, COLD_CHAIN)
        with refused(errors.InsufficientPrivilege, "cut_run"):
            cut(session, COLD_CHAIN, "dry-run/s9")
        check("rows", footprint(session, COLD_CHAIN), before)


@scenario("S10")
def cutter_verifies() -> None:
    """The cutter may not write a verification: the statement of S5, refused."""
    with connect() as session:
        query = "SELECT v.verify_run_id, v.unit_id FROM iu.verification v JOIN iu.verify_run r ON r.id = v.verify_run_id WHERE r.run_key = %s LIMIT 1"
        row = session.execute(query, [VERIFY_KEY]).fetchone()
        if row is None:
            raise Failed("S5 has left no verification")
        with refused(errors.InsufficientPrivilege, "verification"):
            session.execute(store.INSERT_VERIFICATION, (*row, "forged", "passed", None))


@scenario("S11")
def reader_logs_in() -> None:
    """The reader has a password but may not log in."""
    role = os.environ["PGUSER"]
    with connection_refused(f'role "{role}" is not permitted to log in'), connect():
        pass


@scenario("S11-views")
def read_as_member() -> None:
    """A member of the reader's role reads the 13 views under it."""
    with connect() as session:
        session.execute("SET ROLE cutter_ro")
        check("current role", scalar(session, "SELECT current_user::text"), "cutter_ro")
        check("views", len(VIEWS), 13)
        for view in VIEWS:
            rows = scalar(session, psycopg.sql.SQL("SELECT count(*) FROM iu.{}").format(psycopg.sql.Identifier(view)))
            log("read", view=view, rows=rows)
        check("findings", scalar(session, "SELECT count(*) FROM iu.finding"), 0)


@scenario("S12")
def killed_client() -> None:
    """The client is killed during a cut that waits for another one: its session ends and leaves nothing."""
    with connect() as holder:
        with holder.transaction(force_rollback=True):
            cut(holder, COLD_CHAIN, "dry-run/s12/holder")
            command = [sys.executable, "-m", "cutter_agent", "cut", COLD_CHAIN, "--run-key", "dry-run/s12/killed"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as victim:
                waiting = "SELECT min(pid) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
                backend = until("the cut waits in its transaction", lambda: scalar(holder, waiting))
                victim.send_signal(signal.SIGKILL)
            check("exit status", victim.returncode, -signal.SIGKILL)
            gone = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = %s)"
            until("its session is gone", lambda: scalar(holder, gone, backend))
        check("rows", footprint(holder, COLD_CHAIN), UNCUT)


def usage(problem: str) -> NoReturn:
    """Ends with status 2."""
    log("unusable", problem=problem, scenarios=sorted(scenarios))
    sys.exit(2)


def main() -> int:
    """Runs the scenario that the argument names."""
    if len(sys.argv) != 2 or sys.argv[1] not in scenarios:
        usage("the one argument is the scenario's name")
    name = sys.argv[1]
    given = {variable for variable in os.environ if variable.startswith("PG")}
    if given != ENVIRONMENT:
        usage(f"environment: missing {sorted(ENVIRONMENT - given)}, unexpected {sorted(given - ENVIRONMENT)}")
    run = scenarios[name]
    log("begin", scenario=name, purpose=run.__doc__, user=os.environ["PGUSER"])
    started = time.monotonic()
    try:
        run()
    except (Failed, CutterError, psycopg.Error) as problem:
        log("failed", scenario=name, problem=f"{type(problem).__name__}: {problem}")
        return 1
    log("passed", scenario=name, seconds=round(time.monotonic() - started, 3))
    return 0


if __name__ == "__main__":
    sys.exit(main())
