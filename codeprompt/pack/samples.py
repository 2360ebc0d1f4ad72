"""A few functions to look at a prompt with, where the user names none."""

from __future__ import annotations

_CODE = {
    "python": (
        "read_lines",
        "def read_lines(path, limit=None):\n    with open(path) as file:\n"
        "        lines = [line.rstrip() for line in file]\n    return lines[:limit]",
    ),
    "java": (
        "indexOf",
        "public int indexOf(String[] names, String wanted) {\n"
        "    for (int i = 0; i < names.length; i++) {\n"
        "        if (names[i].equals(wanted)) {\n            return i;\n        }\n    }\n"
        "    return -1;\n}",
    ),
    "c": (
        "copy_name",
        "static char *copy_name(const struct entry *e)\n{\n    char *out = malloc(e->length);\n"
        "    if (!out)\n        return NULL;\n    memcpy(out, e->name, e->length);\n"
        "    out[e->length] = 0;\n    return out;\n}",
    ),
    "javascript": (
        "groupBy",
        "function groupBy(items, key) {\n  const groups = new Map();\n"
        "  for (const item of items) {\n    const name = key(item);\n"
        "    if (!groups.has(name)) groups.set(name, []);\n    groups.get(name).push(item);\n"
        "  }\n  return groups;\n}",
    ),
}


def sample_rows() -> list[dict[str, str]]:
    """Four functions in four languages, with every field that a template of ours asks for."""
    return [
        {
            "code": code,
            "raw_code": code,
            "language": language,
            "target_language": "csharp",
            "name": name,
            "qualified_name": name,
            "class": "",
            "path": f"src/{name}.{language}",
            "imports": "",
        }
        for language, (name, code) in _CODE.items()
    ]
