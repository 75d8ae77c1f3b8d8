"""Discovery of the application: what a project creates, what its files declare, and what is refused."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from prodlock.failure import Failure
from prodlock.tests.unit.existing import APP, HASHED, find_in, hashed

DJANGO = "from django.core.asgi import get_asgi_application\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("main.py", APP, "main:app"),
        ("main.py", "import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n", "main:api"),
        ("main.py", "from fastapi import FastAPI as F\ndef create_app() -> F:\n    return F()\n", "main:create_app"),
        ("main.py", "from fastapi import FastAPI\ndef make():\n    x = FastAPI()\n    return x\n", "main:make"),
        ("main.py", "from fastapi import FastAPI\ndef make(a):\n    return FastAPI()\napp = make(1)\n", "main:app"),
        ("main.py", "from x import Cors\n" + APP + "app = Cors(app)\n", "main:app"),
        ("main.py", APP + "class Cors: ...\nwrapped = Cors(app)\n", "main:wrapped"),
        (
            "main.py",
            "import socketio\n" + APP + "server = socketio.ASGIApp(socketio.AsyncServer(), app)\n",
            "main:server",
        ),
        ("main.py", "from fastapi import FastAPI\napp, other = FastAPI(), 1\n", "main:app"),
        ("main.py", APP + "admin = Admin(app, engine)\nhandler = Mangum(app)\nclient = TestClient(app)\n", "main:app"),
        ("main.py", APP + "asgi = Outer(Inner(app=app))\n", "main:asgi"),
        ("main.py", APP + "traced = OpenTelemetryMiddleware(app)\n", "main:traced"),
        ("main.py", APP + "def client():\n    return TestClient(FastAPI())\n", "main:app"),
        ("main.py", "from blacksheep import Application\napp = Application()\n", "main:app"),
        ("shop/asgi.py", DJANGO + "application = get_asgi_application()\n", "shop.asgi:application"),
        (
            "shop/asgi.py",
            DJANGO + "from channels.routing import ProtocolTypeRouter as Router\nhttp = get_asgi_application()\n"
            "application = Router({'http': http})\n",
            "shop.asgi:application",
        ),
        ("main.py", DJANGO + APP + "app.mount('/admin', get_asgi_application())\n", "main:app"),
        ("main.py", APP + "sub = FastAPI()\napp.mount('/sub', sub)\n", "main:app"),
        ("main.py", APP + "if __name__ == '__main__':\n    other = FastAPI()\n", "main:app"),
        ("main.py", "from fastapi import FastAPI\ntry:\n    app = FastAPI()\nfinally:\n    pass\n", "main:app"),
        ("shop/__init__.py", APP, "shop:app"),
        (
            "shop/web.py",
            "from starlette.applications import Starlette\napp = Starlette(routes=[])\n",
            "shop.web:app",
        ),
    ],
)
def test_an_application_is_found_in_each_usual_form(tmp_path: Path, name: str, text: str, expected: str) -> None:
    """Objects, annotated objects, factories, wrapped applications; not mounted ones, nor those of `__main__`."""
    assert find_in(tmp_path, {name: text}).keys["application"] == expected


def test_a_member_whose_application_comes_from_another_one_is_refused_with_the_root(tmp_path: Path) -> None:
    """Its factory, and the lock, are outside of the folder."""
    (tmp_path / "uv.lock").write_text("")
    member = tmp_path / "services" / "api"
    member.mkdir(parents=True)
    text = "from kernel import make_app\napp = make_app()\n"
    with pytest.raises(Failure, match=rf"run `prodlock init` in {re.escape(str(tmp_path.resolve()))}, and name the"):
        find_in(member, {"main.py": text, "lock-of-another-tool": ""})


def test_a_lock_that_git_ignores_is_not_one_of_a_folder_above(tmp_path: Path) -> None:
    """The remedy was to run the command in the folder in which it ran."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # noqa: S607 - the git of the machine
    (tmp_path / ".gitignore").write_text("uv.lock\n", encoding="utf-8")
    with pytest.raises(Failure, match=r"got none\)\. To fix it: name the application"):
        find_in(tmp_path, {"main.py": "", "uv.lock": ""})


