"""VERIFY: the units of one cut are checked against their document, in one transaction."""

from typing import Any

from psycopg import Connection

from cutter_agent import store
from cutter_agent.checks import check_units
from cutter_agent.errors import KeyReused
from cutter_agent.model import VerifyResult


def verify(connection: Connection[Any], cut_run_key: str, run_key: str) -> VerifyResult:
    """Writes one verification for each check of each unit of the cut.

    The run key makes it idempotent: a second verification under the same key changes nothing and returns what the first one left.
    Raises :class:`KeyReused` if the key stands for the verification of another cut.
    """
    with connection.transaction():
        cut_run_id, _, _ = store.find_cut_run(connection, cut_run_key)
        checks = check_units(store.units_of_run(connection, cut_run_id))
        outcome = "failed" if any(check.detail for check in checks) else "passed"
        run_id = store.open_verify_run(connection, run_key, cut_run_id, outcome, len(checks))
        if run_id is None:
            return _replay(connection, run_key, cut_run_id)
        store.insert_verifications(connection, run_id, checks)
        store.record_event(connection, "verify", run_key, outcome=outcome, checks=len(checks))
        return VerifyResult(run_id, outcome, len(checks), replayed=False)


def _replay(connection: Connection[Any], run_key: str, cut_run_id: int) -> VerifyResult:
    run_id, verified, outcome, checks = store.find_verify_run(connection, run_key)
    if verified != cut_run_id:
        raise KeyReused(f"{run_key} stands for the verification of another cut")
    return VerifyResult(run_id, outcome, checks, replayed=True)
