"""The planner needs no database."""

import unittest

from cutter_agent.model import Document, Profile, Section, Span
from cutter_agent.planner import plan, slug, spans

PROFILE = Profile(id=1, name="test", min_characters=20, max_characters=60)


def covered(text: str, found: list[Span]) -> str:
    return "".join(text[span.start : span.end] for span in found)


class Spans(unittest.TestCase):
    def test_nothing_comes_of_nothing(self) -> None:
        self.assertEqual(spans("", PROFILE), [])
        self.assertEqual(spans(" \n\n ", PROFILE), [])

    def test_sentences_are_packed_up_to_the_maximum(self) -> None:
        text = "One two three. Four five six. Seven eight nine. Ten eleven twelve."
        self.assertEqual(
            [text[s.start : s.end] for s in spans(text, PROFILE)], ["One two three. Four five six. Seven eight nine.", "Ten eleven twelve."]
        )

    def test_a_paragraph_ends_a_unit_that_is_long_enough(self) -> None:
        text = "A first paragraph here.\n\nA second one."
        self.assertEqual([text[s.start : s.end] for s in spans(text, PROFILE)], ["A first paragraph here.", "A second one."])

    def test_a_short_paragraph_joins_the_next(self) -> None:
        text = "Short.\n\nStill the same unit."
        self.assertEqual(spans(text, PROFILE), [Span(0, len(text))])

    def test_a_sentence_longer_than_the_maximum_stays_whole(self) -> None:
        text = "word " * 30 + "end."
        self.assertEqual(spans(text, PROFILE), [Span(0, len(text))])

    def test_only_white_space_is_left_out(self) -> None:
        text = "  One. Two!\n\nThree?  Four and five and six and seven.\n"
        self.assertEqual(covered(text, spans(text, PROFILE)).split(), text.split())


class Plan(unittest.TestCase):
    DOCUMENT = Document(7, "kb/x", (Section(11, 1, "First Part", "One sentence here. And another."), Section(12, 2, "Second", "Third.")))

    def test_units_are_numbered_through_the_sections(self) -> None:
        units = plan(self.DOCUMENT, PROFILE).units
        self.assertEqual([unit.key for unit in units], ["kb/x#001", "kb/x#002"])
        self.assertEqual([unit.section_id for unit in units], [11, 12])
        self.assertEqual([unit.tag for unit in units], ["first-part", "second"])

    def test_equal_inputs_give_equal_plans_and_other_profiles_others(self) -> None:
        self.assertEqual(plan(self.DOCUMENT, PROFILE).sha256, plan(self.DOCUMENT, PROFILE).sha256)
        coarse = Profile(id=2, name="coarse", min_characters=1, max_characters=20)
        self.assertNotEqual(plan(self.DOCUMENT, PROFILE).sha256, plan(self.DOCUMENT, coarse).sha256)

    def test_slugs(self) -> None:
        self.assertEqual(slug("  Loading dock, door 4! "), "loading-dock-door-4")


if __name__ == "__main__":
    unittest.main()
