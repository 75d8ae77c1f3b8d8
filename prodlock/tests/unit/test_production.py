"""The end of `inv serve`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from prodlock import source
from prodlock.docker import containers, images, production
from prodlock.failure import Failure, Terminated
from prodlock.project import Project


class Output:
    """An output that can't be written, or that is being written as an interruption comes."""

    def __init__(self, end: BaseException) -> None:
        self._end = end

    def write(self, _: str) -> int:
        """Raise the end of the write."""
        raise self._end


@pytest.mark.parametrize(
    ("detach", "end", "at_address", "is_raised"),
    [
        (False, KeyboardInterrupt(), False, False),
        # Who reads the address may interrupt at once.
        (False, KeyboardInterrupt(), True, False),
        (False, Terminated(), False, False),
        (False, Failure("It stopped."), False, True),
        (False, BrokenPipeError(), False, True),
        (True, BrokenPipeError(), True, True),
        (True, KeyboardInterrupt(), True, True),
        (True, None, False, False),
    ],
)
def test_only_a_detached_service_runs_on(  # noqa: PLR0913 - a row of the table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    detach: bool,
    end: BaseException | None,
    at_address: bool,
    is_raised: bool,
) -> None:
    """Whatever ends the others: an interruption, a service that stops, an output that nothing reads any more."""
    (tmp_path / "docker-compose.yml").write_text("name: shop\n", encoding="utf-8")
    created = [containers.parse(Project(), "1\tshop-api-prod-1\t\t\t\tshop\tapi-prod\t\t\t")]
    removed = []

    def ended(*_: object) -> None:
        if end:
            raise end

    for module, names in (
        (production, ("_remove_leftovers", "check_settings", "_start")),
        (images, ("build",)),
        (source, ("commit",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *_, **__: None)
    monkeypatch.setattr(production, "_create", lambda *_: created)
    monkeypatch.setattr(production, "_stream_logs", ended)
    monkeypatch.setattr(containers, "remove", lambda _, some, __: removed.extend(some))
    if end and at_address:
        monkeypatch.setattr(sys, "stdout", Output(end))
    with pytest.raises(type(end)) if end and is_raised else contextlib.nullcontext():
        production.serve(Project(tmp_path, {}), "8001", detach=detach)
    assert removed == (created if end else [])