def test_two_equal_applications_are_refused_with_both_places(tmp_path: Path) -> None:
    """The message names both places and the option that decides."""
    with pytest.raises(Failure, match=r"`app` \(a/main.py:2\), `app` \(b/main.py:2\).*--set application="):
        find_in(tmp_path, {"a/main.py": APP, "b/main.py": APP})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", 'FROM x\nCMD ["uvicorn", "b.main:app", "--port", "80"]\n'),
        ("Dockerfile", 'FROM x\nENTRYPOINT ["uvicorn"]\nCMD ["b.main:app"]\n'),
        ("Dockerfile", 'FROM x\nCMD ["python", "-m", "uvicorn", "b.main:app"]\n'),
        ("Dockerfile", "FROM x\nCMD exec /app/.venv/bin/gunicorn -k uvicorn.workers.UvicornWorker b.main:app\n"),
        ("Dockerfile", 'FROM x\nCMD ["fastapi", "run", "b/main.py"]\n'),
        ("Procfile", "web: uvicorn b.main:app\n"),
        ("docker-compose.yml", "services:\n  api:\n    command: uv run uvicorn b.main:app\n"),
        ("docker-compose.yml", "services:\n  api:\n    command:\n      - uvicorn\n      - b.main:app\n"),
        ("docker-compose.yml", "services:\n  api:\n    command: [\n      uvicorn,\n      'b.main:app'\n    ]\n"),
        ("docker-compose.yml", "services:\n  api:\n    command: >\n      sh -c 'sleep 1 && uvicorn b.main:app'\n"),
        ("Makefile", "run:\n\tpoetry run uvicorn b.main:app --reload\n"),
        ("justfile", "run:\n    uv run uvicorn b.main:app --reload\n"),
        ("Taskfile.yml", "tasks:\n  run:\n    cmds:\n      - uvicorn b.main:app --reload\n"),
        (
            "Dockerfile",
            "FROM x\nCOPY <<'EOF' /start.sh\n#!/bin/sh\nexec uvicorn b.main:app\nEOF\nCMD [\"/start.sh\"]\n",
        ),
        ("Dockerfile", 'FROM x\nENV LITESTAR_APP=b.main:app\nENTRYPOINT ["litestar"]\nCMD ["run"]\n'),
        ("pyproject.toml", '[tool.fastapi]\nentrypoint = "b.main:app"\n'),
        ("run.py", 'import uvicorn\nuvicorn.run("b.main:app")\n'),
        ("run.py", 'import uvicorn\nuvicorn.run(app="b.main:app")\n'),
        ("run.py", 'from uvicorn import Config, Server\nServer(Config("b.main:app")).run()\n'),
    ],
)
def test_a_declared_command_decides_between_applications(tmp_path: Path, name: str, text: str) -> None:
    """Each file of deployment or development that names one of two applications decides."""
    found = find_in(tmp_path, {"a/main.py": APP, "b/main.py": APP, name: text})
    assert found.keys["application"] == "b.main:app"


@pytest.mark.parametrize(
    ("lock", "remedy"),
    [
        ("requirements.txt", "run `prodlock init` in the folder of one, such as services/a."),
        (
            "other",
            "name it, for example with `--set application=app.main:app` and `--set 'import-from=[\"services/a\"]'`.",
        ),
    ],
)
def test_several_services_are_refused_with_what_moves_one_in(tmp_path: Path, lock: str, remedy: str) -> None:
    """Its folder, where it has a lock of its own, or else its import folder beside its name."""
    files = {
        f"services/{name}/{file}": text
        for name in ("a", "b")
        for file, text in {
            lock: HASHED,
            "pyproject.toml": "",
            "app/main.py": "import app.x\n" + APP,
            "app/x.py": "",
        }.items()
    }
    with pytest.raises(Failure, match=f"To fix it: {re.escape(remedy)}$"):
        find_in(tmp_path, files)


