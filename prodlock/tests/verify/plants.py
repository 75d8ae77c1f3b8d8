"""Faults, planted in images: each is an instruction on top of an image, and the rules that must find it there.

The faults of a batch are independent of each other: one image has them all, each in layers of its own.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prodlock.tests.verify.images import NAME, PROJECTS, Built, Example, build, docker

# The rules of a distribution that the lock does not have for production: a lock of pip's format has no groups.
BESIDE_LOCK = ("LS601", "LS603")


@dataclass(frozen=True)
class Plant:
    """A fault.

    In the instructions, {site} is the folder of the environment's modules, {bin} that of its commands, {python} its
    interpreter, {sources} the folder of the service, and {pip} begins an installation in the environment.
    """

    name: str
    instructions: tuple[str, ...]
    # The codes of the rules, one of which must find it; and a text in what was found or in its path.
    codes: tuple[str, ...]
    what: str
    # Other rules that its layers break as well, and texts in the paths of what it breaks in the layers below.
    also: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    batch: str = "installed"
    # The layer of the finding, where it is another one or none: what is missing has no layer.
    elsewhere: bool = False
    # Examples that it cannot be planted in.
    without: tuple[str, ...] = ()
    # The distribution that it concerns, and one that the lock must have.
    distribution: str = ""
    needs: str = ""


def _write(path: str, text: str = "") -> str:
    return f"RUN printf '{text}' > {path}"


# Writes bytecode in the place of a module's.
_FORGE = "RUN --mount=type=bind,source=forge.py,target=/run/forge.py /usr/local/bin/python -I -S -B /run/forge.py"
# What needs no download: these are planted in every example.
_QUICK = (
    "an edited file", "a deleted file", "a removed dist-info", "a module", "an empty module", "a .pth file",
    "a .pth file that adds a folder", "forged bytecode", "stale bytecode", "a link to a test runner",
    "a zip with a package", "a deleted .env", "a repository",
)  # fmt: skip

PLANTS = (
    # Distributions.
    Plant(
        "a distribution of the dev group",
        ("RUN {pip} pytest",),
        BESIDE_LOCK,
        "pytest",
        also=BESIDE_LOCK,
        distribution="pytest",
    ),
    Plant(
        "a distribution outside the lock",
        ("RUN {pip} --no-deps requests==2.32.3",),
        ("LS601",),
        "requests",
        also=("LS608",),
        distribution="requests",
    ),
    Plant(
        "another version",
        ("RUN {pip} --no-deps idna==3.7",),
        ("LS602",),
        "idna",
        also=("LS608", "LS606", "LS607"),
        distribution="idna",
        traces=("/idna",),
    ),
    Plant(
        "a distribution that was built from source",
        ("RUN {pip} --no-deps --force-reinstall --no-binary h11 h11=={version:h11}",),
        ("LS609",),
        "h11",
        also=("LS605", "LS606"),
        distribution="h11",
        traces=("/h11",),
    ),
    Plant(
        "an editable installation",
        (
            "RUN mkdir -p /srv/tool/tool && printf 'x = 1\\n' > /srv/tool/tool/__init__.py"
            ' && printf \'[project]\\nname = "tool"\\nversion = "1"\\n[build-system]\\nrequires = ["hatchling"]\\n'
            'build-backend = "hatchling.build"\\n\' > /srv/tool/pyproject.toml',
            "RUN {pip} --no-deps --editable /srv/tool",
        ),
        ("LS615",),
        "tool",
        also=("LS601", "LS606", "LS617"),
        without=("target",),
        distribution="tool",
    ),
    Plant(
        "two versions of a distribution",
        ("RUN /usr/local/bin/python -m pip install --no-cache-dir --no-deps --target /opt/vendor click==8.1.8",),
        ("LS602", "LS608"),
        "click",
        also=("LS602", "LS608"),
        distribution="click",
    ),
    Plant(
        "metadata of another version beside the locked one",
        ("RUN cp -r {site}/typing_inspection-*.dist-info {site}/typing_inspection-0.1.0.dist-info",),
        ("LS602", "LS606", "LS608", "LS609"),
        "typing",
        also=("LS602", "LS606", "LS608"),
        distribution="typing-inspection",
    ),
    Plant(
        "a distribution that is missing",
        ("RUN rm -rf {site}/greenlet {site}/greenlet-*.dist-info",),
        ("LS604",),
        "greenlet",
        elsewhere=True,
        also=("LS613",),
        distribution="greenlet",
        needs="greenlet",
        traces=("/greenlet",),
    ),
    Plant(
        "a build tool",
        ("RUN {pip} --no-deps poetry-core",),
        ("LS611", "LS601"),
        "poetry",
        distribution="poetry-core",
        without=("poetry",),
    ),
    # Files of distributions.
    Plant(
        "an edited file",
        ("RUN printf '# x\\n' >> {site}/jinja2/utils.py",),
        ("LS605",),
        "jinja2/utils.py",
        traces=("/jinja2/__pycache__/utils.",),
    ),
    Plant(
        "a file that is replaced by an empty one",
        ("RUN : > {site}/starlette/status.py",),
        ("LS605",),
        "starlette/status.py",
        traces=("/starlette/__pycache__/status.",),
    ),
    Plant(
        "a deleted file",
        ("RUN rm {site}/fastapi/encoders.py",),
        ("LS607",),
        "fastapi",
        elsewhere=True,
        also=("LS613",),
        traces=(
            "/fastapi/encoders.",
            "/fastapi/__pycache__/encoders.",
        ),
    ),
    Plant(
        "a removed dist-info",
        ("RUN rm -r {site}/jmespath-*.dist-info",),
        # Where another environment has it too, it is not missing; its metadata still ships.
        ("LS604", "LS606", "LS607", "LS613"),
        "jmespath",
        elsewhere=True,
        also=("LS613",),
        distribution="jmespath",
        needs="jmespath",
        traces=("/jmespath-",),
    ),
    Plant(
        "a dist-info under another name",
        ("RUN mv {site}/opentelemetry_api-*.dist-info {site}/anything-1.0.dist-info",),
        ("LS601", "LS604", "LS606", "LS607", "LS609"),
        "opentelemetry",
        elsewhere=True,
        also=("LS601", "LS606", "LS613"),
        distribution="opentelemetry-api",
        traces=(
            "/opentelemetry_api-",
            "/anything-1.0",
        ),
    ),
    Plant(
        "an edited command",
        ("RUN printf 'import os\\n' >> {bin}/fonttools",),
        ("LS605", "LS606", "LS616"),
        "fonttools",
        needs="fonttools",
        traces=("/fonttools-",),
    ),
    Plant(
        "an edited native library",
        ("RUN printf x >> $(ls {site}/httptools/parser/parser.*.so)",),
        ("LS605",),
        "httptools",
    ),
    # Files beside them.
    Plant("a module", (_write("{site}/helper.py", "x = 1\\n"),), ("LS606",), "helper.py"),
    Plant("a module in a package", (_write("{site}/uvicorn/helper.py", "x = 1\\n"),), ("LS606",), "uvicorn"),
    Plant("an empty module", ("RUN : > {site}/click/extra.py",), ("LS606",), "click"),
    # Bytecode.
    Plant(
        "forged bytecode",
        (f"{_FORGE} {{site}}/typing_extensions.py 'import os' 0",),
        ("LS614",),
        "typing_extensions",
    ),
    Plant(
        "stale bytecode",
        (f"{_FORGE} {{site}}/annotated_types/test_cases.py 'x = 1' -1000",),
        ("LS614",),
        "test_cases",
    ),
    Plant(
        "bytecode without a source",
        (
            "RUN printf 'x = 1\\n' > /tmp/x.py && /usr/local/bin/python -c "
            "\"import py_compile; py_compile.compile('/tmp/x.py', '{site}/hidden.pyc')\" && rm /tmp/x.py",
        ),
        ("LS614", "LS606"),
        "hidden.pyc",
    ),
    # Commands and code elsewhere.
    Plant("a link to a test runner", ("RUN ln -s {bin}/pytest /usr/local/bin/qa",), ("LS616",), "/usr/local/bin/qa"),
    Plant(
        "a script",
        (
            _write("/usr/local/bin/run-qa", "#!/bin/sh\\nexec python -m pytest\\n")
            + " && chmod +x /usr/local/bin/run-qa",
        ),
        ("LS616",),
        "/usr/local/bin/run-qa",
    ),
    Plant(
        "an edit of the standard library",
        ("RUN printf '# x\\n' >> /usr/local/lib/python3.13/json/decoder.py",),
        ("LS605", "LS606", "LS617"),
        "json",
        traces=("/json/__pycache__/decoder.",),
    ),
    Plant("a zip with a package", ("COPY packed.zip /opt/data/bundle.zip",), ("LS617",), "/opt/data"),
    Plant("a zip without an ending", ("COPY packed.zip /opt/blob",), ("LS617",), "/opt"),
    Plant("a compressed tar with a package", ("COPY packed.tar.xz /opt/packed/data.bin",), ("LS617",), "/opt/packed"),
    Plant(
        "an edited source of the service",
        ("RUN printf '# x\\n' >> {sources}/main.py",),
        ("LS617",),
        "{sources}",
    ),
    Plant("a source that the commit does not have", ("COPY secret.py {sources}/admin.py",), ("LS617",), "{sources}"),
    # Leftovers.
    Plant(
        "a downloaded wheel",
        ("RUN /usr/local/bin/python -m pip download --no-cache-dir --no-deps --dest /srv/wheels iniconfig",),
        ("LS601", "LS603", "LS610", "LS617"),
        "/srv/wheels",
    ),
    Plant(
        "pip's cache",
        ("RUN /usr/local/bin/python -m pip download --no-deps --dest /tmp/x pluggy && rm -r /tmp/x",),
        ("LS610",),
        "/root/.cache/pip",
        without=("poetry",),
    ),
    Plant(
        "uv's cache",
        (
            "RUN mkdir -p /root/.cache/uv/archive-v0/Xy/pluggy"
            " && printf 'x = 1\\n' > /root/.cache/uv/archive-v0/Xy/pluggy/x.py",
        ),
        ("LS610",),
        "/root/.cache/uv",
    ),
    Plant(
        "apt's lists",
        ("RUN mkdir -p /var/lib/apt/lists && printf 'Package: x\\n' > /var/lib/apt/lists/index_Packages",),
        ("LS610",),
        "/var/lib/apt/lists",
    ),
    Plant(
        "a cache of a dev tool",
        ("RUN mkdir -p /srv/.pytest_cache && printf '[]' > /srv/.pytest_cache/lastfailed",),
        ("LS610",),
        ".pytest_cache",
    ),
    Plant(
        "a deleted .env", ("COPY env /srv/.env", "RUN rm /srv/.env"), ("LS612", "LS613"), "/srv/.env", also=("LS111",)
    ),
    Plant("a repository", ("COPY git /opt/checkout/.git",), ("LS612",), "/opt/checkout/.git"),
    Plant("tests", ("COPY tests /opt/t/tests",), ("LS612",), "/opt/t/tests"),
    Plant("a private key", ("COPY key.txt /opt/data.txt",), ("LS111", "LS612"), "/opt/data.txt"),
    Plant(
        "credentials of a cloud",
        ("COPY credentials /root/.aws/credentials",),
        ("LS111", "LS612"),
        "/root/.aws/credentials",
    ),
    Plant(
        "deleted code",
        (
            "RUN mkdir /opt/gone && printf 'x = 1\\n' > /opt/gone/module.py",
            "RUN rm -r /opt/gone",
        ),
        ("LS613",),
        "/opt/gone",
        also=("LS617",),
    ),
    Plant("a .pth file", (_write("{site}/zz.pth", "import os\\n"),), ("LS606",), "zz.pth"),
    Plant("sitecustomize", (_write("{site}/sitecustomize.py", "import os\\n"),), ("LS606",), "sitecustomize.py"),
    Plant(
        "a module on PYTHONPATH",
        ("RUN mkdir /opt/x && printf 'x = 1\\n' > /opt/x/more.py", "ENV PYTHONPATH=/opt/x:{site}"),
        ("LS606", "LS617"),
        "/opt/x",
    ),
    # A dev distribution, in other ways.
    Plant(
        "a dev distribution without its metadata",
        ("RUN {pip} --no-deps pytest && rm -rf {site}/pytest-*.dist-info",),
        ("LS603", "LS606"),
        "pytest",
        also=(*BESIDE_LOCK, "LS606", "LS616", "LS617"),
        batch="hidden",
    ),
    Plant(
        "a dev distribution in an environment of its own",
        (
            "RUN /usr/local/bin/python -m venv --without-pip /opt/qa",
            "RUN /usr/local/bin/python -m pip --python /opt/qa install --no-cache-dir --no-deps pytest",
        ),
        BESIDE_LOCK,
        "/opt/qa",
        batch="hidden",
        distribution="pytest",
    ),
    Plant(
        "a dev distribution of the user's",
        (
            "RUN /usr/local/bin/python -m pip install --no-cache-dir --no-deps --user --ignore-installed"
            " --no-warn-script-location pluggy",
        ),
        BESIDE_LOCK,
        "/root/.local",
        batch="hidden",
        distribution="pluggy",
    ),
    Plant(
        "a dev distribution below the service",
        ("RUN /usr/local/bin/python -m pip install --no-cache-dir --no-deps --target {sources}/vendor httpx",),
        BESIDE_LOCK,
        "{sources}/vendor",
        also=("LS606",),
        batch="hidden",
        distribution="httpx",
    ),
    Plant(
        "a dev distribution that a later layer removes",
        (
            "RUN /usr/local/bin/python -m pip install --no-cache-dir --no-deps --target /opt/later iniconfig",
            "RUN rm -rf /opt/later",
        ),
        (*BESIDE_LOCK, "LS613"),
        "/opt/later",
        also=("LS613",),
        batch="hidden",
        distribution="iniconfig",
    ),
    Plant(
        "modules of a dev distribution under another name",
        (
            "RUN /usr/local/bin/python -m pip install --no-cache-dir --no-deps --target /tmp/y pytest"
            " && mkdir -p /opt/lib && mv /tmp/y/_pytest /opt/lib/quality && rm -rf /tmp/y",
        ),
        ("LS603", "LS617"),
        "/opt/lib/quality",
        also=("LS614",),
        batch="hidden",
    ),
    Plant(
        "a folder that a .pth file adds",
        (
            "RUN /usr/local/bin/python -m pip install --no-cache-dir --no-deps --target /opt/more packaging"
            " && rm -r /opt/more/*.dist-info",
            _write("{site}/more.pth", "/opt/more\\n"),
        ),
        ("LS603", "LS606", "LS617"),
        "more",
        also=("LS606", "LS614", "LS617"),
        batch="hidden",
    ),
    # What is made so that it looks accounted for.
    *(
        Plant(
            f"a command {how}",
            (f"COPY --chmod=755 commands/{name} {{bin}}/{command}",),
            ("LS605", "LS606", "LS616"),
            f"/{command}",
            batch="hostile",
            needs="fonttools",
            traces=("/fonttools-",),
        )
        for name, command, how in (
            ("hidden", "ttx", "whose encoding hides code"),
            ("interpreter", "pyftmerge", "with another interpreter"),
            ("shell", "pyftsubset", "with a shell's code before it"),
        )
    ),
    Plant(
        "a module that dpkg's records claim",
        (
            "RUN printf 'x = 1\\n' > {site}/claimed.py && echo {site}/claimed.py >> /var/lib/dpkg/info/base-files.list"
            " && md5sum {site}/claimed.py | sed 's, /, ,' >> /var/lib/dpkg/info/base-files.md5sums",
        ),
        ("LS606",),
        "claimed.py",
        batch="hostile",
    ),
    Plant(
        "a .pth file that adds a folder",
        (_write("{site}/folder.pth", "/usr/local/share\\n"),),
        ("LS606",),
        "folder.pth",
        batch="hostile",
    ),
    Plant(
        "a link in an environment",
        ("RUN ln -s {sources} {site}/linked",),
        ("LS606", "LS616"),
        "/linked",
        batch="hostile",
    ),
    Plant(
        "a hard link in an environment",
        ("RUN printf 'x = 1\\n' > /opt/one.txt && ln /opt/one.txt {site}/two.py",),
        ("LS606",),
        "two.py",
        batch="hostile",
    ),
    Plant(
        "a module of the standard library as another one",
        ("RUN cp -p /usr/local/lib/python3.13/antigravity.py {site}/usercustomize.py",),
        ("LS606",),
        "usercustomize.py",
        batch="hostile",
    ),
    Plant(
        "a locked module as another one",
        ("RUN cp -p {site}/h11/_version.py {site}/six.py",),
        ("LS606",),
        "six.py",
        batch="hostile",
    ),
    Plant(
        "a source of the service as another module",
        ("RUN cp -p {sources}/__init__.py {site}/decimal.py",),
        ("LS606",),
        "decimal.py",
        batch="hostile",
    ),
    Plant(
        "forged bytecode with a hash that is not checked",
        (f"{_FORGE} {{site}}/typing_extensions.py 'import os'",),
        ("LS614",),
        "typing_extensions",
        batch="hostile",
    ),
    Plant(
        "forged bytecode of the standard library",
        (f"{_FORGE} /usr/local/lib/python3.13/colorsys.py 'import os' 0",),
        ("LS614",),
        "colorsys",
        batch="hostile",
    ),
    Plant(
        "forged bytecode of the service",
        (f"{_FORGE} {{sources}}/__init__.py 'import os' 0",),
        ("LS614",),
        "__init__",
        batch="hostile",
    ),
    Plant(
        "a changed command of the base image",
        ("RUN printf '# x\\n' >> /usr/local/bin/pydoc3.13",),
        ("LS616", "LS617"),
        "pydoc3.13",
        batch="hostile",
    ),
    Plant(
        "a library that every program loads",
        (_write("/etc/ld.so.preload", "/opt/lib.so\\n"), "COPY packed.zip /opt/lib.so"),
        ("LS617",),
        "/opt",
        batch="hostile",
    ),
    # The configuration. Nothing of it is a layer.
    Plant(
        "a password in a variable",
        ("ENV PIP_INDEX_URL=https://u:hunter2@index.example/simple",),
        ("LS111",),
        "PIP_INDEX_URL",
        batch="configuration",
        elsewhere=True,
    ),
    Plant(
        "a secret build argument",
        ("ARG TOKEN=abc", "RUN true"),
        ("LS111",),
        "TOKEN",
        batch="configuration",
        elsewhere=True,
    ),
    Plant(
        "a secret in an instruction",
        ('RUN : curl -H "Authorization: Bearer hunter2" https://api.example',),
        ("LS111",),
        "history",
        batch="configuration",
        elsewhere=True,
    ),
)
# All faults are in one of these, and some of them also in the batch `quick`.
QUICK = "quick"
BATCHES = tuple(dict.fromkeys(plant.batch for plant in PLANTS))


def chosen(built: Built, batch: str) -> list[Plant]:
    """Return the faults of a batch that can be planted in an example."""
    return [
        one
        for one in PLANTS
        if (one.name in _QUICK if batch == QUICK else one.batch == batch)
        and built.example.name not in one.without
        and one.needs in {"", *built.versions}
    ]


def filled(text: str, built: Built) -> str:
    """Return an instruction with what is written in braces replaced for an image."""
    example = built.example
    prefix = re.sub(r"/lib/python[\d.]+/site-packages$", "", example.site)
    pip = {
        "target": "/usr/local/bin/python -m pip install --no-cache-dir --no-compile --upgrade --target {site}",
        "environment": "/usr/local/bin/python -m pip --python {python} install --no-cache-dir",
        "system": "/usr/local/bin/python -m pip install --no-cache-dir",
        "conda": "/opt/conda/bin/python -m pip install --no-cache-dir",
    }[installation(example)]
    text = re.sub(r"\{version:([\w-]+)\}", lambda match: built.versions[match[1]], text)
    values = {"pip": pip, "site": example.site, "bin": f"{prefix}/bin", "python": example.python}
    for name, value in {**values, "sources": example.sources}.items():
        text = text.replace(f"{{{name}}}", value).replace("{site}", example.site).replace("{python}", example.python)
    return text


def installation(example: Example) -> str:
    """Return how packages are installed in an example."""
    if example.site.endswith("/vendor"):
        return "target"
    if example.site.startswith("/opt/conda"):
        return "conda"
    return "system" if example.site.startswith("/usr/local") else "environment"


def layers(instructions: Iterable[str]) -> int:
    """Return how many layers instructions make."""
    return sum(instruction.startswith(("RUN ", "COPY ")) for instruction in instructions)


def context(folder: Path) -> Path:
    """Write what the plants copy to a folder."""
    package = folder / "package" / "packed"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n", encoding="utf-8")
    for kind in ("zip", "xztar"):
        shutil.make_archive(str(folder / "packed"), kind, folder / "package")
    (folder / "env").write_text("PASSWORD=hunter2\n", encoding="utf-8")
    (folder / "secret.py").write_text("PASSWORD = None\n", encoding="utf-8")
    # In parts: this file has no key.
    name = "PRIVATE" + " KEY"
    lines = (f"-----BEGIN RSA {name}-----", "MIIEowIBAAKCAQEA0123456789abcdef", f"-----END RSA {name}-----")
    (folder / "key.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "credentials").write_text("[default]\naws_secret_access_key = hunter2\n", encoding="utf-8")
    shutil.copytree(PROJECTS / "commands", folder / "commands")
    (folder / "git" / "refs").mkdir(parents=True)
    (folder / "git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    (folder / "git" / "config").write_text("[core]\n\tbare = false\n", encoding="utf-8")
    shutil.copy(Path(__file__).with_name("forge.py"), folder)
    shutil.copytree(PROJECTS / "shop" / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@dataclass(frozen=True)
class Planted:
    """An image with the faults of a batch, and the numbers of the layers of each."""

    built: Built
    tag: str
    # The number of the layers without the faults.
    clean: int
    places: Mapping[Plant, Sequence[int]]


def plant(built: Built, batch: str, folder: Path) -> Planted:
    """Build an image with the faults of a batch on top of an example's."""
    example = built.example
    tag = f"{NAME}:{example.name}-{batch}"
    number = clean = len(json.loads(docker("inspect", "--format={{json .RootFS.Layers}}", example.tag)))
    lines, places = [f"FROM {example.tag}", "USER root"], {}
    for one in chosen(built, batch):
        instructions = [filled(line, built) for line in one.instructions]
        lines += instructions
        places[one] = range(number, number + layers(instructions))
        number += layers(instructions)
    build("\n".join([*lines, f"USER {example.user}", ""]), folder, f"--tag={tag}")
    return Planted(built, tag, clean, places)


