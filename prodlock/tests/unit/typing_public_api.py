"""Uses of the public API for mypy, which `inv lint` runs; they are never executed.

An expected error has a `type: ignore`: mypy reports it as unused where the error does not occur.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import prodlock


def correct() -> None:
    """Use each public name as documented."""
    report = prodlock.check(prodlock.Project(Path()), "quotes:prod")
    assert_type(report, prodlock.Report)
    for finding in report.findings:
        assert_type(finding, prodlock.Finding)
        assert_type(finding.rule, prodlock.Rule)
        assert_type(finding.rule.code, str)
    verified = prodlock.verify(prodlock.Project(Path()), "shop:latest", prodlock.VerifyOptions(strict=True))
    assert_type(verified, prodlock.VerifyReport)
    assert_type(verified.clean, bool)
    assert_type(prodlock.Failure("message").code, int)
    assert_type(prodlock.__version__, str)


def wrong() -> None:
    """Use names and arguments that do not exist."""
    prodlock.check("folder")  # type: ignore[arg-type]
    prodlock.check()  # type: ignore[call-arg]
    prodlock.prove()  # type: ignore[attr-defined]