def test_files_of_deployment_that_disagree_are_refused_with_both(tmp_path: Path) -> None:
    """A Dockerfile and a Procfile that serve different applications: neither wins."""
    files = {
        "a/main.py": APP,
        "b/main.py": APP,
        "Dockerfile": 'FROM x\nCMD ["uvicorn", "a.main:app"]\n',
        "Procfile": "web: uvicorn b.main:app\n",
    }
    expected = r"`a.main:app` \(CMD of Dockerfile\), `b.main:app` \(Procfile\).*--set application="
    with pytest.raises(Failure, match=expected):
        find_in(tmp_path, files)


def test_a_command_of_deployment_precedes_one_of_development(tmp_path: Path) -> None:
    """A Makefile that starts another application does not conflict with the Dockerfile."""
    files = {
        "a/main.py": APP,
        "b/main.py": APP,
        "Dockerfile": 'FROM x\nCMD ["uvicorn", "a.main:app"]\n',
        "Makefile": "run:\n\tuvicorn b.main:app\n",
    }
    assert find_in(tmp_path, files).keys["application"] == "a.main:app"


def test_the_script_that_a_dockerfile_starts_is_read(tmp_path: Path) -> None:
    """Its commands are those of the deployment."""
    files = {
        "a/main.py": APP,
        "b/main.py": APP,
        "Dockerfile": 'FROM x\nCMD ["bash", "/app/scripts/start.sh"]\n',
        "scripts/start.sh": "#!/bin/sh\nset -e\nexec uvicorn \\\n  b.main:app\n",
        "scripts/other.sh": "uvicorn a.main:app\n",
    }
    assert find_in(tmp_path, files).keys["application"] == "b.main:app"


def test_a_declared_application_of_an_unusual_form_is_found(tmp_path: Path) -> None:
    """An application that a module imports, and that a command names there."""
    files = {
        "shop/factory.py": "from library import build\nservice = build()\n",
        "main.py": "from shop.factory import service\n",
        "Procfile": "web: uvicorn main:service\n",
    }
    found = find_in(tmp_path, files)
    assert (found.keys["application"], found.keys["sources"]) == ("main:service", ["main.py", "shop"])


def test_a_wsgi_application_of_gunicorn_is_not_found(tmp_path: Path) -> None:
    """Gunicorn without workers of uvicorn serves another kind of application."""
    with pytest.raises(Failure, match="must create an application of FastAPI"):
        find_in(tmp_path, {"wsgi.py": "app = build()\n", "Procfile": "web: gunicorn wsgi:app\n"})


@pytest.mark.parametrize(
    "text",
    [
        "from django.core.wsgi import get_wsgi_application\n\napplication = get_wsgi_application()\n",
        "import flask\n\napplication = flask.Flask(__name__)\n",
    ],
)
def test_a_wsgi_application_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    """The message states what an ASGI server needs, and how the project's own server is named."""
    named = r"got a WSGI application, `application` \(shop/wsgi.py:3\).*--set application=shop.wsgi:application --set"
    with pytest.raises(Failure, match=named):
        find_in(tmp_path, {"shop/wsgi.py": text, "shop/__init__.py": ""})


@pytest.mark.parametrize(
    ("jobs", "procfile", "reported"),
    [
        ("import celery\napp = celery.Celery('x')\n", "", True),
        ("from celery import Celery\napp = Celery('x')\n", "", True),
        ("from celery import Celery\napp = Celery('x')\n", "worker: celery -A app.jobs worker\n", False),
        ("from celery import Celery\napp = Celery('x')\n", "worker: celery -A $X worker\n", False),
        ("from celery import Celery\n", "", False),
    ],
)
def test_a_celery_application_without_a_worker_is_reported(
    tmp_path: Path, jobs: str, procfile: str, *, reported: bool
) -> None:
    """No file of deployment starts one, so that its tasks would not run."""
    files = {"main.py": APP, "app/jobs.py": jobs, "Procfile": procfile, "requirements.txt": hashed("celery")}
    notes = [note for note in find_in(tmp_path, files).notes if "no worker, because no file starts one" in note]
    expected = "(got the application of Celery app/jobs.py:2)", "celery --app app.jobs:app worker"
    assert [all(text in note for text in expected) for note in notes] == [True] * reported


