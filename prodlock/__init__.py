"""Build, run and prove a service whose production image contains what its lock file lists and nothing else.

`check(Project(FOLDER))` runs the full proof on the production image of a project and returns a Report. This package
imports nothing until one of these names is used: production contains it for `prodlock.server`.
"""

__version__ = "0.3.0"
__all__ = ["Failure", "Finding", "Project", "Report", "Rule", "__version__", "check"]

# Not typing.TYPE_CHECKING: type checkers treat any variable of this name alike, and `typing` would be an import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from prodlock.failure import Failure
    from prodlock.project import Project
    from prodlock.proof.check import check
    from prodlock.proof.report import Report
    from prodlock.proof.rules import Finding, Rule
else:
    _MODULES = {
        "Failure": "prodlock.failure",
        "Finding": "prodlock.proof.rules",
        "Project": "prodlock.project",
        "Report": "prodlock.proof.report",
        "Rule": "prodlock.proof.rules",
        "check": "prodlock.proof.check",
    }

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - see the module's docstring

        value: object = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value
