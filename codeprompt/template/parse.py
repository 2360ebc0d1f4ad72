r"""The template language, read by a small parser of its own: nothing in a template is evaluated.

    template    = { hard words | "{{" | "}}" | "{" placeholder "}" }
    placeholder = "mask"
                | "start"
                | "soft" [ ":" count ] { ("init" | "share") "=" string }
                | field [ ":" ("cut" | "keep") ]
    string      = '"' ... '"'  or  "'" ... "'", with \\ \" \' \n \t \r

`{{` and `}}` are literal braces. A field that says neither `cut` nor `keep` may be cut if it is
called code, source, func or function, or if it is the template's only field.
"""

from __future__ import annotations

import re
from typing import NoReturn

from codeprompt.errors import TemplateError
from codeprompt.template.segments import (
    ESCAPES,
    NAME,
    Field,
    Mask,
    Segment,
    Soft,
    Start,
    Template,
    Text,
    cut_by_default,
)

_PLAIN = re.compile(r"[^{}]+")
_SPACE = re.compile(r"\s*")
_DIGITS = re.compile(r"[0-9]+")
_CONTEXT = 60


class TemplateSyntaxError(TemplateError):
    """A template that does not parse; `position` counts characters from 0."""

    def __init__(self, text: str, position: int, what: str, *, expected: str = "", do: str = ""):
        self.position = position
        start = text.rfind("\n", 0, position) + 1
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        start, end = max(start, position - _CONTEXT), min(end, position + _CONTEXT)
        line = text[start:end].replace("\t", " ")
        super().__init__(
            f"The template does not parse:\n  {line}\n  {' ' * (position - start)}^ "
            f"character {position + 1}: {what}",
            expected=expected,
            do=do,
        )


def parse(text: str) -> Template:
    """Parse a template. Raises `TemplateSyntaxError`, whose message points at the place."""
    return _Parser(text).template()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def template(self) -> Template:
        out: list[Segment | tuple[str, bool | None]] = []
        while self.at < len(self.text):
            if plain := _PLAIN.match(self.text, self.at):
                out.append(Text(plain.group()))
                self.at = plain.end()
            elif self.text.startswith(("{{", "}}"), self.at):
                out.append(Text(self.text[self.at]))
                self.at += 2
            elif self.text[self.at] == "}":
                self.fail(self.at, "a '}' that closes nothing", do="Write '}}' for a literal brace")
            else:
                out.append(self.placeholder())
        names = {item[0] for item in out if isinstance(item, tuple)}
        return Template(tuple(_field(i, names) if isinstance(i, tuple) else i for i in out))

    def placeholder(self) -> Segment | tuple[str, bool | None]:
        """A segment, or a field's name with what it says about cutting."""
        start = self.at
        self.at += 1
        self.skip_space()
        name = self.match(NAME)
        if not name:
            self.fail(
                self.at,
                f"no name after '{{', but {self.here()}",
                expected="a field such as {code}, or {soft} or {mask}",
                do="Write '{{' for a literal brace",
            )
        result: Segment | tuple[str, bool | None]
        if name == "mask":
            result = Mask()
        elif name == "start":
            result = Start()
        elif name == "soft":
            result = self.soft(start)
        else:
            result = (name, self.field_option())
        self.skip_space()
        if self.at >= len(self.text):
            self.fail(start, "a '{' that is not closed", expected="a '}'")
        if self.text[self.at] != "}":
            wanted = {
                "mask": "'}', as {mask} takes no options",
                "start": "'}', as {start} takes no options",
                "soft": '\'}\', or an option: {soft:20 init="a text" share="a name"}',
            }.get(name, f"'}}', {{{name}:cut}} or {{{name}:keep}}")
            self.fail(
                self.at,
                f"{self.here()} inside {{{name} ...}}",
                expected=wanted,
                do="Write '{{' for a literal brace",
            )
        self.at += 1
        return result

    def field_option(self) -> bool | None:
        if not self.take(":"):
            return None
        at = self.at
        word = self.match(NAME)
        if word not in ("cut", "keep"):
            self.fail(at, f"'{word or self.text[at : at + 1]}' after ':'", expected="cut or keep")
        return word == "cut"

    def soft(self, start: int) -> Soft:
        count: int | None = None
        if self.take(":"):
            at = self.at
            digits = self.match(_DIGITS)
            if not digits:
                self.fail(at, f"{self.here()} after ':'", expected="a count, as in {soft:20}")
            count = int(digits[:9])
        options: dict[str, str] = {}
        while True:
            self.skip_space()
            at = self.at
            key = self.match(NAME)
            if not key:
                break
            if key not in ("init", "share"):
                self.fail(at, f"the option '{key}'", expected="init or share")
            if key in options:
                self.fail(at, f"a second '{key}'")
            if not self.take("="):
                self.fail(self.at, f"{self.here()} after '{key}'", expected=f'{key}="..."')
            options[key] = self.string()
        try:
            return Soft(count, options.get("init"), options.get("share"))
        except TemplateError as error:
            self.fail(start, error.found[0].lower() + error.found[1:], expected=error.expected)

    def string(self) -> str:
        start = self.at
        mark = self.text[start : start + 1]
        if mark not in ('"', "'") or not mark:
            self.fail(start, f"{self.here()} after '='", expected="a text in quotes")
        self.at += 1
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == mark:
                return "".join(out)
            if char == "\\":
                escaped = self.text[self.at : self.at + 1]
                if escaped not in ESCAPES:
                    self.fail(self.at - 1, f"the escape '\\{escaped}'", expected=r"\\ \" \' \n \t")
                self.at += 1
                char = ESCAPES[escaped]
            out.append(char)
        self.fail(start, "a quote that is not closed", expected=f"a {mark}")

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found.group()

    def take(self, char: str) -> bool:
        if not self.text.startswith(char, self.at):
            return False
        self.at += 1
        return True

    def skip_space(self) -> None:
        self.match(_SPACE)

    def here(self) -> str:
        return f"'{self.text[self.at]}'" if self.at < len(self.text) else "the end"

    def fail(self, position: int, what: str, *, expected: str = "", do: str = "") -> NoReturn:
        raise TemplateSyntaxError(self.text, position, what, expected=expected, do=do)


def _field(item: tuple[str, bool | None], names: set[str]) -> Field:
    name, said = item
    return Field(name, cut_by_default(name, names) if said is None else said)
