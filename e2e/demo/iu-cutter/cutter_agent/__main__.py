"""Command line: ``cutter-agent cut DOCUMENT --run-key KEY`` and ``cutter-agent verify CUT_RUN_KEY --run-key KEY``.

The database is named by libpq's environment (PGHOST, PGDATABASE, PGUSER, PGPASSFILE, …). Prints one JSON object.
"""

import argparse
import dataclasses
import json
import sys

import psycopg

from cutter_agent.cut import STANDARD, cut
from cutter_agent.errors import CutterError
from cutter_agent.verify import verify


def main() -> int:
    """Exit status 0 when done, 1 when refused by a rule of the tool or by the database."""
    arguments = _parser().parse_args()
    try:
        with psycopg.connect(application_name="cutter-agent", autocommit=True) as connection:
            if arguments.action == "cut":
                result: object = dataclasses.asdict(cut(connection, arguments.document, arguments.run_key, arguments.profile))
            else:
                result = dataclasses.asdict(verify(connection, arguments.cut_run_key, arguments.run_key))
    except (CutterError, psycopg.Error) as error:
        print(f"cutter-agent: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cutter-agent", description="Cut documents into units, and verify them.")
    actions = parser.add_subparsers(dest="action", required=True)
    cut_parser = actions.add_parser("cut", help="cut one document")
    cut_parser.add_argument("document", help="key of the document")
    cut_parser.add_argument("--profile", default=STANDARD, help="name of the cut profile (default: %(default)s)")
    verify_parser = actions.add_parser("verify", help="verify one cut")
    verify_parser.add_argument("cut_run_key", help="key of the cut run")
    for action in (cut_parser, verify_parser):
        action.add_argument("--run-key", required=True, help="key that makes the action idempotent")
    return parser


if __name__ == "__main__":
    sys.exit(main())
