"""Traces of the dev group in an image, and files that only look like one."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from prodlock.image.records import File
from prodlock.proof import rules
from prodlock.proof.judges import credentials, leaks
from prodlock.proof.judges.forbidden import derive
from prodlock.proof.rules import Finding, Rule
from prodlock.tests.unit.proof.examples import (
    DEV,
    LOCK,
    LONG,
    MAIN,
    PROD,
    PYTEST,
    RULES,
    SITE,
    SOURCES,
    distribution,
    file,
    image,
)


def found(*planted: File) -> list[tuple[str, str]]:
    """Return what is found, and where, when these files are planted in prod."""
    facts = image([*PROD, *planted])
    return [(one.what, one.path) for one in leaks.leaks(facts.files, RULES, LOCK, facts)]


def test_a_clean_image_has_no_findings() -> None:
    """Main's wheels and the app, and nothing else."""
    assert found() == []


def test_every_dev_distribution_is_found_in_dev() -> None:
    """The positive control: what must be found is found."""
    assert {one.what for one in leaks.leaks(DEV, RULES, LOCK)} >= {"pytest", "packaging"}


@pytest.mark.parametrize(
    ("path", "what", "reported"),
    [
        (f"{SITE}/pytest-9.2.0.dist-info/METADATA", "pytest", f"{SITE}/pytest-9.2.0.dist-info"),
        (f"{SITE}/PyTest-7.egg-info", "pytest", f"{SITE}/PyTest-7.egg-info"),
        (f"{SITE}/pytest-7-py3.13.egg/x.py", "pytest", f"{SITE}/pytest-7-py3.13.egg"),
        ("/root/.cache/pytest-9.2.0-py3-none-any.whl", "pytest", "/root/.cache/pytest-9.2.0-py3-none-any.whl"),
        ("/root/.cache/pytest-9.2.0.tar.gz", "pytest", "/root/.cache/pytest-9.2.0.tar.gz"),
        (
            "/opt/other/lib/python3.13/site-packages/pytest/x.py",
            "pytest",
            "/opt/other/lib/python3.13/site-packages/pytest",
        ),
        ("/srv/app/vendor/_pytest/main.py", "pytest", "/srv/app/vendor/_pytest"),
        ("/srv/app/pytest/__init__.py", "pytest", "/srv/app/pytest"),
        ("/opt/x/py.py", "pytest", "/opt/x/py.py"),
        ("/opt/x/__pycache__/py.cpython-313.pyc", "pytest", "/opt/x/__pycache__/py.cpython-313.pyc"),
        (
            "/opt/x/packaging.cpython-313-x86_64-linux-gnu.so",
            "packaging",
            "/opt/x/packaging.cpython-313-x86_64-linux-gnu.so",
        ),
        ("/data.zip!/pytest/x.pyc", "pytest", "/data.zip!/pytest"),
        ("/usr/local/bin/pytest", "pytest", "/usr/local/bin/pytest"),
        (f"{SITE}/requests-2.0.dist-info/METADATA", "requests", f"{SITE}/requests-2.0.dist-info"),
        ("/opt/.git/HEAD", ".git", "/opt/.git"),
        ("/opt/.env", ".env", "/opt/.env"),
        ("/opt/.env.production", ".env.production", "/opt/.env.production"),
        ("/srv/README.md", "README.md", "/srv/README.md"),
        ("/srv/tests/test_new.py", "tests", "/srv/tests"),
    ],
)
def test_a_leak_is_found_by_its_path(path: str, what: str, reported: str) -> None:
    """By the name of a distribution, of its modules and scripts, or of files that belong in no image."""
    assert found(file(path, b"anything")) == [(what, reported)]


