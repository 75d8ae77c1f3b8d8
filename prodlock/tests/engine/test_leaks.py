"""Leaks, planted in copies of prod: each must be found where it is, with the instruction that brought it."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prodlock import site
from prodlock.project import Project
from prodlock.tests.engine.conftest import BASE, DEV, PROJECT, REPOSITORY, ROOT, check, docker, edit, inv, planted

SITE = "/opt/venv/lib/python3.13/site-packages"
BASE_SITE = "/usr/local/lib/python3.13/site-packages"
SECRETS = "--mount=type=secret,id=ca_bundle --mount=type=secret,id=index_url --mount=type=bind,source=online.sh,target=/online"
# prod has no pip either: it is borrowed from the base image, and installs where that image's would.
BASE_PIP = f"--mount=type=bind,from={BASE},source={BASE_SITE}/pip,target=/borrowed/pip"
PIP = f"RUN {SECRETS} {BASE_PIP} PYTHONPATH=/borrowed sh /online /usr/local/bin/python3 -m pip --disable-pip-version-check"
LOCKED = {
    package["name"]: package["version"]
    for package in tomllib.loads((REPOSITORY / "poetry.lock").read_text())["package"]
}
FROM_DEV = f"COPY --from={DEV}"


@dataclass(frozen=True)
class Leak:
    """What is added to prod, and the finding: what it is, its path, and the instruction that brought it."""

    instructions: str
    what: str
    path: str
    instruction: str = ""

    def brings(self, instruction: str) -> bool:
        """Return whether an image has this instruction because of this leak."""
        # A report masks the secrets in the instructions of a configuration.
        masked = self.path in {"configuration", "history"} and self.instruction in instruction
        return masked or any(recorded(line) in instruction for line in self.instructions.splitlines())


def recorded(line: str) -> str:
    """Return the part of an instruction that an image's history repeats."""
    keyword, _, rest = re.sub(r" --[a-z]+=\S+", "", line).partition(" ")
    return rest if keyword == "RUN" else f"{keyword} {rest}"