@pytest.mark.parametrize(
    ("files", "reported"),
    [
        ({"shop/migrations/0001_initial.py": ""}, True),
        ({}, False),
        ({"shop/migrations/0001_initial.py": "", "Procfile": "release: python manage.py migrate\n"}, False),
        ({"shop/migrations/0001_initial.py": "", "Procfile": "release: python manage.py migrate $X\n"}, False),
        ({"shop/migrations/0001_initial.py": "", "requirements.txt": HASHED}, False),
    ],
)
def test_migrations_of_django_without_a_command_are_reported(
    tmp_path: Path, files: dict[str, str], *, reported: bool
) -> None:
    """A deployment may run them elsewhere; production then has no manage.py."""
    given = {
        "shop/asgi.py": "from django.core.asgi import get_asgi_application\napp = get_asgi_application()\n",
        "manage.py": "", "requirements.txt": hashed("django"), **files,
    }  # fmt: skip
    found = find_in(tmp_path, given)
    notes = [one for one in found.notes if "no migrate, because no file runs" in one and "shop/migrations" in one]
    assert len(notes) == reported
    if reported:
        found = find_in(tmp_path, given, {"commands": {"migrate": "python manage.py migrate"}})
        assert found.all["sources"] == ["manage.py", "shop"]


def test_the_modules_of_given_commands_ship(tmp_path: Path) -> None:
    """With the files that they need. Nothing is printed of those that are not found, but of one that is left out."""
    files = {
        "main.py": APP, "jobs/__init__.py": "from celery import Celery\napp = Celery('x')\nimport core\n",
        "core.py": "", "seed.py": "", "Procfile": "release: alembic upgrade head\nbeat: celery -A $X beat\n",
        "alembic/env.py": "",
        "alembic.ini": "[alembic]\nscript_location = alembic\n", "requirements.txt": hashed("celery", "alembic"),
    }  # fmt: skip
    given = {"worker": "celery -A jobs:app worker", "seed": "python seed.py"}
    found = find_in(tmp_path, files, {"commands": given})
    assert found.all["sources"] == ["alembic", "alembic.ini", "core.py", "jobs", "main.py", "seed.py"]
    assert [note for note in found.notes if "commands" in note] == [
        "`commands` is given without migrate (the project has `alembic upgrade head`, Procfile). If production has it, "
        "add it."
    ]
    assert not [note for note in find_in(tmp_path, files, {"commands": {}}).notes if "has no" in note]


@pytest.mark.parametrize("folder", ["docs", "demos", "example"])
def test_commands_of_examples_and_tests_do_not_count(tmp_path: Path, folder: str) -> None:
    """A Dockerfile of an example serves something else."""
    files = {"main.py": APP, f"{folder}/app.py": APP, f"{folder}/Dockerfile": "FROM x\nCMD uvicorn app:app\n"}
    assert find_in(tmp_path, files).keys["application"] == "main:app"


@pytest.mark.parametrize(
    "text",
    ["", "app = 1\n"],
    ids=["no code", "another object"],
)
def test_no_application_is_refused_with_the_option(tmp_path: Path, text: str) -> None:
    """The message names the option that decides."""
    with pytest.raises(Failure, match=r"got none.*--set application="):
        find_in(tmp_path, {"main.py": text})


def test_a_factory_with_arguments_alone_is_refused_by_its_name(tmp_path: Path) -> None:
    """No server calls it, so the message states what a module must have."""
    text = "from fastapi import FastAPI\ndef make(x):\n    return FastAPI()\n"
    with pytest.raises(Failure, match=r"got `make` \(main.py:2\), which takes arguments.*`app = create_app"):
        find_in(tmp_path, {"main.py": text})


def test_a_given_application_is_used(tmp_path: Path) -> None:
    """`--set application` decides, and its module gives the import folder."""
    files = {"src/a/main.py": APP, "src/b/main.py": APP}
    found = find_in(tmp_path, files, {"application": "b.main:app"})
    assert (found.all["application"], found.keys["import-from"]) == ("b.main:app", ["src"])
    assert "application" not in found.keys


