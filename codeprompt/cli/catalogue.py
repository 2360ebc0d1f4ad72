"""What `list` shows and shells complete: names with one line each, without torch."""

from __future__ import annotations

from collections.abc import Callable

from codeprompt.registry import LANGUAGES, METHODS, METRICS, TASKS, Registry

Items = list[tuple[str, str]]


def of(registry: Registry) -> Callable[[], Items]:
    """Every name of a registry with its summary."""
    return lambda: [(name, registry.summary(name)) for name in registry.names()]


def methods() -> Items:
    """Every method, and how several are one."""
    both = "Several methods in one pack, trained together: soft+lora; on a tuned pack: tuned+lora"
    return [*of(METHODS)(), ("NAME+NAME", both)]


def languages() -> Items:
    """Every language with the endings of its files."""
    found = [LANGUAGES.get(name) for name in LANGUAGES.names()]
    return [
        (one.name, f"{LANGUAGES.summary(one.name)} ({', '.join(one.extensions)})") for one in found
    ]


def backbones() -> Items:
    """What ships, then the families of checkpoints that a hub id or a folder may hold."""
    from codeprompt.backbones.checkpoint import SUPPORTED, builtins, newest_builtin

    roles = {
        "builtin": "the newest that ships",
        "builtin-encoder": "the newest encoder that ships, for clozes",
    }
    items = [
        (name, f"{what}: {newest}")
        for name, what in roles.items()
        if (newest := newest_builtin(name))
    ]
    items += [(name, "ships with codeprompt") for name in builtins()]
    items += [(f"HUB_ID or DIR ({kind})", what) for kind, what in sorted(SUPPORTED.items())]
    return items


def recipes() -> Items:
    """Every recipe with its own summary."""
    from codeprompt.recipes import names, read

    return [(name, str(read(name).get("summary", ""))) for name in names()]


def packs() -> Items:
    """Every pack that a name finds, with what its card says; a broken card is told as such."""
    from codeprompt.errors import PackError
    from codeprompt.pack import available
    from codeprompt.pack.card import decode

    items = []
    for name, path, where in available():
        try:
            card = decode((path / "card.json").read_bytes(), str(path))
            what = f"{card.task}, {card.method} on {card.backbone.name} ({where})"
        except (OSError, PackError) as error:
            what = f"not readable ({where}): {error}"
        items.append((name, what))
    return items


def pack_names() -> list[str]:
    """Names alone, for the shell."""
    from codeprompt.pack import available

    return [name for name, _, _ in available()]


KINDS: dict[str, Callable[[], Items]] = {
    "tasks": of(TASKS),
    "methods": methods,
    "metrics": of(METRICS),
    "backbones": backbones,
    "languages": languages,
    "recipes": recipes,
    "packs": packs,
}