@pytest.mark.parametrize(
    "path",
    [
        "/usr/share/doc/pytest",
        "/usr/share/packaging/list.txt",
        "/opt/notes/pytest.txt",
        f"{SITE}/anyio/pytest_plugin.pyc",
        f"{SITE}/setuptools/py.py",
        "/srv/app/packaging.py",
        "/srv/app/data/sales-2026.zip",
        "/srv/app/data/GeoLite2-20260101.tar.gz",
        "/opt/py/x.py",
        "/srv/app/environment.py",
        "/opt/.environment",
        "/opt/.github/x",
        "/srv/app/.env.example",
        "/srv/app/.env.sample",
        "/srv/app/.env.template",
        "/srv/app/.env.dist",
    ],
)
def test_a_similar_name_is_not_a_leak(path: str) -> None:
    """A file that can't be imported, a module within a package, a longer name."""
    assert found(file(path, b"anything")) == []


def test_a_file_of_a_main_wheel_is_not_a_leak() -> None:
    """Main's own file is main's, even where its name is a dev distribution's."""
    vendored = next(entry for entry in MAIN if "/_vendor/packaging/" in entry.path)
    assert found(vendored) == []
    assert found(vendored._replace(path=f"{SITE}/vendored/packaging/__init__.py")) != []


def test_a_renamed_file_is_found_by_its_content() -> None:
    """Byte for byte the same, under another name, in another place, or in an archive."""
    assert found(file("/opt/x/harmless.py", PYTEST)) == [("pytest", "/opt/x/harmless.py")]
    assert found(file("/x.tar.gz!/harmless.py", PYTEST)) == [("pytest", "/x.tar.gz!/harmless.py")]
    assert found(file("/opt/x/harmless.py", PYTEST + b"#")) == []


def test_bytecode_and_programs_are_found_by_their_content() -> None:
    """What is not in a RECORD, or not Python, has an owner too."""
    bytecode, program = b"\x00bytecode\n" + LONG, b"\x7fELF" + LONG
    compiled = file(f"{SITE}/_pytest/__pycache__/main.cpython-313.pyc", bytecode)
    tool = [*distribution("ruff", "1.0", scripts=()), file("/opt/venv/bin/ruff", program)]
    record = tool[1]._replace(head=tool[1].head + b"../../../bin/ruff,,\n")
    forbidden = derive([*DEV, compiled, tool[0], record, tool[2]], LOCK, SOURCES)
    planted = [file("/opt/x/a.pyc", bytecode), file("/usr/local/bin/qa", program)]
    assert [one.what for one in leaks.leaks([*PROD, *planted], forbidden, LOCK)] == ["pytest", "ruff"]


def test_sources_may_have_the_name_of_a_dev_module() -> None:
    """Where dev has the same file in app/; its content may still not be a dev distribution's."""
    mine = file("/srv/app/adapters/packaging.py", b"# ports and adapters\n" + LONG)
    forbidden = derive([*DEV, mine], LOCK, SOURCES)
    assert leaks.leaks([*PROD, mine], forbidden, LOCK) == []
    # Production has bytecode as well, dev has none of app/.
    package = file("/srv/app/pytest/__init__.py", b"# an adapter\n" + LONG)
    forbidden = derive([*DEV, mine, package], LOCK, SOURCES)
    compiled = [
        file("/srv/app/adapters/__pycache__/packaging.cpython-313.pyc", b"\0" + LONG),
        file("/srv/app/pytest/__pycache__/__init__.cpython-313.pyc", b"\0" + LONG),
    ]
    assert leaks.leaks([*PROD, mine, package, *compiled], forbidden, LOCK) == []
    assert {one.what for one in leaks.leaks([*PROD, package, *compiled], derive(DEV, LOCK, SOURCES), LOCK)} >= {
        "pytest"
    }
    vendored = file("/srv/app/quality.py", PYTEST)
    forbidden = derive([*DEV, vendored], LOCK, SOURCES)
    assert [one.what for one in leaks.leaks([*PROD, vendored], forbidden, LOCK)] == ["pytest"]


def test_content_of_the_projects_tests_and_tasks_is_found() -> None:
    """Wherever they are copied."""
    assert found(file("/opt/a.py", b"# a test\n" + LONG)) == [("tests/test_x.py of this project", "/opt/a.py")]


