"""Errors that the database does not raise."""


class CutterError(Exception):
    """Base of this package's errors."""


class NotFound(CutterError):
    """A document, profile or run that was named does not exist."""


class KeyReused(CutterError):
    """A run key is taken by a run with another content."""


class CutConflict(CutterError):
    """The document already has a unit where the plan would make one; nothing was written."""