def test_a_given_application_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The message names the value and what would help."""
    with pytest.raises(Failure, match=re.escape("got shop.main:app, and none of this name")):
        find_in(tmp_path, {"main.py": APP}, {"application": "shop.main:app"})


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"src/shop/__init__.py": "", "src/shop/main.py": "from shop.db import x\n" + APP, "src/shop/db.py": ""},
            (["src"], "shop.main:app", ["src/shop"], "."),
        ),
        (
            {"src/main.py": "from src.db import x\n" + APP, "src/db.py": ""},
            (["."], "src.main:app", ["src"], "."),
        ),
        (
            {
                "backend/app/main.py": "from app.core import x\n" + APP,
                "backend/app/core.py": "",
                "backend/pyproject.toml": "",
            },
            (["backend"], "app.main:app", ["backend/app"], "backend"),
        ),
        (
            {"app/main.py": "from .db import x\n" + APP, "app/db.py": "import core.y\n", "core/y.py": "", "z/w.py": ""},
            (["."], "app.main:app", ["app", "core"], "."),
        ),
        (
            {"app/main.py": APP + "import importlib\nimportlib.import_module('plugins.x')\n", "plugins/x.py": ""},
            (["."], "app.main:app", ["app", "plugins"], "."),
        ),
        (
            {"src/shop/main.py": "import config.x, shop.y\n" + APP, "src/shop/y.py": "", "config/x.py": ""},
            (["src", "."], "shop.main:app", ["config", "src/shop"], "."),
        ),
        (
            {
                "api/pyproject.toml": "",
                "api/api/main.py": "from common.db import x\nfrom api import y\n" + APP,
                "api/api/y.py": "import other\n",
                "libs/common/pyproject.toml": "",
                "libs/common/src/common/db.py": "import flat.z\n",
                "libs/flat/pyproject.toml": "",
                "libs/flat/flat/z.py": "",
                "examples/other/pyproject.toml": "",
                "examples/other/other.py": "",
                "worker/pyproject.toml": "",
                "worker/jobs.py": "import common.db\n",
            },
            (
                ["api", "libs/common/src", "libs/flat"],
                "api.main:app",
                ["api/api", "libs/common/src/common", "libs/flat/flat"],
                "api",
            ),
        ),
        (
            {
                "api/pyproject.toml": "",
                "api/api/main.py": APP + "import_module(f'plugins.{name}')\n",
                "libs/plugins/pyproject.toml": "",
                "libs/plugins/plugins/__init__.py": "",
                "libs/plugins/plugins/x.py": "",
            },
            (["api", "libs/plugins"], "api.main:app", ["api/api", "libs/plugins/plugins"], "api"),
        ),
    ],
    ids=[
        "src layout",
        "package src",
        "backend",
        "two packages",
        "import_module",
        "package beside src",
        "members",
        "selected modules of a member",
    ],
)
def test_the_import_folder_is_that_of_the_imports(
    tmp_path: Path, files: dict[str, str], expected: tuple[list[str], str, list[str], str]
) -> None:
    """The folder from which the project's own imports are found, and all that they reach."""
    found = find_in(tmp_path, files).all
    assert tuple(found[key] for key in ("import-from", "application", "sources", "directory")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LOGGING = {'()': 'core.logs.Formatter'}", ["core"]),
        ("uvicorn.run('core.logs:app')", ["core"]),
        ("MODELS = ['core.logs', 'library.models']", ["core"]),
        ("INSTALLED_APPS = ['django.contrib.auth', 'core']", ["core"]),
        ("importlib.import_module(f'core.{name}')", ["core"]),
        ("import_module('core.' + name)", ["core"]),
        ("log(f'core.{name}')", []),
        ("names = ['core', 'core.yaml', 'core', 'x.core.logs', 'tests.core', 'see core.logs']", []),
    ],
)
def test_modules_that_texts_name_ship(tmp_path: Path, text: str, expected: list[str]) -> None:
    """A library imports them; neither tests nor files of other kinds are meant."""
    files = {"app/main.py": f"{APP}{text}\n", "core/__init__.py": "", "core/logs.py": "", "tests/core.py": ""}
    assert find_in(tmp_path, files).keys["sources"] == ["app", *expected]


