"""Build and run the tools beside the two images: the stages of prodlock/inside/Dockerfile."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from prodlock import generated, site
from prodlock.docker import compose, dockerfile, engine, images
from prodlock.failure import Failure
from prodlock.project import Project

# The folder of the build steps' programs, which may be outside the build context.
INSIDE = Path(__file__).parents[1] / "inside"
# Where a container of the working tree has the package.
_PACKAGES = "/opt/prodlock"
# The tools, each with the Debian packages that it needs beside its group of requirements.
TOOLS = {
    "poetry": "", "lint": "", "audit": "", "loop": "", "reload": "", "sbom": "", "deploy": "kubernetes-client",
    "checkov": "", "fuzz": "", "sign": "cosign",
}  # fmt: skip
# The tools that have more than their group, or none, and their stages.
_STAGES = {"lint": "beside-dev", "reload": "beside-dev", "loop": "on-dev", "audit": "audit", "sign": "sign"}
# What a tool that makes a version from git reads instead, in a container without git. A lock has no such version.
_VERSIONS = {
    "SETUPTOOLS_SCM_PRETEND_VERSION": "0",
    "PDM_BUILD_SCM_VERSION": "0",
    "UV_DYNAMIC_VERSIONING_BYPASS": "0",
}
# The names of an address that leads to the machine itself, which a container reaches in its network alone.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def poetry(project: Project, arguments: list[str]) -> int:
    """Run Poetry on this project's pyproject.toml and poetry.lock, and return its exit code."""
    given = site.environment(project)
    settings = {"POETRY_PYPI_MIRROR_URL": given["INDEX_URL"]} | poetry_logins(project, given)
    return _locking_tool(project, ["poetry", *arguments], settings)


def uv(project: Project, arguments: list[str]) -> int:
    """Run uv on this project's pyproject.toml and uv.lock, and return its exit code.

    It uses the image's Python, and changes no environment.
    """
    given = site.environment(project)
    fixed = {
        "UV_CACHE_DIR": "/tmp/uv",  # noqa: S108 - in the container
        "UV_NO_SYNC": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON_PREFERENCE": "system",
    }
    indexes = {"UV_DEFAULT_INDEX": given["INDEX_URL"], "UV_INDEX": given["EXTRA_INDEX_URL"]}
    if _has_dynamic_version(project):
        fixed |= _VERSIONS
    # An empty variable would name no index.
    settings = fixed | {name: address for name, address in indexes.items() if address}
    return _locking_tool(project, ["uv", *arguments], settings)


def _has_dynamic_version(project: Project) -> bool:
    """Return whether a build of the project, or of a member of its workspace, makes a version.

    Then uv builds it, to read what it needs. uv reports a pyproject.toml that it can't read.
    """
    for path in generated.lock_inputs(project):
        if Path(path).name == "pyproject.toml":
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                described = tomllib.loads((project.root / path).read_text(encoding="utf-8"))
                if "version" in described["project"]["dynamic"]:
                    return True
    return False


def _locking_tool(project: Project, command: list[str], settings: Mapping[str, str]) -> int:
    """Run a tool of the stage `poetry` on the working tree, with the site's certificates."""
    image = build(project, "poetry")
    given = site.environment(project)
    # The container sees the working tree only, so that the bundle is copied there; CA_BUNDLE may already name the copy,
    # which is read before it is written. The address is passed by name, because it may contain a password.
    site.export(project, Path(given["CA_BUNDLE"]).read_bytes())
    bundle = site.EXPORTED.as_posix()
    variables = ["--env=HOME=/tmp", *(f"--env={name}" for name in settings), f"--env=CA_BUNDLE=/srv/{bundle}"]
    if given["NETRC"]:
        variables.append(mounted(Path(given["NETRC"]), "/run/secrets/netrc", ":ro"))
    run = ("run", "--rm", "--init", *on_working_tree(project), *variables, image, "online", *command)
    return engine.run(project, *run, env=settings)


