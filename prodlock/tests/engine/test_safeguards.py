"""Tests of safeguards in docs/reference/safeguards.md that belong to no other subject: each sees one refuse."""

from __future__ import annotations

import http.server
import io
import re
import socket
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from prodlock.tests.engine.conftest import (
    BASE,
    DEV,
    PORT,
    PROD,
    ROOT,
    answers,
    docker,
    inv,
    planted,
    secrets,
    served,
    until,
)
from prodlock.tests.engine.test_failures import message


def gateway() -> str:
    """Return the address at which containers reach this machine."""
    return docker("network", "inspect", "bridge", "--format={{(index .IPAM.Config 0).Gateway}}").stdout.strip()


@pytest.fixture(scope="module")
def listener() -> Iterator[str]:
    """A Python program that connects from a container to a listener on the Engine's bridge."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - for the test's time
        port = server.getsockname()[1]
        # The kernel completes connections, without a call of accept().
        yield f"import socket; socket.create_connection(('{gateway()}', {port}), 5); print('connected')"


def test_a_step_without_a_network_reaches_no_address(listener: str) -> None:
    """The control: the same step with a network connects."""
    for option, connects in (("", True), ("--network=none", False)):
        step = f'FROM {BASE}\nRUN {option} python -c "{listener}"\n'
        done = docker("build", "--no-cache", "--progress=plain", "-", input=step, check=False)
        assert (done.returncode == 0, "Network is unreachable" in done.stderr) == (connects, not connects), done.stderr


def test_the_tests_reach_no_address(listener: str) -> None:
    """Compose gives the tests no network; without Compose, the control, the same image has one."""
    assert docker("run", "--rm", DEV, "python", "-c", listener).stdout == "connected\n"
    done = inv("shell", "--", "python", "-c", listener)
    assert done.returncode != 0
    assert "Network is unreachable" in done.stderr + done.stdout


# By distribution: the list that pins it, the task that needs it, and the stage and the message of the failure.
PINNED = {
    "uv": ("uv.txt", ["build"], "uv", "with a sha256 in prodlock/inside/uv.txt (got another)"),
    "tomlkit": (
        "requirements/poetry.txt",
        ["poetry", "--", "--version"],
        "tool",
        "with the sha256 in the lock or in the tool's requirements (got another)",
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_a_tool_with_another_hash_stops_the_build(copy: Path, name: str) -> None:
    """The index serves uv, or a part of Poetry, with a sha256 other than the pinned one."""
    file, task, stage, reason = PINNED[name]
    pins = copy / "prodlock/inside" / file
    text = pins.read_text(encoding="utf-8")
    pinned = re.search(rf"^{name}==.*\n(?:    --hash=.*\n)+", text, re.MULTILINE)
    assert pinned
    pins.write_text(text.replace(pinned[0], re.sub(r"[0-9a-f]{64}", "0" * 64, pinned[0])), encoding="utf-8")
    printed = message(inv(*task, cwd=copy))
    dockerfile = "prodlock/inside/Dockerfile" if stage == "tool" else "Dockerfile"
    assert re.match(rf"The build failed at {dockerfile}:\d+, stage {stage}, step ", printed)
    assert f"The package index must serve {name}==" in printed
    assert reason in printed.splitlines()[-1]


class Index(http.server.BaseHTTPRequestHandler):
    """A package index that has one wheel, without its hash."""

    wheel = b""

    def do_GET(self) -> None:
        """Serve the page of the wheel, or the wheel."""
        is_wheel = self.path.endswith(".whl")
        page = b"<!DOCTYPE html><a href='/h11-0.16.0-py3-none-any.whl'>h11-0.16.0-py3-none-any.whl</a>"
        content = self.wheel if is_wheel else page
        self.send_response(200 if is_wheel or self.path == "/simple/h11/" else 404)
        self.send_header("Content-Type", "application/zip" if is_wheel else "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_another_index_can_serve_locked_files_only(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock names a second index, which serves a wheel of the locked version with other content."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as wheel:
        wheel.writestr("h11/__init__.py", "evil = True\n")
        wheel.writestr("h11-0.16.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: h11\nVersion: 0.16.0\n")
        wheel.writestr("h11-0.16.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("h11-0.16.0.dist-info/RECORD", "")
    monkeypatch.setattr(Index, "wheel", written.getvalue())
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Index) as server:  # noqa: S104 - for the test's time
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = f'[package.source]\ntype = "legacy"\nurl = "http://{gateway()}:{server.server_port}/simple"\n'
        lock = copy / "poetry.lock"
        text = lock.read_text(encoding="utf-8")
        end = text.index("\n]\n", text.index('name = "h11"')) + 3
        lock.write_text(f'{text[:end]}\n{source}reference = "x"\n{text[end:]}', encoding="utf-8")
        printed = message(inv("build", cwd=copy))
        server.shutdown()
    assert printed.splitlines()[-1].startswith("The package index must serve h11==0.16.0 with the sha256 in the lock")


def test_an_unreachable_debian_mirror_stops_the_build() -> None:
    """Without packages.sh, apt would continue with old lists or none."""
    arguments = ("--target=base", "--build-arg=PACKAGES=tree", "--network=none", "--progress=plain", *secrets())
    done = docker("build", *arguments, ".", cwd=ROOT, check=False)
    assert done.returncode != 0
    assert re.search(r"^#\d+ [\d.]+ E: Failed to fetch http", done.stderr, re.MULTILINE)


def test_only_allowed_files_reach_a_build(copy: Path, tmp_path: Path) -> None:
    """.dockerignore is an allow-list: the build context has no file that it does not name."""
    for name in (
        ".env",
        ".env.example",
        ".env.local",
        "notes.txt",
        "bench/notes.txt",
        "deploy/x",
        "app/__pycache__/main.pyc",
        ".git/config",
    ):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("SECRET=1\n", encoding="utf-8")
    seen = tmp_path / "seen"
    docker("build", "--file=-", f"--output={seen}", ".", cwd=copy, input="FROM scratch\nCOPY . /\n")
    found = {str(path.relative_to(seen)) for path in seen.rglob("*") if path.is_file()}
    assert {"app/main.py", "prodlock/inside/install.py", "poetry.lock", "tests/test_main.py"} <= found
    assert {name.partition("/")[0] for name in found} == {
        ".env.example", "app", "poetry.lock", "prodlock", "pyproject.toml", "tasks.py", "tests",
    }  # fmt: skip
    parts = {name.split("/")[1] for name in found if name.startswith("prodlock/")}
    assert parts == {"__init__.py", "inside", "loop", "server"}
    assert not [name for name in found if "__pycache__" in name or "notes" in name]


THREADS = """
import threading, time
for _ in range(99): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
"""
WRITE = "open('/srv/x', 'w')"
OWN = "import os; open('/tmp/x', 'w'); os.chown('/tmp/x', 1, 1)"
# By attempt: the script, the user who runs it in the container, and the error.
ATTEMPTS = {
    "become root": ("import os; os.setuid(0)", "10001", "Operation not permitted"),
    "write to the root": (WRITE, "0", "Read-only file system"),
    "use a capability": (OWN, "0", "Operation not permitted"),
    "start many threads": (THREADS, "10001", "can't start new thread"),
}
# Use all CPU time for a second, then print how often the kernel throttled the processes (cgroups, version 2 or 1).
BURN = """
import glob, os, re, time
end = time.monotonic() + 1
first = all([os.fork() for _ in range(4)])
while time.monotonic() < end: pass
if first:
    (path,) = glob.glob('/sys/fs/cgroup/cpu.stat') or glob.glob('/sys/fs/cgroup/cpu/cpu.stat')
    print(re.search(r'nr_throttled (\\d+)', open(path).read())[1])
