"""Templates: an example's fields, hard words, soft slots and masks, as one line of text."""

from codeprompt.template.parse import TemplateSyntaxError, parse
from codeprompt.template.render import TokenizerLike, count_fixed, render
from codeprompt.template.segments import Field, Mask, Segment, Soft, Start, Template, Text
from codeprompt.template.slots import initial_ids, kept_slots, resolve, slot_count, slot_indices

__all__ = [
    "Field",
    "Mask",
    "Segment",
    "Soft",
    "Start",
    "Template",
    "TemplateSyntaxError",
    "Text",
    "TokenizerLike",
    "count_fixed",
    "initial_ids",
    "kept_slots",
    "parse",
    "render",
    "resolve",
    "slot_count",
    "slot_indices",
]
