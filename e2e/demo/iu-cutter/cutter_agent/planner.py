"""Planning a cut: a pure function from a document and a profile to units."""

import re
from collections.abc import Iterator

from cutter_agent.model import CutPlan, Document, PlannedUnit, Profile, Span

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")


def plan(document: Document, profile: Profile) -> CutPlan:
    """The units of a document, numbered through all its sections."""
    pieces = ((section, span) for section in document.sections for span in spans(section.body, profile))
    units = tuple(
        PlannedUnit(
            key=f"{document.key}#{ordinal:03}",
            ordinal=ordinal,
            title=section.heading,
            body=section.body[span.start : span.end],
            tag=slug(section.heading),
            section_id=section.id,
            span=span,
        )
        for ordinal, (section, span) in enumerate(pieces, start=1)
    )
    return CutPlan(document, profile, units)


def spans(text: str, profile: Profile) -> list[Span]:
    """Ranges of whole sentences that cover the text but for the white space between them."""
    result: list[Span] = []
    current: Span | None = None
    for sentence in _sentences(text):
        if current is None:
            current = sentence
        elif sentence.end - current.start > profile.max_characters or _is_complete(text, current, sentence, profile):
            result.append(current)
            current = sentence
        else:
            current = Span(current.start, sentence.end)
    if current is not None:
        result.append(current)
    return result


def slug(heading: str) -> str:
    """The heading as a tag: lower-case words joined by hyphens."""
    return _NOT_A_WORD.sub("-", heading.lower()).strip("-")


def _is_complete(text: str, current: Span, following: Span, profile: Profile) -> bool:
    ends_paragraph = "\n\n" in text[current.end : following.start]
    return ends_paragraph and current.end - current.start >= profile.min_characters


def _sentences(text: str) -> Iterator[Span]:
    end = len(text.rstrip())
    start = len(text) - len(text.lstrip())
    for gap in _SENTENCE_END.finditer(text, start, end):
        yield Span(start, gap.start())
        start = gap.end()
    if start < end:
        yield Span(start, end)