# By image: the leaks of each are planted together, each in layers of its own, at a path of its own.
LEAKS = {
    "installed": {
        "pip install --target": Leak(f"{PIP} install --target app/vendor pytest", "pytest", "/srv/app/vendor/_pytest", "--target"),
        "pip install --user": Leak(
            f"{PIP} install --user --no-warn-script-location pytest", "pytest", "/root/.local/lib/python3.13/site-packages/pytest", "--user"
        ),
        # What is in the user's folder would count as installed.
        "pip install": Leak(f"{PIP.replace('PYTHONPATH', 'PYTHONNOUSERSITE=1 PYTHONPATH')} install pytest", "pytest", f"{BASE_SITE}/pytest", "install pytest"),
        "a second environment": Leak(
            f"RUN /usr/local/bin/python -m venv --without-pip /opt/qa\n{PIP} --python /opt/qa install pytest",
            "pytest", "/opt/qa/lib/python3.13/site-packages/pytest", "install pytest",
        ),
        "the build tools": Leak(f"{PIP} install poetry-core", "poetry-core", f"{BASE_SITE}/poetry_core-", "poetry-core"),
        "setuptools": Leak(f"{PIP} install setuptools", "setuptools", f"{BASE_SITE}/setuptools-", "setuptools"),
        "pip in the environment": Leak(f"{PIP} --python /opt/venv install pip", "pip", f"{SITE}/pip-", "install pip"),
        "the base image's pip": Leak(f"COPY --from={BASE} {BASE_SITE} {BASE_SITE}", "pip", f"{BASE_SITE}/pip-", "COPY"),
    },
    "the environment of dev": {
        "the environment of dev": Leak(f"{FROM_DEV} /opt/venv /opt/venv", "pytest", f"{SITE}/pytest", "COPY /opt/venv"),
    },
    "half removed": {
        "uninstalled in a later layer": Leak(
            f"{PIP} install pytest\n{PIP} uninstall -y pytest", "pytest", f"{BASE_SITE}/pytest-", "install pytest"
        ),
        "without its scripts": Leak(
            f"{FROM_DEV} {SITE} {SITE}\nRUN ls /opt/venv/bin", "pytest", f"{SITE}/pytest", f"COPY {SITE}"
        ),
    },
    "without metadata": {
        "without its metadata": Leak(f"{FROM_DEV} {SITE}/_pytest {SITE}/_pytest", "pytest", f"{SITE}/_pytest", "COPY"),
        "metadata under another name": Leak(
            f"{FROM_DEV} {SITE}/pytest-{LOCKED['pytest']}.dist-info {SITE}/httptools-0.0.dist-info", "pytest", f"{SITE}/httptools-0.0.dist-info", "COPY"
        ),
        "bytecode under another name": Leak(
            f"RUN --mount=type=bind,from={DEV},source={SITE}/_pytest,target=/tmp/x cp /tmp/x/__pycache__/main.*.pyc "
            "/opt/a",
            "pytest", "/opt/a", "cp /tmp/x",
        ),
        "modules under another name": Leak(f"{FROM_DEV} {SITE}/_pytest /opt/lib/quality", "pytest", "/opt/lib/quality/main.py", "COPY"),
        "bytecode without a source": Leak(
            f"RUN --mount=type=bind,from={DEV},source={SITE}/pytest,target=/tmp/pytest mkdir -p /opt/compiled/pytest"
            " && python -c \"import py_compile; py_compile.compile('/tmp/pytest/__init__.py', "
            "'/opt/compiled/pytest/__init__.pyc')\"",
            "pytest", "/opt/compiled/pytest", "py_compile",
        ),
        "a hard link": Leak(
            f"RUN --mount=type=bind,from={DEV},source={SITE}/_pytest,target=/tmp/x"
            " cp /tmp/x/main.py /opt/one && ln /opt/one /opt/two",
            "pytest", "/opt/two", "ln /opt/one",
        ),
        # Shadowed.
        "a stale version beside the locked one": Leak(
            f"RUN cp -r {SITE}/h11-{LOCKED['h11']}.dist-info {SITE}/h11-0.9.0.dist-info", "h11", f"{SITE}/h11-0.9.0.dist-info", "cp -r"
        ),
        "a folder that a .pth adds": Leak(
            f"{FROM_DEV} {SITE}/pluggy /opt/more/pluggy\nRUN echo /opt/more > {SITE}/more.pth", "pluggy", "/opt/more/pluggy", "COPY"
        ),
        "a folder on PYTHONPATH": Leak(
            f"{FROM_DEV} {SITE}/iniconfig /opt/x/iniconfig\nENV PYTHONPATH=/opt/x", "iniconfig", "/opt/x/iniconfig", "COPY"
        ),
        "a link to a test runner": Leak("RUN ln -s /opt/venv/bin/pytest /usr/local/bin/qa", "pytest", "/usr/local/bin/qa", "ln -s"),
        "a script that starts one": Leak(
            "RUN printf '#!/bin/sh\\nexec python -m pytest\\n' > /usr/local/bin/run-qa", "pytest", "/usr/local/bin/run-qa", "printf"
        ),
        "a script that a shell starts": Leak(
            "RUN printf '#!/bin/sh\\nexec pytest\\n' > /opt/qa", "pytest", "/opt/qa", "printf"
        ),
        "below a package": Leak(
            f"{FROM_DEV} {SITE}/pytest/py.typed {SITE}/anyio/vendor/pytest/__init__.py", "pytest", f"{SITE}/anyio/vendor/pytest", "COPY"
        ),
        # Archives and caches.
        "a wheel in a cache": Leak(
            f"{PIP} download --no-deps --dest /root/.cache/wheels pytest", "pytest", "/root/.cache/wheels/pytest-", "download"
        ),
        "uv's cache": Leak(
            f"{FROM_DEV} {SITE}/pluggy /root/.cache/uv/archive-v0/Xy/pluggy", "pluggy", "/root/.cache/uv/archive-v0/Xy/pluggy", "COPY"
        ),
        "a zip without an ending": Leak("COPY packed.zip /opt/data", "pytest", "/opt/data!/_pytest", "packed.zip"),
        "a compressed tar": Leak("COPY packed.tar.xz /opt/more-data", "pytest", "/opt/more-data!/_pytest", "packed.tar.xz"),
        # Deleted but shipped.
        "a secret, removed": Leak("COPY env /srv/.env\nRUN rm /srv/.env", ".env", "/srv/.env", "COPY env"),
        "a folder, replaced": Leak(
            f"{FROM_DEV} {SITE}/_pytest /opt/replaced\nRUN rm -rf /opt/replaced && mkdir /opt/replaced", "pytest", "/opt/replaced/main.py", "COPY"
        ),
        # Own files.
        "the tests": Leak(f"{FROM_DEV} /srv/tests /srv/tests", "tests", "/srv/tests", "COPY"),
        "the tests, elsewhere": Leak(f"{FROM_DEV} /srv/tests /opt/t", "tests/test_main.py of this project", "/opt/t/test_main.py", "COPY"),
        "the tasks": Leak(f"{FROM_DEV} /srv/tasks.py /srv/tasks.py", "tasks.py", "/srv/tasks.py", "COPY"),
        "the repository": Leak("RUN mkdir -p /srv/.git && echo ref > /srv/.git/HEAD", ".git", "/srv/.git", "mkdir"),
        "the README": Leak("RUN echo hello > README.md", "README.md", "/srv/README.md", "echo hello"),
        "an editable install": Leak(
            f"RUN mkdir src && echo x=1 > src/x.py && echo /srv/src > {SITE}/__editable__.pth", "src", "/srv/src", "mkdir src"
        ),
    },
    "configuration": {
        "a password in a variable": Leak(
            "ENV PIP_INDEX_URL=https://u:p@index.example/simple", "PIP_INDEX_URL", "configuration", "ENV PIP_INDEX_URL"
        ),
        "a password for a service": Leak("ENV REDIS_URL=redis://:hunter2@redis:6379", "REDIS_URL", "configuration", "ENV REDIS_URL"),
        "a secret build argument": Leak("ARG TOKEN=abc\nRUN true", "TOKEN", "history", "ARG TOKEN"),
        "a healthcheck that tests": Leak("HEALTHCHECK CMD pytest", "pytest", "configuration", "HEALTHCHECK"),
        "an entrypoint that tests": Leak('ENTRYPOINT ["pytest"]', "pytest", "configuration", "ENTRYPOINT"),
        "a trigger that installs": Leak("ONBUILD RUN pip install pytest", "pytest", "configuration", "ONBUILD"),
    },
}  # fmt: skip
KINDS = [(image, kind) for image, leaks in LEAKS.items() for kind in leaks]


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build context with what some leaks copy: dev's site-packages, packed, and a file of secrets."""
    folder = tmp_path_factory.mktemp("context")
    container = docker("create", DEV).stdout.strip()
    (folder / "site").mkdir(exist_ok=True)
    docker("cp", f"{container}:{SITE}/_pytest", str(folder / "site"))
    docker("rm", container)
    for kind in ("zip", "xztar"):
        shutil.make_archive(str(folder / "packed"), kind, folder / "site")
    shutil.rmtree(folder / "site")
    (folder / "env").write_text("PASSWORD=hunter2\n", encoding="utf-8")
    shutil.copy(ROOT / "prodlock/inside/online.sh", folder)
    return folder


