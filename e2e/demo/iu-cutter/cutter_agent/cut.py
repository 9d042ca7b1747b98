"""CUT: one document becomes units, in one transaction."""

from typing import Any

from psycopg import Connection
from psycopg.errors import UniqueViolation

from cutter_agent import store
from cutter_agent.errors import CutConflict, KeyReused
from cutter_agent.model import CutPlan, CutResult
from cutter_agent.planner import plan

STANDARD = "standard"


def plan_cut(connection: Connection[Any], document_key: str, profile: str = STANDARD) -> CutPlan:
    """The plan that :func:`cut` would write. Reads only."""
    return plan(store.read_document(connection, document_key), store.read_profile(connection, profile))


def cut(connection: Connection[Any], document_key: str, run_key: str, profile: str = STANDARD) -> CutResult:
    """Cuts the document, wholly or not at all.

    The run key makes it idempotent: a second cut under the same key changes nothing and returns what the first one left.
    Raises :class:`KeyReused` if the key stands for another plan, and :class:`CutConflict` if the document has units already.
    """
    try:
        with connection.transaction():
            plan = plan_cut(connection, document_key, profile)
            run_id = store.open_cut_run(connection, run_key, plan)
            if run_id is None:
                return _replay(connection, run_key, plan)
            store.insert_units(connection, run_id, plan)
            store.close_cut_run(connection, run_id)
            store.record_event(connection, "cut", run_key, units=len(plan.units))
            return CutResult(run_id, len(plan.units), replayed=False)
    except UniqueViolation as conflict:
        raise CutConflict(conflict.diag.message_detail or str(conflict)) from conflict


def _replay(connection: Connection[Any], run_key: str, plan: CutPlan) -> CutResult:
    run_id, plan_sha256, units = store.find_cut_run(connection, run_key)
    if plan_sha256 != plan.sha256:
        raise KeyReused(f"{run_key} stands for another plan")
    return CutResult(run_id, units, replayed=True)