@pytest.mark.parametrize(
    ("worker", "lock", "expected"),
    [
        ("celery -A app.jobs worker", "celery", {"worker": "celery -A app.jobs worker"}),
        ("celery -A app.jobs beat -s /tmp/x", "celery", {"scheduler": "celery -A app.jobs beat -s /tmp/x"}),
        ("arq app.jobs.Settings", "arq", {"worker": "arq app.jobs.Settings"}),
        ("/venv/bin/rq worker high", "rq", {"worker": "rq worker high"}),
        ("dramatiq app.jobs", "dramatiq", {"worker": "dramatiq app.jobs"}),
        ("saq app.jobs.settings", "saq", {"worker": "saq app.jobs.settings"}),
        ("huey_consumer app.jobs.huey", "huey", {"worker": "huey_consumer app.jobs.huey"}),
        ("taskiq worker app.jobs:broker", "taskiq", {"worker": "taskiq worker app.jobs:broker"}),
        ("python -m app.jobs", "x", {"queue-worker": "python -m app.jobs"}),
        ("python app/jobs.py", "x", {"queue-worker": "python app/jobs.py"}),
        ("python -u -m app.jobs", "x", {"queue-worker": "python -u -m app.jobs"}),
        ("python -Bu app/jobs.py", "x", {"queue-worker": "python -Bu app/jobs.py"}),
        ("uv run -m app.jobs", "x", {"queue-worker": "python -m app.jobs"}),
        ("ddtrace-run celery -A app.jobs worker", "celery", {"worker": "celery -A app.jobs worker"}),
        ('["app.jobs", "a b"]\n    entrypoint: [python, -m]', "x", {"queue-worker": "python -m app.jobs 'a b'"}),
        ("app.jobs\n    entrypoint: python -m", "x", {"queue-worker": "python -m app.jobs"}),
        ("python -m http.server", "x", {}),
        ("flower", "x", {}),
    ],
)
def test_workers_are_found(tmp_path: Path, worker: str, lock: str, expected: dict[str, str]) -> None:
    """The usual queues, and modules of the project that a service with the name of a worker starts."""
    found = find_in(tmp_path, {
        "main.py": APP, "app/jobs.py": "import core\n", "core.py": "", "requirements.txt": hashed(lock),
        "docker-compose.yml": f"services:\n  queue-worker:\n    command: {worker}\n",
    })  # fmt: skip
    assert found.all["commands"] == expected
    if "app" in worker:
        assert found.keys["sources"] == ["app", "core.py", "main.py"]


