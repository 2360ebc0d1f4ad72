"""Ruby: RDoc or YARD comments before methods."""

from __future__ import annotations

from codeprompt.languages.base import Language

LANGUAGE = Language(
    name="ruby",
    title="Ruby",
    aliases=("rb",),
    extensions=(".rb", ".rake"),
    grammars=("tree_sitter_ruby:language",),
    functions=("method", "singleton_method"),
    scopes=("class", "module"),
    comments=("comment",),
    outers=("call",),
    docs="before",
    doc_openings=("#", "=begin"),
    line_comments=("##", "#"),
    imports=("call",),
    tests=("*_test.rb", "*_spec.rb", "test_*.rb"),
)
