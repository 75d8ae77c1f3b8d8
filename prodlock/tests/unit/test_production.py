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


class Closed:
    """An output whose reader has ended."""

    def write(self, _: str) -> int:
        """Raise what the system reports."""
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("detach", "end", "is_raised"),
    [
        (False, KeyboardInterrupt(), False),
        (False, Terminated(), False),
        (False, Failure("It stopped."), True),
        (False, BrokenPipeError(), True),
        (True, BrokenPipeError(), True),
        (True, None, False),
    ],
)
def test_only_a_detached_service_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, detach: bool, end: BaseException | None, is_raised: bool
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
    if detach and end:
        monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(type(end)) if end and is_raised else contextlib.nullcontext():
        production.serve(Project(tmp_path, {}), "8001", detach=detach)
    assert removed == (created if end else [])