def poetry_logins(project: Project, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that give Poetry the logins in EXTRA_INDEX_URL for its sources on the same hosts.

    Poetry reads the netrc file as well, and reports a pyproject.toml that it can't read.
    """
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        described = tomllib.loads((project.root / "pyproject.toml").read_text(encoding="utf-8"))
        for source in described["tool"]["poetry"]["source"]:
            if login := site.login(given, source.get("url", "")):
                name = "POETRY_HTTP_BASIC_" + re.sub(r"[^A-Z0-9]", "_", source["name"].upper())
                found |= {f"{name}_USERNAME": login[0], f"{name}_PASSWORD": login[1]}
    return found


def audit(project: Project) -> str:
    """Ask the vulnerability service about the locked distributions, and return what inside/audit.py prints."""
    address = site.audit_url(project)
    image = build(project, "audit")
    site.export(project, Path(site.environment(project)["CA_BUNDLE"]).read_bytes())
    options = [mounted(project.root / site.EXPORTED, "/run/secrets/ca_bundle", ":ro"), *_as_this_user()]
    if urlsplit(address).hostname in _LOOPBACK:
        options.append("--network=host")
    # The address is passed by name, because it may contain a password.
    command = ("run", "--rm", "--init", *options, "--env=AUDIT_URL", image, "online", "python", "/srv/audit.py")
    return engine.output(project, *command, echo=True, env={"AUDIT_URL": address})


def build(project: Project, stage: str) -> str:
    """Build a tool, or `golden`, and return its image's name. Raises Failure where that fails."""
    settings = site.environment(project)
    tag = f"{compose.project_name(project)}:{stage}"
    described = generated.lock_arguments(project.configuration, "/lock")
    arguments = {"BASE": dockerfile.default(project, "BASE"), "LOCK": " ".join(described)}
    if stage in TOOLS:
        arguments |= {"GROUP": stage, "PACKAGES": TOOLS[stage]}
        if _STAGES.get(stage, "").endswith("dev"):
            images.build(project, compose.DEV, made_from=None)
            arguments["DEV"] = f"{compose.project_name(project)}:{compose.DEV[1]}"
    else:
        # The Debian packages that the Dockerfile adds to the base image by default.
        arguments["PACKAGES"] = dockerfile.default(project, "PACKAGES")
    # Never with `..`, which Docker may apply to the link by which a user has entered the project's folder.
    inside = INSIDE.relative_to(project.root) if INSIDE.is_relative_to(project.root) else INSIDE
    options = [f"--build-arg={name}={value}" for name, value in arguments.items() if value]
    target = _STAGES.get(stage, "tool" if stage in TOOLS else stage)
    command = (
        "build", f"--file={inside}/Dockerfile", f"--build-context=prodlock={inside}", f"--target={target}",
        f"--tag={tag}", *options, *site.secrets(settings),
    )  # fmt: skip
    try:
        with _locks(project) as locks:
            engine.build(project, *command, f"--build-context=locks={locks}", ".", env=settings)
    except Failure as failure:
        # BuildKit prints a Dockerfile without its folder.
        message = str(failure).replace("at Dockerfile:", f"at {inside}/Dockerfile:", 1)
        raise Failure(message, failure.code) from None
    return tag


@contextlib.contextmanager
def _locks(project: Project) -> Iterator[str]:
    """Yield a folder with the lock and each pyproject.toml that it was made from, at their paths in the project."""
    with tempfile.TemporaryDirectory() as folder:
        for path in generated.lock_inputs(project):
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            # The build step that reads it reports a file that is missing.
            with contextlib.suppress(OSError):
                shutil.copyfile(project.root / path, place)
        yield folder


def on_working_tree(project: Project, rights: str = "") -> list[str]:
    """Return the options that mount the working tree in a container, and run it as this user."""
    return [mounted(project.root, generated.HOME, rights), f"--workdir={generated.HOME}", *_as_this_user()]


def mounted(source: Path, target: str, rights: str = "") -> str:
    """Return the option of `docker run`, and of `docker compose run`, that mounts a path of this machine.

    Raises Failure for a path with a colon, which separates the option's parts; Compose has no other option.
    """
    if ":" in os.path.splitdrive(source)[1]:
        raise Failure(
            f"A path that Docker mounts must have no colon (got {source}). To fix it: move or clone it to another "
            "folder."
        )
    return f"--volume={source}:{target}{rights}"


def in_home(project: Project) -> list[str]:
    """Return the options for programs of the development loop: the folder of the commands, and the package.

    A project that moved in has only the vendored part of the package.
    """
    described = project.configuration
    options = [
        f"--workdir={generated.home(described)}",
        f"--env=PRODLOCK_ROOT={generated.HOME}",
        f"--env=PRODLOCK_LOCK={described.lock}",
    ]
    if project.is_own:
        return options
    folders = generated.import_path(described)
    paths = ":".join((_PACKAGES, *folders))
    package = mounted(INSIDE.parent, f"{_PACKAGES}/prodlock", ":ro")
    return [*options, package, f"--env=PYTHONPATH={paths}"]


def _as_this_user() -> list[str]:
    """Return the options that run a container as this user."""
    return [] if sys.platform == "win32" else [f"--user={os.getuid()}:{os.getgid()}"]