def test_short_content_is_not_a_leak() -> None:
    """An empty __init__.py is not evidence."""
    assert found(file("/opt/x/__init__.py", b"")) == []


def test_a_renamed_distribution_is_found_by_its_metadata() -> None:
    """The folder has one name, METADATA another."""
    renamed = file(f"{SITE}/anyio-4.16.0.dist-info/METADATA", b"Metadata-Version: 2.4\nName: pytest\n")
    # As Python's parser of headers reads them.
    for line in (b"name: pytest\n", b"NAME:\tpytest\r\n"):
        assert found(file("/opt/x/METADATA", b"Metadata-Version: 2.4\n" + line)) == [("pytest", "/opt/x/METADATA")]
    assert found(renamed) == [("pytest", f"{SITE}/anyio-4.16.0.dist-info")]
    assert found(renamed._replace(path=f"{SITE}/anyio-0.0.dist-info/METADATA")) == [
        ("pytest", f"{SITE}/anyio-0.0.dist-info")
    ]


def test_a_second_version_beside_the_locked_one_is_a_leak() -> None:
    """A stale anyio shadows the one that was tested."""
    assert found(file(f"{SITE}/anyio-3.0.dist-info/METADATA", b"Name: anyio")) == [
        ("anyio", f"{SITE}/anyio-3.0.dist-info")
    ]


def test_a_vendored_distribution_belongs_to_the_one_that_vendors_it() -> None:
    """Setuptools carries the metadata of wheel: its files belong to setuptools, and wheel is not a dev distribution."""
    vendored = f"{SITE}/setuptools/_vendor/wheel-0.46.dist-info"
    inside = [
        file(f"{vendored}/METADATA", b"Name: wheel\n"),
        file(f"{vendored}/RECORD", b"wheel-0.46.dist-info/METADATA,,\n"),
    ]
    record = next(entry for entry in MAIN if entry.path.endswith("setuptools-80.0.dist-info/RECORD"))
    lines = "".join(f"{entry.path.removeprefix(SITE + '/')},,\n" for entry in inside)
    dev = [*(entry for entry in DEV if entry != record), record._replace(head=record.head + lines.encode()), *inside]
    forbidden = derive(dev, LOCK, SOURCES)
    assert forbidden.distributions == {"pytest", "packaging"}
    assert leaks.leaks([*PROD, File(vendored, directory=True), *inside], forbidden, LOCK) == []


@pytest.mark.parametrize(
    ("planted", "where"),
    [
        (File("/usr/local/bin/qa", target="/opt/venv/bin/pytest"), "/usr/local/bin/qa"),
        (File("/opt/qa", target="../lib/site-packages/_pytest"), "/opt/qa"),
        (
            file("/usr/local/bin/qa", b"#!/usr/bin/python\nimport sys\nfrom pytest import console_main\n"),
            "/usr/local/bin/qa",
        ),
        (file("/usr/local/bin/qa", b"#!/bin/sh\nexec python -m pytest\n"), "/usr/local/bin/qa"),
        (file("/opt/tools/pytest", b"\x7fELF", mode=0o755), "/opt/tools/pytest"),
        (file("/opt/qa", b"#!/bin/sh\n# quality\nexec pytest -x\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/bin/sh\ncd /srv && /opt/venv/bin/pytest\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/bin/sh\npython -mpytest\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/bin/bash\nif true; then pytest; fi\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/usr/bin/env sh\nA=1 env pytest -x\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/opt/venv/bin/pytest\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/usr/bin/env -S python -m pytest\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/bin/sh\npython3 -Im pytest\n"), "/opt/qa"),
        (file("/opt/qa", b"#!/bin/sh\npython3 -c 'import pytest; pytest.main()'\n"), "/opt/qa"),
    ],
)
def test_links_and_scripts_that_start_a_dev_tool_are_found(planted: File, where: str) -> None:
    """A link to it, or a script that starts it."""
    assert found(planted) == [("pytest", where)]


