"""Run the linters on the working tree, in a container of the tool `lint`."""

from __future__ import annotations

import shlex

from prodlock.docker import engine, stages
from prodlock.project import Project

# Environments, packages of JavaScript, and Prodlock's examples of what others write, which are not linted.
_FOREIGN = "-path './.venv*' -o -name node_modules -o -path ./prodlock/tests/verify/projects"
# The files of a repository's host that have a schema which check-jsonschema brings, by patterns of their paths.
_SCHEMAS = {
    "vendor.github-workflows": r"\./\.github/workflows/[^/]+\.ya?ml",
    "vendor.dependabot": r"\./\.github/dependabot\.ya?ml",
    "vendor.renovate": r"\./(\.github/)?renovate\.json",
    "vendor.gitlab-ci --data-transform=gitlab-ci": r"\./\.gitlab-ci\.yml",
}
# The linters of `inv lint`, which all run, also after one has failed.
LINTERS = {
    "ruff check": "ruff check --no-cache .",
    "ruff format": "ruff format --no-cache --check .",
    "mypy": "mypy --python-executable=/opt/tool/bin/python --cache-dir=/tmp/mypy .",
    "hadolint": f"find . \\( {_FOREIGN} \\) -prune -o -name '*Dockerfile' -exec hadolint {{}} +",
    # The first line identifies a shell script, whatever its name.
    "shellcheck": f"find . \\( {_FOREIGN} -o -path ./.git \\) -prune -o -type f -exec awk "
    "'/^#!\\/(usr\\/)?bin\\/(env )?(ba|da)?sh( |$)/ { print FILENAME } { nextfile }' {} + "
    "| xargs --no-run-if-empty --delimiter='\\n' shellcheck",
    "codespell": "codespell --skip=node_modules",
    "check-jsonschema": "find . -maxdepth 3 -regextype posix-extended "
    + " -o ".join(
        f"-regex {shlex.quote(pattern)} -exec check-jsonschema --builtin-schema={schema} {{}} +"
        for schema, pattern in _SCHEMAS.items()
    ),
}
FIXERS = {
    "ruff check": "ruff check --no-cache --fix .",
    "ruff format": "ruff format --no-cache .",
    "codespell": "codespell --skip=node_modules --write-changes",
}
# What makes a linter leave out the vendored folder: ruff reads a file in it, and the others find nothing there. The
# file of the tasks imports the whole package, which the image does not have.
_LEFT_OUT = {"mypy": r" --exclude='^(prodlock/|(prodlock_)?tasks\.py$)'", "codespell": " --skip=./prodlock"}


def lint(project: Project, *, fix: bool) -> int:
    """Run the linters, or those that can fix what they find; name those that fail, and return 0, or 1 for any."""
    image = stages.build(project, "lint")
    commands = dict(FIXERS if fix else LINTERS)
    if not project.is_own:
        commands = {name: command + _LEFT_OUT.get(name, "") for name, command in commands.items()}
    # At the same time, because mypy takes longer than all others; two that change files would disturb each other.
    script = (";" if fix else " &").join(
        f" {{ {command} || echo ', {name}' > /tmp/{number:02}.failed; }} > /tmp/{number:02}.out 2>&1"
        for number, (name, command) in enumerate(commands.items())
    )
    script = f'{script} & wait; cat /tmp/*.out; failed=$(cat /tmp/*.failed 2> /dev/null | tr -d "\\n");'
    before = shlex.quote("The linters must pass (got failures: ")
    more = "" if fix else "; `inv lint --fix` corrects what ruff and codespell can correct"
    after = shlex.quote(f"). To fix it: correct what they print above{more}.")
    script += f' [ -z "$failed" ] || {{ echo {before}"${{failed#, }}"{after} >&2; exit 1; }}'
    tree = stages.on_working_tree(project, "" if fix else ":ro")
    return engine.run(project, "run", "--rm", "--init", "--network=none", *tree, image, "sh", "-c", script)
