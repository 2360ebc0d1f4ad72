"""Findings as SARIF 2.1.0, the format that code hosts read (OASIS standard, 27 March 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from codeprompt import __version__
from codeprompt.check.findings import Finding
from codeprompt.check.fingerprint import KEY

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
ROOT = "SRCROOT"


def sarif(
    findings: Sequence[Finding], *, task: str, pack: str, summary: str, root: Path
) -> dict[str, Any]:
    """A log of one run. Paths under `root` are given relative to it.

    A finding that reaches `--fail-on` has the level `error`, another `warning`.
    """
    rule = {
        "id": f"codeprompt/{task}",
        "name": "".join(part.capitalize() for part in task.split("-")),
        "shortDescription": {"text": summary[:1].upper() + summary[1:]},
        "defaultConfiguration": {"level": "warning"},
        "properties": {"tags": ["codeprompt", task], "pack": pack},
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "codeprompt",
                        "semanticVersion": __version__,
                        "rules": [rule],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, rule["id"], root) for finding in findings],
            }
        ],
    }


def _result(finding: Finding, rule: Any, root: Path) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "ruleIndex": 0,
        "level": "error" if finding.fails else "warning",
        "message": {
            "text": f"'{finding.function}' looks {finding.label} (probability {finding.score:.2f})"
        },
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _place(finding.file, root),
                    "region": {"startLine": finding.start_line, "endLine": finding.end_line},
                },
                "logicalLocations": [{"fullyQualifiedName": finding.function, "kind": "function"}],
            }
        ],
        **_related(finding, root),
        "partialFingerprints": {KEY: finding.fingerprint},
        "properties": {"probability": finding.score},
    }


def _related(finding: Finding, root: Path) -> dict[str, Any]:
    """The lines that a labelling pack tells."""
    if not finding.lines:
        return {}
    places = [
        {
            "id": number,
            "physicalLocation": {
                "artifactLocation": _place(finding.file, root),
                "region": {"startLine": line},
            },
            "message": {"text": f"probability {score:.2f}"},
        }
        for number, (line, score) in enumerate(finding.lines)
    ]
    return {"relatedLocations": places}


def _place(file: Path, root: Path) -> dict[str, str]:
    """A relative URI under `root`, else an absolute one."""
    absolute = file.resolve()
    try:
        inside: PurePath = absolute.relative_to(root.resolve())
    except ValueError:
        return {"uri": absolute.as_uri()}
    name = inside.as_posix().encode("utf-8", "surrogateescape")
    return {"uri": quote(name), "uriBaseId": ROOT}
