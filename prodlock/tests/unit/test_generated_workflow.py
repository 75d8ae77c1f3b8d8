"""The workflow of GitHub Actions that `prodlock init --workflow` and `prodlock upgrade` write."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import tasks
from prodlock import __version__, cli, generated_workflow, vendored
from prodlock.failure import FAILED, Failure
from prodlock.generated_workflow import FILE
from prodlock.tests.unit.moving import moved_in, texts, upgrade

REPOSITORY = Path(__file__).parents[3]
HINT = f"{FILE} must name the git repository that Prodlock is installed from"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Captured = pytest.CaptureFixture[str]


class Installed(metadata.Distribution):
    """An installed distribution with a record of where it comes from."""

    def __init__(self, recorded: Mapping[str, Any] | None) -> None:
        """Take what direct_url.json has, or None where there is no such file."""
        self.recorded = recorded

    def read_text(self, filename: str) -> str | None:
        """Return the content of a file of the metadata."""
        assert filename == "direct_url.json"
        return None if self.recorded is None else json.dumps(self.recorded)

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        """Return the place of a file."""
        return REPOSITORY / path


def rendered(root: Path, name: str = "tasks.py", *, is_own: bool = False) -> str:
    """Return the text of the workflow."""
    return generated_workflow.files(root, name, is_own=is_own)[FILE].text


def jobs(text: str) -> dict[str, str]:
    """Return the text of each job by its name."""
    found = re.split(r"^  (\w+):\n", text.partition("\njobs:\n")[2], flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def script(text: str) -> str:
    """Return the script of the step that publishes."""
    _, _, lines = text.partition("        run: |\n")
    return re.sub(r"^ {10}", "", lines, flags=re.MULTILINE)


# The text


def test_the_workflow_of_this_repository_is_rendered() -> None:
    """Byte for byte."""
    assert (REPOSITORY / FILE).read_text(encoding="utf-8") == rendered(REPOSITORY, is_own=True)


def test_actions_are_pinned_by_commit(tmp_path: Path) -> None:
    """With the version that the commit has, which Renovate reads."""
    used = re.findall(r"uses: (.*)", rendered(tmp_path))
    assert len(used) == 4
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)


@pytest.mark.parametrize("is_own", [True, False])
def test_steps_call_the_tasks_only(tmp_path: Path, *, is_own: bool) -> None:
    """Beside the installation and the login; each of the tasks exists."""
    text = rendered(tmp_path, is_own=is_own)
    lines = re.findall(r"run: (?!\|)(.*)", text)
    others = [line for line in lines if not line.startswith("inv ")]
    assert {line.split()[0] for line in others} == {"pip", "docker"}
    assert [line for line in others if line.startswith("docker")] == [
        'docker login ghcr.io --username "$GITHUB_ACTOR" --password-stdin <<< "$TOKEN"'
    ]
    called = {name for line in lines if line.startswith("inv ") for name in line.split()[1:]}
    assert called == {"setup", "lint", "build", "test", "check-prod-has-no-pytest", "check-prod"}
    assert called <= {name.replace("_", "-") for name in tasks.namespace.tasks}


def test_pull_requests_get_no_token_of_the_registry(tmp_path: Path) -> None:
    """The one permission to write is that of the job that publishes, which runs for pushes alone."""
    text = rendered(tmp_path)
    found = jobs(text)
    head = text.partition("\njobs:\n")[0]
    assert list(found) == ["check", "publish"]
    assert "\npermissions:\n  contents: read\nconcurrency:\n" in head
    assert re.findall(r"[\w-]+: write", text) == ["packages: write"]
    for part in ("packages: write", "GITHUB_TOKEN", "docker login"):
        assert part in found["publish"]
        assert part not in head + found["check"]
    assert "    if: github.event_name == 'push'\n" in found["publish"]
    assert "    needs: check\n" in found["publish"]
    # Nor does git keep a token that the tests could read.
    assert text.count("persist-credentials: false") == text.count("actions/checkout@") == 2


def test_runs_are_bounded(tmp_path: Path) -> None:
    """Each job by 10 minutes. A newer commit ends the run of a pull request, and not a publication."""
    text = rendered(tmp_path)
    assert re.findall(r"timeout-minutes: (\d+)", text) == ["10"] * len(jobs(text))
    assert "  cancel-in-progress: ${{ github.event_name == 'pull_request' }}\n" in text


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_job_that_deploys_is_given_the_digest(tmp_path: Path, code: int) -> None:
    """As the shell of the runner executes the step; where the task fails, the step fails and there is no output."""
    (tmp_path / "inv").write_text(
        f'#!/bin/sh\necho "$@" > asked\necho Pushed. >&2\necho ghcr.io/acme/shop@sha256:0\nexit {code}\n',
        encoding="utf-8",
    )
    (tmp_path / "inv").chmod(0o755)
    text = rendered(tmp_path)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": "output",
        "GITHUB_REPOSITORY": "Acme/Shop",
        "GITHUB_SHA": COMMIT,
        "GITHUB_STEP_SUMMARY": "summary",
    }
    # https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell
    shell = ["bash", "-e", "-c", script(text)]
    done = subprocess.run(shell, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == code
    assert (tmp_path / "asked").read_text(encoding="utf-8") == f"publish --to ghcr.io/acme/shop:{COMMIT}\n"
    output, summary = (tmp_path / name for name in ("output", "summary"))
    if code:
        assert not output.exists()
        return
    assert output.read_text(encoding="utf-8") == "image=ghcr.io/acme/shop@sha256:0\n"
    assert summary.read_text(encoding="utf-8") == "ghcr.io/acme/shop@sha256:0\n"
    assert "image: ${{ steps.publish.outputs.image }}" in text
    assert "- id: publish\n" in text


# The installed version


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (
            {
                "url": "https://git.example/prodlock.git",
                "vcs_info": {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"},
                "subdirectory": "prodlock",
            },
            f"'prodlock @ git+https://git.example/prodlock.git@{COMMIT}#subdirectory=prodlock'",
        ),
        (
            {"url": "ssh://git@git.example/prodlock", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"'prodlock @ git+ssh://git@git.example/prodlock@{COMMIT}'",
        ),
        (
            {"url": "https://files.example/prodlock.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
            "'prodlock @ https://files.example/prodlock.whl#sha256=ab'",
        ),
        (
            {"url": "https://files.example/prodlock.whl", "archive_info": {}},
            "'prodlock @ https://files.example/prodlock.whl'",
        ),
        (None, f"prodlock=={__version__}"),
    ],
)
def test_the_version_that_runs_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Mapping[str, Any] | None, expected: str
) -> None:
    """From the place that it was installed from: git, an archive or an index."""
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(recorded))
    text = rendered(tmp_path)
    assert text.count(f"      - run: pip install {expected}\n") == 2
    assert generated_workflow.UNKNOWN not in text


@pytest.mark.parametrize(
    "recorded",
    [
        {"url": "file:///srv/prodlock", "dir_info": {}},
        {"url": "file:///srv/prodlock", "dir_info": {"editable": True}},
        {"url": "file:///srv/prodlock.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
    ],
)
def test_no_folder_of_this_machine_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Mapping[str, Any]
) -> None:
    """The user names the repository; the version is that of the vendored files."""
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(recorded))
    text = rendered(tmp_path)
    expected = '"prodlock @ git+REPOSITORY@v$(cat prodlock/VERSION)#subdirectory=prodlock"'
    assert text.count(f"pip install {expected}\n") == 2
    assert "/srv" not in text


def test_another_installed_version_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prodlock runs in place, and an environment has another one."""
    monkeypatch.setattr(Installed, "locate_file", lambda *_: tmp_path / "prodlock")
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(None))
    assert generated_workflow.UNKNOWN in rendered(tmp_path)


