"""Images that hold what they should: no false alarm."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import DEV, PROD, check, docker, edit, inspected, install_again, inv, planted

ADDED = {
    "labels, variables and an argument": (
        "LABEL org.opencontainers.image.source=https://git.example/pytest\nARG LEVEL=1\nENV LEVEL=$LEVEL LC_ALL=C.UTF-8"
    ),
    "data with familiar names": (
        "RUN mkdir -p /data/pytest /data/packaging && echo x > /data/pytest/notes.txt"
        " && echo y > /data/packaging/list.csv && echo z > /data/.environment"
    ),
    "an archive of data": ("RUN python -c \"import tarfile; tarfile.open('/data.tar.gz', 'w:gz').add('/etc/passwd')\""),
    "optional imports, data and names that only look like a dev tool's or a secret": (
        "RUN printf 'try:\\n    import pytest\\nexcept ImportError:\\n    pytest = None\\n' > /opt/optional.py"
        " && echo 'import pytest' > /opt/notes.txt && echo '[x]' > /opt/packaging.ini"
        " && echo 'BEGIN PRIVATE KEY' > /opt/about.txt\n"
        "ENV COMPASS=north GPG_KEY=ABC DB_PASSWORD_FILE=/run/secrets/db MAX_TOKENS=4096 COVERAGE_LIMIT=1 TOKEN="
    ),
    "a command that runs no test": 'CMD ["python", "-c", "print(1)"]',
    "a package of Debian's": "RUN cp /bin/dpkg /usr/local/bin/tool",
}


def test_check_accepts_prod() -> None:
    """The built image has no finding; the report counts what was read."""
    code, report = check()
    assert (code, report["clean"], report["findings"]) == (0, True, [])
    assert report["id"] == inspected(PROD)["Id"]
    assert "pytest" in report["forbidden"]
    assert report["read"]["layers"] == len(inspected(PROD)["RootFS"]["Layers"])
    assert report["read"]["files"] > 1000


def test_check_finds_every_dev_distribution_in_dev() -> None:
    """The positive control, end to end: the same question about dev finds every dev distribution."""
    code, report = check(f"--image={DEV}")
    assert code == 1
    assert {finding["what"] for finding in report["findings"]} >= set(report["forbidden"])


def test_check_accepts_what_a_service_may_add() -> None:
    """All of it is added to one image; the check finds nothing there."""
    with planted("\n".join(ADDED.values()), "-") as image:
        code, report = check(f"--image={image}")
    assert (code, report["findings"]) == (0, [])


def test_check_accepts_other_dependencies(copy: Path) -> None:
    """Setuptools carries packaging in its wheel, certifi a folder of tests: both in main, both no leak.

    Of all that is installed again, the build downloads no more than these two.
    """
    install_again(copy)
    assert inv("build", cwd=copy).returncode == 0
    assert inv("poetry", "--", "add", "--lock", "setuptools", "certifi", cwd=copy).returncode == 0
    built = inv("build", cwd=copy)
    assert built.returncode == 0, built.stderr
    assert max(map(int, re.findall(r"Installed (\d+) packages", built.stderr))) > 10
    assert sum(map(int, re.findall(r"Prepared (\d+) packages?", built.stderr))) <= 2
    done = inv("check-prod-has-no-pytest", "--json", cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "packaging" in json.loads(done.stdout)["forbidden"]


@pytest.mark.parametrize("name", ["prices", '"prices"'])
def test_check_accepts_a_service_of_another_name(copy: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As docker-compose.yml names it."""
    monkeypatch.delenv("PRODLOCK_PROJECT")
    edit(copy / "docker-compose.yml", "name: quotes\n", f"name: {name}\n")
    done = inv("build", "check-prod-has-no-pytest", cwd=copy)
    docker("rmi", "prices:prod", "prices:dev")
    assert done.returncode == 0, done.stderr
    assert "\nprices:prod is clean: " in done.stdout