@pytest.mark.parametrize(
    "script",
    [
        b'#!/usr/bin/python3\n"""Then run\npytest as usual."""\nimport sys\n',
        b"#!/bin/sh\n# pytest is not here\necho no pytest here\nls /opt/pytest-notes\n",
        b"pytest\n",
    ],
)
def test_a_script_that_mentions_a_dev_tool_is_not_a_leak(script: bytes) -> None:
    """In a docstring, in a comment, as an argument, or in a file that is not a script."""
    assert found(file("/usr/local/bin/qa", script)) == []


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        (file("/srv/app/settings.py", b"import os\nimport pytest\n"), rules.DEV_ONLY_IMPORT),
        (file("/srv/app/settings.py", b"#\n" * 1000 + b"def f():\n    from pytest import x"), rules.DEV_ONLY_IMPORT),
        (file("/srv/app/tests/test_x.py", b"import pytest\n"), rules.DEV_ONLY_IMPORT),
        (file("/srv/app/plugins.py", b"importlib.import_module('packaging.version')"), rules.DEV_ONLY_IMPORT),
        (file("/srv/app/plugins.py", b"importlib.import_module('\\x70ytest')"), rules.DEV_ONLY_IMPORT),
        (file("/srv/app/plugins.py", "import \uff50\uff59".encode()), rules.DEV_ONLY_IMPORT),
        (file(f"{SITE}/sitecustomize.py", b"import pytest"), rules.DEV_ONLY_IMPORT),
        (file("/usr/local/lib/python3.13/usercustomize.py", b"import pytest"), rules.DEV_ONLY_IMPORT),
        (file(f"{SITE}/x.pth", b"/opt/x\nimport pytest; pytest.main()\n"), rules.DEV_ONLY_IMPORT),
        (file("/opt/tools/run.py", b"#!/usr/bin/python3\nimport pytest"), rules.DEV_ONLY_IMPORT),
        (file("/srv/app/data.zip!/x.py", b"import pytest", packed=True), rules.DEV_ONLY_IMPORT),
        (file("/opt/qa", b"#!/usr/bin/python3\n" + b"#\n" * 1000 + b"import os, pytest\n"), rules.DEV_COMMAND),
        (file("/opt/qa", b"#!/bin/sh\n" + b"#\n" * 1000 + b"pytest -x\n"), rules.DEV_COMMAND),
        (file("/opt/qa.sh", b"pytest -x\n"), rules.DEV_COMMAND),
        (file("/opt/qa.sh", b"poetry run pytest\n"), rules.DEV_COMMAND),
        (file("/opt/timeout.sh", b"timeout -k 5 60s pytest\n"), rules.DEV_COMMAND),
        (file("/opt/nice.sh", b"set -e\n{ nice -n 5 pytest; }\n"), rules.DEV_COMMAND),
        (file("/opt/tini.sh", b"exec tini -g -- pytest\n"), rules.DEV_COMMAND),
        (file("/opt/gosu.sh", b"if ! gosu app pytest; then\n"), rules.DEV_COMMAND),
        (file("/srv/app/pytest.ini"), rules.TOOL_TRACE),
        (file("/srv/app/conftest.py", b"x = 1"), rules.TOOL_TRACE),
        (file("/srv/app/.pytest_cache/v/x"), rules.TOOL_TRACE),
        (File("/tmp/.pytest_cache", directory=True), rules.TOOL_TRACE),
        (file("/srv/app/.mypy_cache/3.13/x.json"), rules.TOOL_TRACE),
        (file("/opt/.coverage.host.123"), rules.TOOL_TRACE),
        (file("/srv/app/__pycache__/test_x.cpython-313-pytest-9.2.0.pyc"), rules.TOOL_TRACE),
        (file("/srv/app/.pytestrc"), rules.TOOL_TRACE),
        (file("/srv/app/pyproject.toml", b"[project]\n[tool.pytest.ini_options]\n"), rules.TOOL_TRACE),
        (file("/srv/app/setup.cfg", b"[tool:pytest]\n"), rules.TOOL_TRACE),
        (file("/srv/app/key.py", b'TOKEN = "ghp_' + b"a1" * 18 + b'"'), rules.SECRET),
        (file("/opt/x.pem", b"-----BEGIN RSA PRIVATE " + b"KEY-----\nMIIEowIBAAKCAQEA0123456789\n"), rules.SECRET),
        (file("/root/.netrc", b"machine x"), rules.SECRET),
        (file("/etc/pip.conf", b"[global]\nindex-url = https://me:hunter2@i.example/simple\n"), rules.SECRET),
        (file("/srv/app/prod.env", b"DB_PASSWORD=hunter2\n"), rules.SECRET),
        (file("/srv/app/.envrc", b"export API_TOKEN=hunter2\n"), rules.SECRET),
        (file("/srv/app/.env-prod", b"DB_PASSWORD=hunter2\n"), rules.SECRET),
        (file("/srv/app/.flaskenv", b"SECRET_KEY=hunter2\n"), rules.SECRET),
        (file("/srv/app/notes.txt", f"ghp_{'a1' * 18}".encode("utf-16")), rules.SECRET),
        (file("/srv/app/pyproject.toml", b"[tool.'pytest']\n"), rules.TOOL_TRACE),
    ],
    ids=lambda value: value.path if isinstance(value, File) else value.code,
)  # fmt: skip
def test_imports_names_and_contents_are_evidence(planted: File, rule: Rule) -> None:
    """In the sources and elsewhere, and by the most exact rule."""
    facts = image([*PROD, planted])
    (finding,) = leaks.leaks(facts.files, RULES, LOCK, facts)
    assert finding.rule is rule
    assert planted.path.startswith(finding.path)
    if planted.head:
        assert RULES.is_relevant(planted.path, planted.head) or credentials.FILES.search(planted.path)