@contextmanager
def plant(instructions: str, context: Path) -> Iterator[str]:
    """Build an image by instructions, which may download, on top of prod and give its name."""
    settings = site.environment(Project(ROOT))
    secrets = [f"--secret=id=ca_bundle,src={settings['CA_BUNDLE']}"]
    if settings["INDEX_URL"]:
        (context / "index_url").write_text(settings["INDEX_URL"], encoding="utf-8")
        secrets.append(f"--secret=id=index_url,src={context / 'index_url'}")
    with planted(instructions, *secrets, "--file=-", str(context)) as image:
        yield image


def probed(leaks: Iterable[Leak], context: Path) -> tuple[int, dict[str, Any]]:
    """Return the check's exit code and report for an image with these leaks."""
    with plant("\n".join(leak.instructions for leak in leaks), context) as image:
        return check(f"--image={image}")


@pytest.fixture(scope="session")
def reports(context: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[tuple[int, dict[str, Any]]]]]:
    """The report on each image that the selected tests need. Two images are built and read at a time."""
    needed = {item.callspec.params["image"] for item in request.session.items if "reports" in item.fixturenames}  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        yield {image: pool.submit(probed, LEAKS[image].values(), context) for image in LEAKS if image in needed}


@pytest.mark.parametrize(("image", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_check_finds_a_planted_leak(
    image: str, kind: str, reports: dict[str, Future[tuple[int, dict[str, Any]]]]
) -> None:
    """The report has what it is, its path and its instruction, and nothing that was not planted; exit code 1."""
    leak = LEAKS[image][kind]
    code, report = reports[image].result()
    assert code == 1
    assert not report["clean"]
    brought = [finding for finding in report["findings"] if leak.brings(finding["instruction"])]
    found = [
        finding
        for finding in brought
        if finding["what"] == leak.what
        and finding["path"].startswith(leak.path)
        and leak.instruction in finding["instruction"]
    ]
    assert found, brought
    planted_here = LEAKS[image].values()
    strays = [
        finding for finding in report["findings"] if not any(one.brings(finding["instruction"]) for one in planted_here)
    ]
    assert not strays


# Many in one image: each by its own path or name.
TRACES = r"""
RUN mkdir -p app/tests /root/.aws && echo 'import pytest' > app/tests/test_x.py
RUN printf 'import os\nimport httpx\n' > app/settings.py && printf 'try:\n    import httpx\nexcept ImportError:\n    httpx = None\n' > app/optional.py
RUN mkdir -p /tmp/.pytest_cache /opt/x && echo '[pytest]' > app/pytest.ini && echo 'x = 1' > app/conftest.py
RUN echo 'import pytest' > {site}/sitecustomize.py && echo 'import pytest; pytest.main()' > {site}/z.pth
RUN echo '#!/usr/bin/env python3' > /opt/qa && for n in 1 2 3 4 5 6 7 8 9 0; do printf '%0200d\n' 0 | tr 0 '#' >> /opt/qa; done && echo 'import pytest' >> /opt/qa
RUN printf -- '-----BEGIN RSA PRIVATE %s-----\nMIIEowIBAAKCAQEA0123456789abcdef\n-----END RSA PRIVATE KEY-----\n' KEY > app/data.txt
RUN echo '[default]' > /root/.aws/credentials
RUN echo 'import pytest' >> /usr/local/lib/python3.13/json/decoder.py
RUN : curl -H "Authorization: Bearer hunter2" https://api.example
RUN DB_PASS=hunter2 : make
ENV PYTEST_ADDOPTS=-x DB_PASS=hunter2 GITHUB_PAT=ghp_hunter2 SIGNING_KEY=hunter2 COMPASS=north
LABEL note=ghp_{token}
HEALTHCHECK CMD ["serve", "--password", "hunter2"]
"""
FOUND = {
    ("LS113", "pytest", "/srv/app/tests/test_x.py"),
    ("LS113", "httpx", "/srv/app/settings.py"),
    ("LS109", "pytest", "/tmp/.pytest_cache"),
    ("LS109", "pytest", "/srv/app/pytest.ini"),
    ("LS109", "pytest", "/srv/app/conftest.py"),
    ("LS113", "pytest", f"{SITE}/sitecustomize.py"),
    ("LS113", "pytest", f"{SITE}/z.pth"),
    ("LS105", "pytest", "/opt/qa"),
    ("LS111", "a private key", "/srv/app/data.txt"),
    ("LS111", "credentials", "/root/.aws/credentials"),
    ("LS113", "pytest", "/usr/local/lib/python3.13/json/decoder.py"),
    ("LS111", "a secret in a header", "history"),
    ("LS111", "DB_PASS", "history"),
    ("LS109", "pytest", "configuration"),
    ("LS111", "DB_PASS", "configuration"),
    ("LS111", "GITHUB_PAT", "configuration"),
    ("LS111", "SIGNING_KEY", "configuration"),
    ("LS111", "note", "configuration"),
    ("LS111", "password", "configuration"),
}


def test_checks_find_imports_names_and_secrets(context: Path) -> None:
    """Each is found once, by its rule; neither check prints a secret."""
    token = "a1" * 18
    with plant(TRACES.replace("{site}", SITE).replace("{token}", token).strip(), context) as tag:
        code, report = check(f"--image={tag}")
        printed = [inv("check-prod-has-no-pytest", f"--image={tag}").stdout]
        printed += [inv("check-prod", "--json", f"--image={tag}").stdout, json.dumps(report)]
    assert code == 1
    assert {(one["code"], one["what"], one["path"]) for one in report["findings"]} == FOUND
    for text in printed:
        assert "pytest" in text
        assert "hunter2" not in text
        assert token not in text


def test_checks_find_an_import_that_only_dev_provides(copy: Path) -> None:
    """The tests pass in dev, which has it; both checks find the import in prod."""
    edit(copy / "app" / "main.py", "\nfrom fastapi", "\nimport httpx\nfrom fastapi")
    (copy / "app" / "tests").mkdir()
    (copy / "app" / "tests" / "test_x.py").write_text("import pytest\n", encoding="utf-8")
    assert inv("build", cwd=copy).returncode == 0
    for task in ("check-prod-has-no-pytest", "check-prod"):
        done = inv(task, "--json", cwd=copy)
        assert done.returncode == 1, done.stderr
        assert {(one["code"], one["what"], one["path"]) for one in json.loads(done.stdout)["findings"]} == {
            ("LS113", "httpx", "/srv/app/main.py"),
            ("LS113", "pytest", "/srv/app/tests/test_x.py"),
        }


def test_check_finds_dev_in_the_place_of_prod() -> None:
    """A Compose service without `target: prod` runs dev."""
    code, report = check(f"--image={DEV}")
    assert code == 1
    assert f"{SITE}/pytest" in {finding["path"] for finding in report["findings"]}


def test_report_names_finding_path_reason_and_instruction(context: Path) -> None:
    """Each finding has one line; the last line has their number."""
    with plant(f"{FROM_DEV} {SITE}/_pytest /opt/x\nRUN rm -rf /opt/x", context) as tag:
        done = inv("check-prod-has-no-pytest", f"--image={tag}")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    leaks = [line for line in lines if line.startswith("LEAK ")]
    assert (
        "LEAK pytest: /opt/x/main.py, layer 5: it equals, byte for byte, a file of this distribution [LS106]; "
        f"brought by: COPY {SITE}/_pytest /opt/x # buildkit"
    ) in leaks
    (advice,) = (line for line in lines if line.startswith("LS106 "))
    assert "Usual cause: A file of the dev image was copied" in advice
    assert "To fix it: Remove the COPY or RUN that brings it" in advice
    assert lines[-2].startswith(f"{tag} holds {len(leaks)} leaks. Read ")


@pytest.mark.parametrize(("folder", "found"), [(BASE_SITE, False), ("/usr/local/lib/python3.13", True)])
def test_check_finds_pytest_of_the_base_image_where_it_ships(
    copy: Path,
    context: Path,
    folder: str,
    found: bool,  # noqa: FBT001
) -> None:
    """Site-packages of the base image do not ship; a package in its standard library does, and is found."""
    base = f"{PROJECT}-base:1"
    settings = f"id=ca_bundle,src={site.environment(Project(ROOT))['CA_BUNDLE']}"
    recipe = f"FROM {BASE}\n{PIP.replace(BASE_PIP, '')} install --target={folder} pytest\n"
    docker("build", "--quiet", f"--secret={settings}", f"--tag={base}", "--file=-", str(context), input=recipe)
    dockerfile = copy / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    dockerfile.write_text(text.replace(f"ARG BASE={BASE}", f"ARG BASE={base}"), encoding="utf-8")
    assert inv("build", cwd=copy).returncode == 0
    done = inv("check-prod-has-no-pytest", cwd=copy)
    docker("rmi", base)
    assert done.returncode == int(found), done.stderr
    assert (f"LEAK pytest: {folder}/pytest" in done.stdout) == found


def test_check_reads_a_renamed_folder_within_20_seconds(context: Path) -> None:
    """Every file of it, by its content; what the base image has is asked for once, not once a file."""
    with plant(f"{FROM_DEV} {SITE}/_pytest /opt/lib/quality", context) as tag:
        code, report = check(f"--image={tag}")
    assert code == 1
    assert len(report["findings"]) > 100
    assert report["read"]["seconds"] < 20


def test_check_finds_pytest_in_the_main_group(copy: Path) -> None:
    """A dev tool in the main group of the lock is a finding."""
    assert inv("poetry", "--", "add", "--lock", "pytest", cwd=copy).returncode == 0
    assert inv("build", cwd=copy).returncode == 0
    done = inv("check-prod-has-no-pytest", cwd=copy)
    assert done.returncode == 1, done.stderr
    assert "LEAK pytest: poetry.lock" in done.stdout
