"""Reads a checkpoint folder's tokenizer files: an engine of `tokenizers` and its special tokens."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from codeprompt.backbones._folder import DECODERS
from codeprompt.errors import BackboneError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine

BYTE_LEVEL = {"Roberta", "CodeT5", "GPT2", "Bart", "Longformer", ""}
"""`tokenizer_class` without `Tokenizer[Fast]`: read from `vocab.json` and `merges.txt`."""
QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2's tokenizer cuts a text before its merges."""
ROLES = ("pad", "bos", "eos", "unk", "mask", "cls", "sep")
ROBERTA_TOKENS = {
    "pad": "<pad>",
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "mask": "<mask>",
    "cls": "<s>",
    "sep": "</s>",
}


def read_tokenizer(folder: Path) -> tuple[Engine, dict[str, str], str]:
    """The engine, role (`pad`, `bos`, ...) to token text, and a hash of what was read.

    The hash is over what the files mean, not over how the library would write it: a newer library
    must not make another backbone of the same files.
    """
    config = _read_json(folder / "tokenizer_config.json", {})
    special = _read_json(folder / "special_tokens_map.json", {})
    whole, parts = folder / "tokenizer.json", (folder / "vocab.json", folder / "merges.txt")
    kind = re.sub(r"Tokenizer(Fast)?$", "", str(config.get("tokenizer_class") or ""))
    model = _read_json(folder / "config.json", {})
    decoder_only = isinstance(model, dict) and model.get("model_type") in DECODERS
    by_parts = kind in BYTE_LEVEL and not decoder_only  # theirs split digits as only `whole` says
    if all(p.is_file() for p in parts) and (by_parts or not whole.is_file()):
        return _from_parts(folder, config, special, qwen=model.get("model_type") == "qwen2")
    if whole.is_file():
        return _from_whole(whole, config, special)
    raise BackboneError(
        f"{folder} has no tokenizer",
        expected="vocab.json with merges.txt, or tokenizer.json",
    )


def _from_parts(
    folder: Path, config: dict[str, Any], special: dict[str, Any], *, qwen: bool = False
) -> tuple[Engine, dict[str, str], str]:
    """Byte-level BPE from `vocab.json` and `merges.txt`; Qwen2 cuts texts by a rule of its own."""
    from tokenizers import Tokenizer as Engine
    from tokenizers import decoders, models, pre_tokenizers, processors

    vocab: dict[str, int] = _read_json(folder / "vocab.json")
    merges = _read_merges(folder / "merges.txt")
    try:
        engine = Engine(models.BPE(vocab=vocab, merges=merges, fuse_unk=False))
    except Exception as error:
        raise BackboneError(
            f"{folder}: vocab.json and merges.txt do not belong together ({error})"
        ) from error
    space = bool(config.get("add_prefix_space", False))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    engine.decoder = decoders.ByteLevel()
    if qwen:
        return _qwen(engine, folder, config, special, [vocab, merges, space])
    tokens = {**ROBERTA_TOKENS, **_roles(config, special)}
    added = _add_tokens(engine, folder, config, special, tokens)
    sep, cls = (cast(int, engine.token_to_id(tokens[role])) for role in ("sep", "cls"))
    engine.post_processor = processors.RobertaProcessing(
        (tokens["sep"], sep),
        (tokens["cls"], cls),
        trim_offsets=True,
        add_prefix_space=space,
    )
    ordered = sorted(vocab.items(), key=lambda pair: pair[1])
    return engine, tokens, _hash([ordered, merges, added, space, sorted(tokens.items())])