def test_settings_without_a_login_are_not_findings() -> None:
    """An address of an index, a variable that is to be set, a reference."""
    assert found(file("/etc/pip.conf", b"[global]\nindex-url = https://i.example/simple\n")) == []
    assert found(file("/srv/app/example.env", b"DB_PASSWORD=\nAPI_TOKEN=${API_TOKEN}\nLEVEL=info\n")) == []
    assert found(file("/srv/app/.env-example", b"DB_PASSWORD=hunter2\n")) == []


@pytest.mark.parametrize(
    "planted",
    [
        file("/srv/app/a.py", b"try:\n    import pytest\nexcept ImportError:\n    pytest = None\n"),
        file("/srv/app/a.py", b"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pytest\n"),
        file("/srv/app/a.py", b"import anyio.pytest_plugin, app.pytest\nfrom . import pytest\nfrom .pytest import x\n"),
        file("/srv/app/a.py", b'"""Run pytest: import pytest."""\nname = "pytest"\n'),
        file("/srv/app/a.py", b"import json, no_such_module\n"),
        file("/srv/app/a.txt", b"import pytest\n"),
        file("/srv/app/data/pytest/notes.csv", b"pytest,1\n"),
        file("/srv/app/data/coverage.json", b"{}"),
        file("/srv/app/data/packaging.ini", b"[x]"),
        file("/srv/app/test_x.py", b"x = 1\n"),
        file("/srv/app/pyproject.toml", b"[project]\nname = 'pytest'\n"),
        file("/srv/app/data/x.sh.txt", b"pytest\n"),
        file(f"{SITE}/x.pth", b"/opt/pytest\n# import pytest\n"),
        file("/usr/local/lib/python3.13/tomllib/mypy.ini", b"[mypy]\n"),
        file("/srv/app/keys.py", b'BEGIN = "-----BEGIN PRIVATE KEY-----"\npassword = "x"\n'),
        file("/srv/app/public.pem", b"-----BEGIN PUBLIC KEY-----\nMIIEowIBAAKCAQEA0123456789\n"),
        file("/srv/app/a.py", b"import pytest" + b"\n" * 3000)._replace(head=b"import pytest" + b"\n" * 1011),
    ],
    ids=lambda planted: f"{planted.path}: {planted.head[:40]!r}",
)
def test_optional_imports_prose_and_data_are_not_evidence(planted: File) -> None:
    """Optional imports, prose, data; and a file of which only the beginning was kept is not judged by that."""
    assert found(planted) == []


