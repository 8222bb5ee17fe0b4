"""Every action that the platform or noufal records has a name in both languages on the page *Audit*."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path


def recorded(sources: list) -> Iterator[str]:
    """Yield the second argument of every `….record(…)` that is written out."""
    for source in sources:
        for node in source.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "record" and len(node.args) > 1:
                action = node.args[1]
                if isinstance(action, ast.Constant) and str(action.value).isupper():
                    yield str(action.value).lower()


def test_recorded_actions_have_a_name_in_both_languages(sources: list, root: Path) -> None:
    actions = set(recorded(sources))
    assert {"create", "erase", "verify"} <= actions
    for lang in ("ar", "en"):
        messages = json.loads((root / "ui" / "messages" / f"{lang}.json").read_text(encoding="utf-8"))
        assert {action for action in actions if f"audit.did.{action}" not in messages} == set(), lang
