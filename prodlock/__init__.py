"""Build, run and prove a service whose production image contains what its lock file lists and nothing else.

`check(Project(FOLDER))` runs the whole proof on the production image of a project and returns a Report;
`verify(Project(FOLDER), IMAGE)` gives every file of any image its origin and returns a VerifyReport. This package
imports nothing until one of these names is used: production contains it for `prodlock.server`.
"""

__version__ = "0.3.0"
__all__ = [
    "Failure",
    "Finding",
    "Project",
    "Report",
    "Rule",
    "VerifyOptions",
    "VerifyReport",
    "__version__",
    "check",
    "verify",
]

# Not typing.TYPE_CHECKING: type checkers treat any variable of this name alike, and `typing` would be an import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from prodlock.failure import Failure
    from prodlock.origins.command import Options as VerifyOptions
    from prodlock.origins.command import verify
    from prodlock.origins.report import VerifyReport
    from prodlock.project import Project
    from prodlock.proof.check import check
    from prodlock.proof.report import Report
    from prodlock.proof.rules import Finding, Rule
else:
    # The module of each name, and its name there.
    _MODULES = {
        "Failure": ("prodlock.failure", "Failure"),
        "Finding": ("prodlock.proof.rules", "Finding"),
        "Project": ("prodlock.project", "Project"),
        "Report": ("prodlock.proof.report", "Report"),
        "Rule": ("prodlock.proof.rules", "Rule"),
        "VerifyOptions": ("prodlock.origins.command", "Options"),
        "VerifyReport": ("prodlock.origins.report", "VerifyReport"),
        "check": ("prodlock.proof.check", "check"),
        "verify": ("prodlock.origins.command", "verify"),
    }

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - see the module's docstring

        module, attribute = _MODULES[name]
        value: object = getattr(import_module(module), attribute)
        globals()[name] = value
        return value
