"""The generated reference says what the code says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_setting_is_explained(generator: ModuleType) -> None:
    rooms = {kind.room for kind in generator.settings_classes()}
    assert {"hub", "web", "logs", "store", "security", "health", "telemetry", "errors", "noufal"} <= rooms
    assert generator.undocumented() == []


@pytest.mark.parametrize("name", ["settings.md", "http.md"])
def test_the_page_is_up_to_date(generator: ModuleType, name: str) -> None:
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == generator.PAGES[name](), f"run: python docs/generate.py (docs/reference/{name} is stale)"
