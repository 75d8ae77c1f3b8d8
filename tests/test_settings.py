"""The service's settings come from environment variables, and a wrong one stops the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import PREFIX, Settings


def test_unset_variables_leave_the_defaults() -> None:
    """An empty environment is valid; other variables are ignored."""
    assert Settings.from_environment({"PATH": "/bin", "APPLE": "x"}) == Settings()


def test_a_variable_sets_its_field() -> None:
    """The variable is the field's name in capitals behind APP_."""
    assert Settings.from_environment({"APP_NAME": "other"}) == Settings(name="other")


def test_a_wrong_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable and repeats the value; the process exits with code 1."""
    monkeypatch.setenv("APP_NAME", "")
    with pytest.raises(SystemExit, match=r"^APP_NAME must be valid: .* \(got ''\)\. To fix it: "):
        create_app()


def test_a_missing_variable_stops_the_start() -> None:
    """The message names the variable, and repeats no value of another: it may be a password."""

    class Required(Settings):
        address: str

    with pytest.raises(SystemExit, match=r"^APP_ADDRESS must be set \(got nothing\)\. To fix it: ") as caught:
        Required.from_environment({"APP_NAME": "a-password"})
    assert "a-password" not in str(caught.value)


def test_the_example_lists_every_setting() -> None:
    """.env.example has each field's variable below a comment, commented out and with its default."""
    text = Path(".env.example").read_text(encoding="utf-8")
    example = dict(re.findall(r"^# .+\n#(\w+)=(.*)$", text, re.MULTILINE))
    assert {PREFIX + field.upper() for field in Settings.model_fields} <= set(example)
    assert Settings.from_environment(example) == Settings()