@pytest.mark.parametrize(
    ("command", "settings", "written"),
    [
        ("celery -A app.jobs beat", "", True),
        ("celery -A app.jobs worker -B", "", True),
        ("celery -A app.jobs beat --schedule=/tmp/x", "", False),
        ("celery -A app.jobs beat -S django", "", False),
        ("celery -A app.jobs beat", "beat_schedule_filename = '/tmp/x'\n", False),
        ("celery -A app.jobs beat", "CELERY_BEAT_SCHEDULER = 'x'\n", False),
        ("celery -A app.jobs beat", "app.conf.beat_schedule = {}\n", True),
        ("celery -A app.jobs worker", "", False),
    ],
)
def test_celery_beat_keeps_its_schedule_where_production_can_write(
    tmp_path: Path, command: str, settings: str, *, written: bool
) -> None:
    """By default it writes a file to the working directory. A note reports the option."""
    files = {"app/main.py": APP, "app/jobs.py": settings, "Procfile": f"worker: {command}\n"}
    found = find_in(tmp_path, {"requirements.txt": hashed("celery"), **files})
    started = f"{command} --schedule=/tmp/celerybeat-schedule" if written else command
    assert found.keys["commands"] in ({"worker": started}, {"scheduler": started})
    assert (
        any("Celery's beat keeps its schedule in /tmp/celerybeat-schedule" in note for note in found.notes) is written
    )


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        ("litestar workers run", "litestar workers run"),
        ("bash start.sh", "python app/seed.py"),
        ("python -m app.seed", "python -m app.seed"),
        ("python -m app.run", ""),
        ("sleep infinity", ""),
        ("litestar x\n    image: other", ""),
        ("npm run build", ""),
        ("uvicorn main:app", ""),
        ("python manage.py runserver 0.0.0.0:8000", ""),
        ("python manage.py rqworker", "python manage.py rqworker"),
    ],
)
def test_another_command_of_a_deployment_is_reported(tmp_path: Path, command: str, reported: str) -> None:
    """A program of the lock or a module of the project, which starts no server."""
    found = find_in(tmp_path, {
        "main.py": APP, "manage.py": "", "app/seed.py": "", "app/run.py": "import app.serve\n",
        "app/serve.py": "import uvicorn\nuvicorn.run('main:app')\n",
        "start.sh": "#!/bin/sh\nset -e\npython app/seed.py\nuvicorn main:app\n", "requirements.txt": hashed("litestar"),
        "docker-compose.yml": f"services:\n  first:\n    command: {command}\n",
    })  # fmt: skip
    notes = [note for note in found.notes if note.startswith("Not among `commands`")]
    assert [f"`{reported}`" in note and "commands={first = " in note for note in notes] == [True] * bool(reported)


def test_several_workers_of_one_name_are_reported(tmp_path: Path) -> None:
    """None is chosen; the note names all and the key."""
    files = {
        "main.py": APP,
        "app/jobs.py": "",
        "Procfile": "worker: celery -A app.jobs worker\n",
        "Dockerfile": "FROM x\nCMD celery -A app.jobs worker -Q high\n",
    }
    found = find_in(tmp_path, files)
    assert "commands" not in found.keys
    assert re.search(r"has no worker.*-Q high` \(CMD of Dockerfile\).*\(Procfile\).*--set 'commands=", found.notes[0])


def test_a_migration_of_its_own_service_precedes_one_before_the_server(tmp_path: Path) -> None:
    """Two services that migrate are not two commands; without a service of its own, the first one counts."""
    api = "  api:\n    command: sh -c 'alembic upgrade heads && uvicorn main:app'\n"
    files = {
        "main.py": APP,
        "alembic.ini": "[alembic]\nscript_location = alembic\n",
        "alembic/env.py": "",
        "requirements.txt": hashed("alembic"),
    }
    own = f"services:\n{api}  migrations:\n    command: alembic upgrade head\n"
    assert find_in(tmp_path, {**files, "compose.yml": own}).all["commands"] == {"migrate": "alembic upgrade head"}
    found = find_in(tmp_path, {**files, "compose.yml": own.replace("migrations", "other")})
    assert (found.all["commands"], found.notes) == ({"migrate": "alembic upgrade heads"}, [])


def test_several_workers_are_services_of_their_own(tmp_path: Path) -> None:
    """Commands of one kind whose services have different names."""
    services = "".join(f"  {name}:\n    command: celery -A app.jobs worker -Q {name}\n" for name in ("high", "low"))
    found = find_in(tmp_path, {"main.py": APP, "app/jobs.py": "", "compose.yaml": f"services:\n{services}"})
    assert found.keys["commands"] == {f"{name}": f"celery -A app.jobs worker -Q {name}" for name in ("high", "low")}


@pytest.mark.parametrize(
    ("files", "call"),
    [
        ({"Procfile": "web: gunicorn -k uvicorn.W \"main:build('prod')\"\n"}, "`main:build('prod')` (Procfile)"),
        ({"run.py": "import uvicorn\nuvicorn.run(build(env='prod'), port=1)\n"}, "`build(env='prod')` (run.py:2)"),
        ({"Procfile": "web: gunicorn -k uvicorn.W 'main:build()'\n"}, ""),
        ({"run.py": "import uvicorn\nuvicorn.run(build())\nuvicorn.run(other(1))\n"}, ""),
    ],
)
def test_arguments_of_a_factory_are_reported(tmp_path: Path, files: dict[str, str], call: str) -> None:
    """The server of production passes none."""
    factory = "from fastapi import FastAPI\ndef build(env='dev') -> FastAPI:\n    return FastAPI()\n"
    found = find_in(tmp_path, {"main.py": factory, **files})
    assert found.all["application"] == "main:build"
    assert [f"without arguments (the project has {call})" in one for one in found.notes] == [True] * bool(call)


