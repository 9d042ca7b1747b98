"""CUT and VERIFY over schema ``iu``: documents become units with provenance, and units are checked against their documents.

:func:`cutter_agent.cut.cut` and :func:`cutter_agent.verify.verify` do the work. Planning and checking are pure and need no database driver.
"""