def test_an_import_that_the_sources_or_the_interpreter_provide_is_not_a_leak() -> None:
    """Dev may have a distribution of the same name."""
    source = file("/srv/app/a.py", b"import packaging")
    assert found(source) == [("packaging", "/srv/app/a.py")]
    for provided in (
        "/usr/local/lib/python3.13/packaging/data",
        "/usr/local/lib/python3.13/lib-dynload/packaging.so.x",
    ):
        assert found(source, file(provided)) == []


def test_only_the_last_layers_version_of_a_source_is_judged() -> None:
    """A later layer has replaced the one that imports it; of other files each layer counts."""
    one, two = (
        file("/srv/app/a.py", content, layer=layer) for layer, content in enumerate((b"import pytest", b"x = 1"))
    )
    assert found(one, two) == []
    assert found(two._replace(layer=0), one._replace(layer=1)) == [("pytest", "/srv/app/a.py")]
    elsewhere = [entry._replace(path="/opt/a.py") for entry in (one, two)]
    assert found(*elsewhere) == [("pytest", "/opt/a.py")]


def test_files_of_a_main_wheel_are_not_evidence_in_another_environment() -> None:
    """An optional extra of a main distribution, its own tests and keys: at its path in whichever site-packages."""
    key = b"-----BEGIN PRIVATE " + b"KEY-----\nMIIEowIBAAKCAQEA0123456789\n"
    carried = {"anyio/conftest.py": b"import pytest", "anyio/.hypothesis/x": LONG, "anyio/key.pem": key}
    mine = [file(f"{SITE}/{path}", content) for path, content in carried.items()]
    record = next(entry for entry in MAIN if entry.path.endswith("anyio-4.16.0.dist-info/RECORD"))
    dev = [entry for entry in DEV if entry is not record]
    dev += [*mine, record._replace(head=record.head + "".join(f"{path},,\n" for path in carried).encode())]
    forbidden = derive(dev, LOCK, SOURCES)
    other = [entry._replace(path=entry.path.replace("/opt/venv", "/code/.venv")) for entry in mine]
    folder = File(f"{SITE}/anyio/.hypothesis", directory=True)
    assert leaks.leaks([*PROD, *mine, *other, folder], forbidden, LOCK) == []
    assert (
        len(
            leaks.leaks(
                [*PROD, *(entry._replace(path=f"/opt/{n}.py") for n, entry in enumerate(mine))], forbidden, LOCK
            )
        )
        == 2
    )


def test_modules_in_a_namespace_of_main_and_dev_are_distinguished() -> None:
    """By the longer name: `google.cloud` is both's, `google.cloud.tasks` only dev's."""
    main = distribution("google_storage", "1", "google/cloud/storage/__init__.py")
    dev = distribution("google_tasks", "1", "google/cloud/tasks/__init__.py", "google/cloud/tasks/v2.py")
    lock = replace(LOCK, main={**LOCK.main, "google-storage": frozenset({"1"})})
    forbidden = derive([*DEV, *main, *dev], lock, SOURCES)
    for source, expected in {
        "import google.cloud.storage, google, google.auth": [],
        "from google.cloud import storage": [],
        "from google.cloud.storage import tasks": [],
        "import google.cloud.tasks.v2": ["google-tasks"],
        "from google.cloud import tasks": ["google-tasks"],
        "from google.cloud.tasks import v2": ["google-tasks"],
    }.items():
        found_leaks = leaks.leaks([*PROD, *main, file("/srv/app/a.py", source.encode())], forbidden, lock)
        assert [leak.what for leak in found_leaks] == expected, source