def _qwen(
    engine: Engine,
    folder: Path,
    config: dict[str, Any],
    special: dict[str, Any],
    content: list[Any],
) -> tuple[Engine, dict[str, str], str]:
    """Qwen2's rule for cutting texts, and nothing around them."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    end = "<|endoftext|>"
    tokens = {"pad": end, "eos": end, "unk": end, **_roles(config, special)}
    engine.normalizer = normalizers.NFC()
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=content[2], use_regex=False),
        ]
    )
    added = _add_tokens(engine, folder, config, special, tokens)
    ordered = sorted(content[0].items(), key=lambda pair: pair[1])
    return engine, tokens, _hash([ordered, *content[1:], added, sorted(tokens.items()), "qwen2"])


def _from_whole(
    path: Path, config: dict[str, Any], special: dict[str, Any]
) -> tuple[Engine, dict[str, str], str]:
    """Everything from `tokenizer.json`; the roles of tokens from the files beside it,
    else from the ids in config.json, else from their usual names.
    """
    from tokenizers import Tokenizer as Engine

    try:
        engine = Engine.from_file(str(path))
    except Exception as error:
        raise BackboneError(f"{path} cannot be read: {error}") from error
    vocab = engine.get_vocab(with_added_tokens=True)
    usual = {role: text for role, text in ROBERTA_TOKENS.items() if text in vocab}
    model = _read_json(path.parent / "config.json", {})
    by_id = {
        role: text
        for role in ("pad", "bos", "eos")
        if isinstance(id := _first_of(model.get(f"{role}_token_id")), int)
        and (text := engine.id_to_token(id)) is not None
    }
    tokens = {**usual, **by_id, **_roles(config, special)}
    if model.get("model_type") in DECODERS:
        _check_byte_level(engine, path)
        tokens.setdefault("pad", tokens.get("eos", ""))  # many never needed one
    content = _read_json(path)
    for key in ("version", "truncation", "padding"):
        content.pop(key, None)
    return engine, tokens, _hash([content, sorted(tokens.items())])


def _check_byte_level(engine: Engine, path: Path) -> None:
    """Raise `BackboneError` where pieces of a text cannot be tokenised by themselves."""
    if "ByteLevel" not in str(engine.pre_tokenizer):
        raise BackboneError(
            f"{path} is no byte-level tokenizer (SentencePiece puts a space before every piece)",
            expected="byte-level BPE, as Llama 3, Qwen2.5-Coder, SmolLM and DeepSeek-Coder have",
            do="Choose another checkpoint",
        )


def _add_tokens(
    engine: Engine,
    folder: Path,
    config: dict[str, Any],
    special: dict[str, Any],
    tokens: dict[str, str],
) -> list[tuple[str, int | None, dict[str, bool]]]:
    """Register special tokens with the flags the files give, in the order of their ids.

    Gives them back with their ids and flags.
    """
    from tokenizers import AddedToken

    entries: dict[str, tuple[int | None, dict[str, Any]]] = {}

    def note(item: Any, id: int | None = None, **defaults: Any) -> None:
        flags = {"content": item} if isinstance(item, str) else dict(item)
        content = flags.pop("content")
        # The first to speak of a token wins: tokenizer_config.json, then the map, then a list.
        if content not in entries:
            entries[content] = (id, {"special": True, **defaults, **flags})

    for key, item in config.get("added_tokens_decoder", {}).items():
        note(item, int(key))
    for role in ROLES:
        item = special.get(f"{role}_token", config.get(f"{role}_token", tokens.get(role)))
        if item:
            # RoBERTa's mask takes the space before it, as transformers 4 had it (5 does not
            # where the files give no flags, but the checkpoints were trained this way).
            note(item, lstrip=role == "mask") if isinstance(item, str) else note(item)
    for source in (special, config):
        for item in source.get("additional_special_tokens") or ():
            note(item)
    for content, id in sorted(
        _read_json(folder / "added_tokens.json", {}).items(), key=lambda pair: pair[1]
    ):
        note({"content": content, "special": False}, id)

    out: list[tuple[str, int | None, dict[str, bool]]] = []
    known = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for content, (id, flags) in sorted(
        entries.items(), key=lambda entry: math.inf if entry[1][0] is None else entry[1][0]
    ):
        kept = {key: bool(value) for key, value in flags.items() if key in known}
        engine.add_tokens([AddedToken(content, **kept)])
        if id is not None and engine.token_to_id(content) != id:
            raise BackboneError(
                f"{folder}: the token '{content}' would get id {engine.token_to_id(content)}",
                expected=f"id {id}, as the tokenizer's files say",
                do="Check that vocab.json is the one the checkpoint was trained with",
            )
        out.append((content, engine.token_to_id(content), kept))
    return out


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _first_of(ids: Any) -> Any:
    """Llama 3 has several end tokens; the first one ends a text."""
    return ids[0] if isinstance(ids, list) and ids else ids


def _roles(config: dict[str, Any], special: dict[str, Any]) -> dict[str, str]:
    """Role to token text, from `special_tokens_map.json` before `tokenizer_config.json`."""
    out: dict[str, str] = {}
    for role in ROLES:
        item = special.get(f"{role}_token") or config.get(f"{role}_token")
        if item:
            out[role] = item if isinstance(item, str) else item["content"]
    return out


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").split("\n")
    out: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.rstrip("\r").partition(" ")
        if not right or " " in right:
            raise BackboneError(f"{path}, line {number}: '{line}' is not a pair of tokens")
        out.append((left, right))
    return out


def _read_json(path: Path, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackboneError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read: {error}") from error