def found(one: Plant, planted: Planted, findings: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a report's findings have a fault: by its rule, its name or path, and its layer."""
    what = filled(one.what, planted.built)
    return any(
        finding["code"] in one.codes
        and what in f"{finding['what']} {finding['path']}"
        and (one.elsewhere or finding["layer"] in planted.places[one])
        for finding in findings
    )


def near(one: Plant, planted: Planted, findings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the findings in the layers of a fault, for the message of a test."""
    return [
        f"{finding['code']} {finding['what']}: {finding['path']}: {finding['why']}"
        for finding in findings
        if finding["layer"] in planted.places[one]
    ]


def strays(planted: Planted, findings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the findings that are neither a fault's nor true of the image without faults."""
    return [
        finding
        for finding in findings
        if not any(true.matches(finding) for true in planted.built.example.findings)
        and not any(_belongs(finding, one, planted) for one in planted.places)
    ]


def _belongs(finding: Mapping[str, Any], one: Plant, planted: Planted) -> bool:
    if any(trace in finding["path"] for trace in one.traces):
        return finding["layer"] is None or finding["layer"] <= planted.places[one][-1]
    if one.elsewhere and finding["code"] in one.codes:
        what = filled(one.what, planted.built)
        return what in f"{finding['what']} {finding['path']}"
    return finding["layer"] in planted.places[one] and finding["code"] in {*one.codes, *one.also}