"""


def attempt(container: str, script: str, user: str) -> str:
    """Return the error of a script in a container, or an empty string where it succeeds."""
    done = docker("exec", f"--user={user}", container, "python", "-c", script, check=False)
    return done.stderr if done.returncode else ""


def test_the_container_has_no_unneeded_privileges() -> None:
    """Compose's options refuse every attempt; without them, the control, the same image allows them."""
    with served() as container:
        for what, (script, user, error) in ATTEMPTS.items():
            assert error in attempt(container, script, user), what
        # On a busy machine the processes may at first get less than one core.
        until(lambda: int(docker("exec", container, "python", "-c", BURN).stdout) > 0, 60)
        assert httpx.get(f"http://127.0.0.1:{PORT}/health").status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{gateway()}:{PORT}/health")
    bare = docker("run", "--detach", f"--publish={PORT}:8000", PROD).stdout.strip()
    try:
        allowed = {what for what, (script, user, _) in ATTEMPTS.items() if not attempt(bare, script, user)}
        assert allowed == set(ATTEMPTS) - {"become root"}
        assert attempt(bare, ATTEMPTS["become root"][0], "0") == ""
        assert int(docker("exec", bare, "python", "-c", BURN).stdout) == 0
        until(answers, 20)
        assert httpx.get(f"http://{gateway()}:{PORT}/health").status_code == 200
    finally:
        docker("rm", "--force", bare)


def test_logs_do_not_fill_the_disk() -> None:
    """Compose limits what the Engine keeps of 40 MB to 3 files of 10 MB; without it, the control, all is kept."""
    command = ("python", "-S", "-c", "for number in range(4_000): print(number, 'x' * 10_000)")
    by_compose = ("compose", "--profile=prod", "run", "--detach", "--no-deps", "api-prod")
    for run, is_limited in ((by_compose, True), (("run", "--detach", "--log-driver=json-file", PROD), False)):
        container = docker(*run, *command).stdout.strip()
        try:
            assert docker("wait", container).stdout == "0\n"
            kept = docker("logs", container).stdout.splitlines()
            assert kept[-1].startswith("3999 ")
            assert kept[0].startswith("0 ") is not is_limited
            assert (len(kept) <= 3_000) is is_limited
        finally:
            docker("rm", "--force", container)


def test_a_setuid_file_gives_no_privileges() -> None:
    """Compose sets no-new-privileges; without it, the control, a setuid file makes a user root."""
    made = "RUN cp /usr/local/bin/python3.13 /usr/local/bin/setuid && chmod 4755 /usr/local/bin/setuid"
    with planted(made, "-") as tag:
        for options, user in (((), "0"), (("--security-opt=no-new-privileges:true",), "10001")):
            command = ("/usr/local/bin/setuid", "-c", "import os; print(os.geteuid())")
            assert docker("run", "--rm", "--user=10001:10001", *options, tag, *command).stdout.strip() == user