def test_files_of_a_tool_in_the_main_group_are_not_evidence() -> None:
    """Where the lock's main group has it, its files and variables are the service's own."""
    forbidden = replace(RULES, locked=frozenset({"coverage"}))
    assert leaks.leaks([*PROD, file("/srv/app/.coveragerc")], forbidden, LOCK) == []
    assert forbidden.variable_owner("COVERAGE_FILE", "x") is None
    assert RULES.variable_owner("COVERAGE_FILE", "x") == "coverage"


def test_a_word_of_other_trades_is_not_a_tools_variable() -> None:
    """Where the dev group has the tool, too, only its own variables count; of other tools all that begin so."""
    forbidden = replace(RULES, scripts={"coverage": "coverage", "covered": "covered"})
    assert forbidden.variable_owner("COVERAGE_LIMIT", "1") is None
    assert forbidden.variable_owner("COVERAGE_RCFILE", "x") == "coverage"
    assert forbidden.variable_owner("COVERED_LIMIT", "1") == "covered"


def test_hostile_scripts_are_judged_in_bounded_time() -> None:
    """Each pattern stays within a line."""
    script = b"#!/bin/sh\n" + b"\n" * 1_000_000 + b"A=1\n" * 100_000 + b"a=(" * 100_000
    started = time.process_time()
    assert found(file("/opt/x", script)) == []
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "path",
    [
        "/usr/local/lib/python3.13/site-packages/pip-25.1.dist-info/METADATA",
        "/usr/local/lib/python3.13/ensurepip/_bundled/pip-25.1-py3-none-any.whl!/pip-25.1.dist-info/METADATA",
    ],
)
def test_pip_of_the_base_image_is_a_leak(path: str) -> None:
    """The base image's own tools stay behind: production takes the interpreter from it, not what installs packages."""
    assert [what for what, _ in found(file(path, b"Name: pip"))] == ["pip"]


def test_a_base_image_with_pytest_is_found() -> None:
    """Where its copy of the standard library holds it."""
    planted = file("/usr/local/lib/python3.13/pytest/__init__.py", b"", layer=0)
    assert found(planted) == [("pytest", "/usr/local/lib/python3.13/pytest")]


def test_a_finding_names_its_instruction_and_counts_its_files() -> None:
    """One line for a folder, however many files are in it."""
    planted = [file(f"/opt/x/pytest/{number}.py", layer=1) for number in range(3)]
    facts = image([*PROD, *planted])
    (finding,) = leaks.leaks(facts.files, RULES, LOCK, facts)
    assert finding == Finding(rules.DEV_IMPORT, "pytest", "/opt/x/pytest", "COPY prod", "imported as pytest", 3, 1)


def test_pytest_in_the_main_group_is_a_finding_in_the_lock() -> None:
    """Then nothing in dev is forbidden, and the image holds it rightfully: the lock itself is the leak."""
    assert leaks.denied(LOCK, ["pytest", "Pytest_*"], "uv.lock") == []
    with_both = replace(LOCK, main={**LOCK.main, "pytest": frozenset({"9.2.0"}), "pytest-asyncio": frozenset({"2.0"})})
    finding, plugin = leaks.denied(with_both, ["pytest", "Pytest_*"], "uv.lock")
    assert plugin.what == "pytest-asyncio"
    assert (finding.what, finding.path) == ("pytest", "uv.lock")


def test_unchanged_files_of_the_base_image_are_not_reported() -> None:
    """A finding about a file that the base image has with the same content is dropped, any other is kept."""
    planted = file("/usr/share/zoneinfo/Europe/Rome", sha256="a" * 64)
    facts = image([planted])
    finding = Finding(rules.DEV_CONTENT, "tzdata", planted.path, "COPY", "its content", 1, planted.layer)
    assert leaks.may_be_of_base([finding])
    assert not leaks.may_be_of_base([replace(finding, layer=None)])
    assert leaks.not_in_base([finding], facts, {planted.path: frozenset({"a" * 64})}) == []
    assert leaks.not_in_base([finding], facts, {planted.path: frozenset({"b" * 64})}) == [finding]
