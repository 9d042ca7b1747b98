"""CUT and VERIFY over schema ``iu``: documents become units with provenance, and units are checked against their documents."""

from cutter_agent.cut import cut
from cutter_agent.errors import CutConflict, CutterError, KeyReused, NotFound
from cutter_agent.verify import verify

__all__ = ["CutConflict", "CutterError", "KeyReused", "NotFound", "cut", "verify"]