def test_this_repository_installs_what_its_tasks_need() -> None:
    """They import the package in place."""
    assert rendered(REPOSITORY, is_own=True).count("run: pip install 'invoke>=3'\n") == 2


# init and upgrade


def test_the_workflow_is_written_where_it_is_asked_for(tmp_path: Path, capsys: Captured) -> None:
    """By `init --workflow`, or later by `upgrade --workflow`: the same file. Without the option neither writes it."""
    first, second = moved_in(tmp_path / "first", workflow=True), moved_in(tmp_path / "second", workflow=False)
    assert not (second / ".github").exists()
    assert [upgrade(second), upgrade(first)] == [0, 0]
    assert capsys.readouterr().out == f"All files are those of Prodlock {__version__} already.\n" * 2
    assert upgrade(second, "--workflow") == 0
    assert HINT in capsys.readouterr().out
    assert texts(second) == texts(first)
    assert FILE in texts(first)


def test_init_has_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """In an empty folder as well."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "shop", "--workflow"]) == 0
    assert (tmp_path / FILE).is_file()
    assert HINT in capsys.readouterr().out


def test_the_hint_is_printed_for_an_unknown_repository_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The positive control is above."""
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(None))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "shop", "--workflow"]) == 0
    assert "REPOSITORY" not in capsys.readouterr().out


