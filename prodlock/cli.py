"""The command `prodlock`, for a project in any folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from prodlock import __version__, failure
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.project import COMPOSE_FILES, is_file

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name
_ROOT_HELP = (
    "the project (default: the nearest folder, the current one or one above it, whose pyproject.toml has "
    "[tool.prodlock] or a Compose file beside it)"
)
_DEPLOY_HELP = "write the files of deploy/ as well, for HAProxy, Swarm and Kubernetes"
_WORKFLOW_HELP = "write a workflow of GitHub Actions as well, which checks each change and publishes"
_EXIT_CODES = """\
exit codes:
  0    {}
  1    {}
  2    {}
  130  interrupted
"""
_INVALID = "invalid command line"
_WRITTEN = ("written", "not possible: nothing is written", _INVALID)
_MERGED = (
    "written, or nothing to write",
    "not possible: nothing is written; or written with conflicts",
    f"no project; or {_INVALID}",
)
_JUDGED = ("no finding", "findings", f"no verdict: evidence is missing; or {_INVALID}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    code, message = failure.run(lambda: options.run(options))
    if message:
        print(message, file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prodlock",
        description="Move a service in, and prove that its production image contains what its lock file lists.",
        epilog="`prodlock COMMAND --help` lists the options and exit codes of a command.",
    )
    parser.add_argument("--version", action="version", version=f"prodlock {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    init = _command(
        commands, "init", _init, "move the project in this folder in, or start a new service here", _WRITTEN
    )
    init.add_argument("name", nargs="?", metavar="NAME", help="the name of a new service, in an empty folder")
    init.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of [tool.prodlock] instead of what is found, such as application=app.main:app; may be repeated",
    )
    init.add_argument("--deploy", action="store_true", help=_DEPLOY_HELP)
    init.add_argument("--workflow", action="store_true", help=_WORKFLOW_HELP)
    init.add_argument("--dry-run", action="store_true", help="print what would be written as a diff, and write nothing")

    upgrade = _command(
        commands, "upgrade", _upgrade, "write what [tool.prodlock] and this version give; merge your edits", _MERGED
    )
    upgrade.add_argument("--root", metavar="FOLDER", type=Path, help=_ROOT_HELP)
    upgrade.add_argument("--deploy", action="store_true", help=_DEPLOY_HELP)
    upgrade.add_argument("--workflow", action="store_true", help=_WORKFLOW_HELP)
    upgrade.add_argument("--dry-run", action="store_true", help="print the difference, and write nothing")

    check = _command(commands, "check", _check, "prove where every byte of the production image comes from", _JUDGED)
    check.add_argument("--root", metavar="FOLDER", type=Path, help=_ROOT_HELP)
    check.add_argument(
        "--image", help="another image, or a file that `docker save` wrote (default: the project's image `prod`)"
    )
    check.add_argument("--sbom", metavar="FILE", help="compare a CycloneDX file with the image as well")
    check.add_argument("--json", action="store_true", help="print the report as JSON")

    verify = _command(
        commands, "verify", _verify, "show where every byte of any image comes from, against the lock", _JUDGED
    )
    verify.add_argument(
        "image",
        metavar="IMAGE",
        help="an image of the Engine or, by its digest, of a registry; a file that `docker save` wrote; an OCI layout",
    )
    verify.add_argument(
        "--lock",
        action="append",
        default=[],
        metavar="FILE",
        type=Path,
        help="the lock (default: the one in [tool.prodlock], or else the only one in this folder); several lists of "
        "requirements are one lock",
    )
    verify.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME",
        help="a group that the image has; may be repeated (default: those in [tool.prodlock], or else main)",
    )
    verify.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="NAME",
        help="an extra that the image has; may be repeated (default: those in [tool.prodlock], or else none)",
    )
    verify.add_argument(
        "--base",
        metavar="REF",
        help="the base image, or the one that an image from scratch has copies of "
        "(default: the local image with the most of IMAGE's first layers)",
    )
    verify.add_argument(
        "--platform", default="", metavar="OS/ARCH", help="which image of several platforms, such as linux/arm64"
    )
    verify.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder of the project's sources; may be repeated (default: all files of the checked-out commit)",
    )
    verify.add_argument("--strict", action="store_true", help="report every file that nothing accounts for")
    verify.add_argument("--all", action="store_true", help="print every finding; with --json, every file")
    verify.add_argument(
        "--explain", metavar="PATH", help="print the origin of a path in every layer, or a rule by its code"
    )
    form = verify.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as JSON")
    form.add_argument("--sarif", action="store_true", help="print the findings in SARIF, for code scanning")
    verify.add_argument("--html", metavar="FILE", type=Path, help="write a page with a picture of the image as well")
    return parser


def _command(
    commands: _Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
    codes: tuple[str, str, str],
) -> argparse.ArgumentParser:
    """Add a command, and return its parser. Takes the meaning of the exit codes 0, 1 and 2."""
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EXIT_CODES.format(*codes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


# Each imports what it needs only then: `--version` and `--help` need none of it.
def _check(options: argparse.Namespace) -> int:
    """Run `prodlock check`."""
    from prodlock.docker import env_file  # noqa: PLC0415
    from prodlock.proof import check  # noqa: PLC0415

    return check.prod(env_file.project(find_root(options.root)), options.image, bill=options.sbom, as_json=options.json)


def _verify(options: argparse.Namespace) -> int:
    """Run `prodlock verify`."""
    from prodlock.origins import command  # noqa: PLC0415
    from prodlock.project import Project  # noqa: PLC0415

    chosen = command.Options(
        options.lock,
        options.group,
        options.extra,
        options.base,
        options.platform,
        options.source,
        options.strict,
        options.all,
    )
    output = command.Output(options.json, options.sarif, options.html, options.explain)
    return command.run(Project(Path.cwd()), options.image, chosen, output)


def _init(options: argparse.Namespace) -> int:
    """Run `prodlock init`."""
    from prodlock.scaffold import commands  # noqa: PLC0415

    chosen = commands.Options(options.deploy, options.workflow, options.dry_run)
    return commands.init(Path.cwd(), options.name, options.set, chosen)


def _upgrade(options: argparse.Namespace) -> int:
    """Run `prodlock upgrade`."""
    from prodlock.project import Project  # noqa: PLC0415
    from prodlock.scaffold import commands  # noqa: PLC0415

    chosen = commands.Options(options.deploy, options.workflow, options.dry_run)
    return commands.upgrade(Project(find_root(options.root)), chosen)


def find_root(given: Path | None) -> Path:
    """Return the folder of the project: the given one, or the nearest one at or above the current folder.

    Raises Failure where it is not a project.
    """
    start = (given or Path()).absolute()
    for folder in (start,) if given else (start, *start.parents):
        if _is_project(folder):
            return folder
    place = "" if given else " or a folder above it"
    raise Failure(
        f"{start}{place} must have pyproject.toml, with [tool.prodlock] in it or a Compose file beside it (got no such "
        "file). To fix it: name the project's folder with --root, or run `prodlock init`.",
        CANNOT_CHECK,
    )


def _is_project(folder: Path) -> bool:
    """Return whether a folder has pyproject.toml, and in it [tool.prodlock] or beside it a Compose file."""
    file = folder / "pyproject.toml"
    if not is_file(file):
        return False
    has_compose = any(is_file(folder / name) for name in COMPOSE_FILES)
    return has_compose or "[tool.prodlock]" in file.read_text(encoding="utf-8", errors="replace")
