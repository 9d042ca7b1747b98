"""Values that pass between reading, planning, checking and writing."""

from dataclasses import dataclass
from hashlib import sha256
from itertools import chain


def digest(text: str) -> str:
    """sha256 of the text in lower-case hex, as column type ``iu.sha256`` holds it."""
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Profile:
    """Size limits of units: a unit is closed at a paragraph's end from ``min_characters`` on, and never exceeds ``max_characters``
    unless a single sentence does."""

    id: int
    name: str
    min_characters: int
    max_characters: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a source document."""

    id: int
    ordinal: int
    heading: str
    body: str


@dataclass(frozen=True, slots=True)
class Document:
    """A source document with its sections in order."""

    id: int
    key: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open range ``[start, end)`` of characters in a section's body."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PlannedUnit:
    """A unit that a cut will write, with its provenance."""

    key: str
    ordinal: int
    title: str
    body: str
    tag: str
    section_id: int
    span: Span

    @property
    def body_sha256(self) -> str:
        """Digest of the body."""
        return digest(self.body)


@dataclass(frozen=True, slots=True)
class CutPlan:
    """All units of one document under one profile. Equal inputs give equal plans."""

    document: Document
    profile: Profile
    units: tuple[PlannedUnit, ...]

    @property
    def sha256(self) -> str:
        """Digest over document, profile and every unit, which identifies a run key's content."""
        head = (self.document.key, self.profile.name)
        return digest("\n".join(chain(head, (f"{unit.key} {unit.section_id} {unit.span} {unit.body_sha256}" for unit in self.units))))


@dataclass(frozen=True, slots=True)
class CutResult:
    """Result of a cut in the database."""

    run_id: int
    units: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A unit as it is in the database, with its recorded section."""

    id: int
    key: str
    ordinal: int
    body: str
    body_sha256: str
    section: Section
    span: Span
    next_key: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check of one unit; ``detail`` describes the failure."""

    unit_id: int
    name: str
    detail: str | None = None

    @property
    def outcome(self) -> str:
        """The value of type ``iu.outcome``."""
        return "passed" if self.detail is None else "failed"


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Result of a verification in the database."""

    run_id: int
    outcome: str
    checks: int
    replayed: bool