def test_programs_of_supervisor_are_found(tmp_path: Path) -> None:
    """A Dockerfile starts supervisord, which starts the service and its worker."""
    files = {
        "main.py": APP,
        "app/jobs.py": "",
        "requirements.txt": hashed("celery"),
        "etc/supervisord.conf": "[supervisord]\nnodaemon=true\n[program:api]\ncommand=uvicorn main:app --port 9000\n"
        "[program:w]\ncommand = celery -A app.jobs\n  worker -c 2\n",
        "etc/supervisor.conf": "not valid",
    }
    found = find_in(tmp_path, files)
    assert (found.all["port"], found.all["commands"]) == (9000, {"worker": "celery -A app.jobs worker -c 2"})


@pytest.mark.parametrize("table", ["project", "tool.poetry"])
def test_a_worker_that_is_a_script_of_the_project_is_reported(tmp_path: Path, table: str) -> None:
    """No image has it, because none installs the project."""
    files = {
        "main.py": APP,
        "pyproject.toml": f'[{table}.scripts]\nshop = "main:run"\nshop-jobs = "app.jobs:main"\n',
        "Procfile": "web: shop\nworker: shop-jobs --all\n",
    }
    (note,) = find_in(tmp_path, files).notes
    assert "no worker, because images do not have the project's own scripts (got `shop-jobs --all`, Procfile)" in note
    assert """--set 'commands={worker = "python -m app.jobs"}'""" in note


def test_a_worker_that_needs_a_shell_is_reported(tmp_path: Path) -> None:
    """Production has no shell; a variable with a default does not need one."""
    files = {"main.py": APP, "Procfile": "worker: arq $SETTINGS\n"}
    assert "because it needs a shell" in find_in(tmp_path, files).notes[0]
    files = {"main.py": APP, "Procfile": "worker: arq ${SETTINGS:-main.Settings}\n"}
    assert find_in(tmp_path, files).keys["commands"] == {"worker": "arq main.Settings"}


@pytest.mark.parametrize(
    "text",
    [
        "from elsewhere import *\n",
        "a, app = 1, object()\n",
        "if (app := object()):\n    pass\n",
        'globals()["app"] = object()\n',
        "def __getattr__(name: str) -> object: ...\n",
        "import app.main\n",
    ],
)
def test_a_given_attribute_may_be_bound_by_any_statement(tmp_path: Path, text: str) -> None:
    """Only an attribute that no statement can bind is refused."""
    given = {"application": "main:app"}
    assert find_in(tmp_path, {"main.py": text}, given).all["application"] == "main:app"


def test_a_port_that_is_not_valid_is_not_taken(tmp_path: Path) -> None:
    """It is a placeholder of the file that has it."""
    files = {"main.py": APP, "Procfile": "web: uvicorn main:app --port 99999\n"}
    assert find_in(tmp_path, files).all["port"] == 8000


@pytest.mark.parametrize(
    ("importing", "mounted"),
    [
        ("from pkg.admin.app import app as admin", "admin"),
        ("from ..admin.app import app as admin", "admin"),
        ("from pkg.admin import app as module", "module.app"),
        ("from ..admin import app as module", "module.app"),
    ],
)
def test_an_application_is_not_one_that_it_mounts(tmp_path: Path, importing: str, mounted: str) -> None:
    """Their modules may have the same name."""
    files = {f"pkg/{name}/app.py": APP for name in ("admin", "public")}
    files["pkg/public/app.py"] += f"{importing}\napp.mount('/admin', {mounted})\n"
    assert find_in(tmp_path, files).all["application"] == "pkg.public.app:app"