def test_a_project_with_tasks_of_its_own_calls_those_of_prodlock(tmp_path: Path) -> None:
    """Its tasks.py stays; init and upgrade write the same."""
    tmp_path.joinpath("tasks.py").touch()
    text = (moved_in(tmp_path, workflow=True) / FILE).read_text(encoding="utf-8")
    assert text.count("run: inv -c prodlock_tasks build\n") == 2
    assert "$(inv -c prodlock_tasks publish " in text
    assert not re.search(r"inv (?!-c prodlock_tasks )[a-z]", text)
    before = texts(tmp_path)
    assert upgrade(tmp_path) == 0
    assert texts(tmp_path) == before


def test_edits_of_the_workflow_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """A newer version has no conflict with the repository that the user has named."""
    file = moved_in(tmp_path, workflow=True) / FILE
    text = file.read_text(encoding="utf-8").replace("git+REPOSITORY", "git+https://git.example/prodlock")
    text = text.replace("      - run: inv lint\n", "").replace("ubuntu-24.04", "[self-hosted, linux]")
    file.write_text(text, encoding="utf-8")
    for module in ("scaffold.upgrade", "vendored"):
        monkeypatch.setattr(f"prodlock.{module}.__version__", "99.0")
    assert upgrade(tmp_path) == 0
    assert (tmp_path / vendored.VERSION).read_text(encoding="utf-8") == "99.0\n"
    assert file.read_text(encoding="utf-8") == text
    assert HINT not in capsys.readouterr().out


def test_a_removed_workflow_is_not_written_again(tmp_path: Path) -> None:
    """The project does without it, until it is asked for."""
    file = moved_in(tmp_path, workflow=True) / FILE
    file.unlink()
    assert upgrade(tmp_path) == 0
    assert not file.exists()
    assert FILE not in vendored.unpacked((tmp_path / vendored.BASE).read_text(encoding="utf-8"))
    assert upgrade(tmp_path, "--workflow") == 0
    assert file.is_file()


def test_a_workflow_of_the_user_is_not_overwritten(tmp_path: Path, capsys: Captured) -> None:
    """Neither by init nor by upgrade; nothing is written. Other workflows are not in the way."""
    moved_in(tmp_path, workflow=False)
    for name in (FILE, ".github/workflows/ci.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine\n", encoding="utf-8")
    before = texts(tmp_path)
    assert upgrade(tmp_path, "--workflow") == FAILED
    assert f"{FILE} must not exist yet" in capsys.readouterr().err
    assert upgrade(tmp_path) == 0
    assert texts(tmp_path) == before
    fresh = tmp_path / "fresh"
    (fresh / FILE).parent.mkdir(parents=True)
    (fresh / FILE).touch()
    with pytest.raises(Failure, match=f"^{FILE} must not exist yet"):
        moved_in(fresh, workflow=True)
    (tmp_path / FILE).unlink()
    assert upgrade(tmp_path, "--workflow") == 0


def test_a_folder_of_a_repository_is_refused(tmp_path: Path) -> None:
    """GitHub reads workflows at the top of a repository alone; the positive control is such a folder."""
    service = tmp_path / "services" / "shop"
    service.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    with pytest.raises(Failure, match=r"at the top of its git repository .*\(got the folder services/shop of "):
        rendered(service)
    # As a worktree and a submodule have it.
    (service / ".git").write_text("gitdir: elsewhere\n", encoding="utf-8")
    assert rendered(service) == rendered(tmp_path)
