"""Discovery of the serving command, of ports, and of services in Compose files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prodlock.failure import Failure
from prodlock.scaffold import yaml
from prodlock.scaffold.yaml import Value
from prodlock.tests.unit.existing import APP, HASHED, find_in, hashed

WEB = "services:\n  web:\n    ports: ['3000:3000']\n"
FACTORY = "from fastapi import FastAPI\ndef create_app():\n    return FastAPI()\n"


def lock(*names: str) -> str:
    """Return a lock without what prodlock.server needs."""
    return "".join(f"{name}==0.1 --hash=sha256:00\n" for name in ("fastapi", *names))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HASHED, ""),
        (lock("uvicorn"), "httptools must be >=0.6.3 (got none) and uvicorn must be >=0.31,<0.55 (got 0.1)"),
        (HASHED.replace("0.40.0", "0.99.0"), "uvicorn must be >=0.31,<0.55 (got 0.99.0)"),
        (HASHED.replace("httptools==0.7.1", "httptools==0.6.0"), "httptools must be >=0.6.3 (got 0.6.0)"),
    ],
)
def test_the_server_depends_on_the_locked_versions(tmp_path: Path, text: str, reason: str) -> None:
    """The note names what is missing, and what is lost."""
    found = find_in(tmp_path, {"main.py": APP, "requirements.txt": text})
    assert found.all["server"] == ("uvicorn main:app --host=0.0.0.0 --port=8000" if reason else "")
    assert [note for note in found.notes if reason in note and "no graceful drain" in note] == found.notes
    assert len(found.notes) == bool(reason)


@pytest.mark.parametrize(
    ("declared", "locked", "expected"),
    [
        ("exec gunicorn -k uvicorn.workers.UvicornWorker main:app", "gunicorn",
         "gunicorn -k uvicorn.workers.UvicornWorker main:app --bind=0.0.0.0:8000"),
        ("uvicorn main:app --reload", "uvicorn", "uvicorn main:app --host=0.0.0.0 --port=8000"),
        ("uvicorn --host 0.0.0.0 --port $PORT main:app", "uvicorn", "uvicorn --host 0.0.0.0 --port 8000 main:app"),
        ("uvicorn main:app --host=:: --port ${PORT:-9000}", "uvicorn", "uvicorn main:app --host=:: --port 9000"),
        ("/venv/bin/uvicorn main:app", "uvicorn", "uvicorn main:app --host=0.0.0.0 --port=8000"),
        ("hypercorn main:app -w 2", "hypercorn", "hypercorn main:app -w 2 --bind=0.0.0.0:8000"),
        ("granian --interface asgi main:app", "granian",
         "granian --interface asgi main:app --host=0.0.0.0 --port=8000"),
        ("daphne main:app", "daphne", "daphne main:app --bind=0.0.0.0 --port=8000"),
        ("fastapi run main.py", "fastapi-cli", "fastapi run main.py --host=0.0.0.0 --port=8000"),
        ("fastapi run main.py", "uvicorn", "uvicorn main:app --host=0.0.0.0 --port=8000"),
        ("gunicorn main:app -k uvicorn.workers.UvicornWorker", "uvicorn",
         "uvicorn main:app --host=0.0.0.0 --port=8000"),
        ("gunicorn main:app --bind=:80 --forwarded-allow-ips '*'", "gunicorn",
         "gunicorn main:app --bind=:80 --forwarded-allow-ips '*'"),
        ("", "hypercorn", "hypercorn main:app --bind=0.0.0.0:8000"),
        ("", "granian", "granian main:app --interface=asgi --host=0.0.0.0 --port=8000"),
    ],
)  # fmt: skip
def test_the_serving_command_is_the_declared_one(tmp_path: Path, declared: str, locked: str, expected: str) -> None:
    """In exec form, on all addresses, without reload; another one where the lock lacks its program."""
    files = {"main.py": APP, "requirements.txt": lock(locked)}
    if declared:
        files["Procfile"] = f"web: {declared}\n"
    assert find_in(tmp_path, files).keys["server"] == expected


def test_commands_of_development_do_not_serve(tmp_path: Path) -> None:
    """Neither a Makefile, nor a script that no deployment starts, nor the command of another application."""
    files = {
        "main.py": APP,
        "other.py": APP,
        "requirements.txt": lock("uvicorn"),
        "Makefile": "run:\n\tuvicorn main:app --workers 1\n",
        "dev.sh": "uvicorn main:app --workers 2\n",
        "Procfile": "web: uvicorn other:app --workers 3\n",
    }
    found = find_in(tmp_path, files, {"application": "main:app"})
    assert found.keys["server"] == "uvicorn main:app --host=0.0.0.0 --port=8000"


def test_a_root_path_is_reported(tmp_path: Path) -> None:
    """prodlock.server reads it from a variable; a command of the service's own keeps its option."""
    files = {"main.py": APP, "Procfile": "web: uvicorn main:app --root-path=/shop\n"}
    (note,) = find_in(tmp_path, files).notes
    assert "no --root-path (got /shop, Procfile). If a proxy strips this path, set UVICORN_ROOT_PATH=/shop" in note
    own = find_in(tmp_path, {**files, "requirements.txt": lock("uvicorn")})
    assert "--root-path=/shop" in str(own.all["server"])
    assert not any("UVICORN_ROOT_PATH" in one for one in own.notes)


def test_a_factory_is_served_as_one(tmp_path: Path) -> None:
    """Uvicorn needs an option for it."""
    found = find_in(tmp_path, {"main.py": FACTORY, "requirements.txt": lock("uvicorn")})
    assert found.keys["server"] == "uvicorn main:create_app --host=0.0.0.0 --port=8000 --factory"


def test_files_that_the_serving_command_names_ship(tmp_path: Path) -> None:
    """A configuration of Gunicorn or of logging; gunicorn.conf.py without an option."""
    files = {
        "app/main.py": APP,
        "requirements.txt": lock("gunicorn"),
        "gunicorn.conf.py": "import os\nos.getenv('WORKERS')\n",
        "log.ini": "",
        "Procfile": "web: gunicorn --log-config log.ini -k uvicorn.workers.UvicornWorker app.main:app\n",
    }
    found = find_in(tmp_path, files)
    assert found.keys["sources"] == ["app", "gunicorn.conf.py", "log.ini"]
    assert found.keys["environment"] == ["WORKERS"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("gunicorn", "gunicorn app.main:app --bind=0.0.0.0:5000"),
        ("gunicorn -c /etc/gunicorn.conf.py app.main:app",
         "gunicorn -c /etc/gunicorn.conf.py app.main:app --bind=0.0.0.0:5000"),
        ("gunicorn -c /code/gunicorn.conf.py", "gunicorn -c gunicorn.conf.py app.main:app --bind=0.0.0.0:5000"),
        ("gunicorn --config=/code/gunicorn.conf.py app.main:app",
         "gunicorn --config=gunicorn.conf.py app.main:app --bind=0.0.0.0:5000"),
        ("gunicorn -c /start/settings.py app.main:app",
         "gunicorn -c docker/settings.py app.main:app --bind=0.0.0.0:8000"),
    ],
)  # fmt: skip
def test_a_serving_command_names_the_files_of_the_project(tmp_path: Path, command: str, expected: str) -> None:
    """Another image has them at another path; the application may be in Gunicorn's configuration."""
    files = {
        "app/main.py": APP,
        "requirements.txt": lock("gunicorn"),
        "gunicorn.conf.py": "wsgi_app = 'app.main:app'\nbind = '0.0.0.0:5000'\nworker_class = 'uvicorn'\n",
        "docker/settings.py": "",
        "docker/other.txt": "",
        "Dockerfile": f"FROM x\nCMD {command}\n",
    }
    found = find_in(tmp_path, files)
    assert found.keys["server"] == expected
    read = ["docker/settings.py"] if "settings" in command else []
    assert found.keys["sources"] == ["app", *read, "gunicorn.conf.py"]


@pytest.mark.parametrize(
    "text",
    [
        "COPY <<robots.txt <<humans.txt /files/\nx\nrobots.txt\ny\nhumans.txt",
        "RUN cat <<<EOF > /x",
        "COPY <<-'END' entrypoint.sh\n\texec uvicorn main:app --port 90\n\tEND",
        "ADD <<END /start\nEXPOSE 90\nEND",
    ],
)
def test_instructions_behind_a_here_document_are_read(tmp_path: Path, text: str) -> None:
    """It ends at its own delimiter, and no line of it is an instruction."""
    files = {"main.py": APP, "Dockerfile": f"FROM x\n{text}\nCMD uvicorn main:app --port 81\n"}
    assert find_in(tmp_path, files).all["port"] == 81


def test_the_scripts_that_a_dockerfile_writes_are_read(tmp_path: Path) -> None:
    """A script of a here-document serves, and migrates before that."""
    script = "#!/bin/sh\nset -e\nalembic upgrade head\nexec uvicorn main:app --port 9000"
    files = {
        "main.py": APP,
        "alembic.ini": "[alembic]\nscript_location = migrations\n",
        "migrations/env.py": "",
        "requirements.txt": hashed("alembic"),
        "Dockerfile": f'FROM x\nCOPY <<EOF /entrypoint.sh\n{script}\nEOF\nENTRYPOINT ["sh", "/entrypoint.sh"]\n',
    }
    found = find_in(tmp_path, files)
    assert (found.all["port"], found.where["port"]) == (9000, "entrypoint.sh, ENTRYPOINT of Dockerfile")
    assert found.where["commands"] == "entrypoint.sh, ENTRYPOINT of Dockerfile"


def test_a_serving_command_of_litestar_names_its_application(tmp_path: Path) -> None:
    """Litestar reads it from a variable of the image."""
    files = {
        "app/main.py": "from litestar import Litestar\ndef create_app():\n    return Litestar()\n",
        "requirements.txt": lock("litestar"),
        "Dockerfile": "FROM x\nENV LITESTAR_APP=app.main:create_app\nCMD litestar run --port 8055\n",
    }
    found = find_in(tmp_path, files).keys
    assert found["server"] == "litestar --app app.main:create_app run --port 8055 --host=0.0.0.0"
    assert found["port"] == 8055


def test_a_serving_command_that_needs_a_shell_is_refused(tmp_path: Path) -> None:
    """The message names it, its place and the option."""
    files = {
        "main.py": APP,
        "requirements.txt": lock("gunicorn"),
        "Procfile": "web: gunicorn $OPTS -k uvicorn.W main:app\n",
    }
    with pytest.raises(Failure, match=r"must run without a shell.*\$OPTS.*of Procfile.*--set 'server="):
        find_in(tmp_path, files)
    found = find_in(tmp_path, files, {"server": "gunicorn main:app"})
    assert found.all["server"] == "gunicorn main:app"
    assert "no graceful drain" in found.notes[0]


def test_a_lock_without_a_server_is_refused(tmp_path: Path) -> None:
    """The message names what to add."""
    with pytest.raises(Failure, match=r"must have a server.*add `uvicorn\[standard\]`"):
        find_in(tmp_path, {"main.py": APP, "requirements.txt": lock()})


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8000),
        ({"Dockerfile": "FROM x\nEXPOSE 9000/tcp\n"}, 9000),
        ({"Dockerfile": "FROM x\nENV PORT=9000\nEXPOSE $PORT\n"}, 9000),
        ({"Dockerfile": 'FROM x\nEXPOSE 1\nCMD ["uvicorn", "main:app", "--port", "9000"]\n'}, 9000),
        ({"Dockerfile": "FROM x\nENV UVICORN_PORT=9000\nCMD uvicorn main:app\n"}, 9000),
        ({"Procfile": "web: gunicorn -b0.0.0.0:9000 -k uvicorn.W main:app\n"}, 9000),
        ({"Procfile": "web: gunicorn -b :9000 -k uvicorn.W main:app\n"}, 9000),
        (
            {"compose.yml": "services:\n  api:\n    command: sh -c 'uvicorn main:app --port $${PORT:-9000}'\n"},
            9000,
        ),
        ({"run.py": "import uvicorn\nuvicorn.run('main:app', port=9000)\nuvicorn.run(x, port=PORT)\n"}, 9000),
        ({"run.py": "from uvicorn import run\nrun('main:app', port=9000)\n"}, 9000),
        ({"run.py": "from uvicorn import run as go\ngo(app='main:app', port=9000)\n"}, 9000),
        ({"run.py": "import uvicorn as u\nu.Server(u.Config('main:app', port=9000)).run()\n"}, 9000),
        ({"run.py": "import uvicorn\nuvicorn.run(app, port=int(os.getenv('PORT', '9000')))\n"}, 9000),
        ({"run.py": "import uvicorn\nuvicorn.run(app, port=int(os.environ.get('PORT') or 9000))\n"}, 9000),
        ({"run.py": "import uvicorn\nuvicorn.run(app, port=9000 if DEBUG else 80)\n"}, 8000),
        ({"run.py": "from shop import run\nrun('main:app', port=9000)\n"}, 8000),
        ({"Procfile": "web: hypercorn -c h.toml main:app\n", "h.toml": 'bind = ["[::]:9000"]\n'}, 9000),
        (
            {"Procfile": "web: gunicorn -c file:etc/g.py -k uvicorn.W main:app\n", "etc/g.py": "bind = ':9000'\n"},
            9000,
        ),
        ({"Procfile": "web: gunicorn -k uvicorn.W main:app\n", "gunicorn.conf.py": "bind = '0:9000'\n"}, 9000),
        ({"compose.yml": "services:\n  api:\n    build: .\n    ports:\n      - '80:9000'\n"}, 9000),
        ({"compose.yml": "services:\n  api:\n    build: .\n    ports: ['127.0.0.1:${P:-80}:9000/tcp']\n"}, 9000),
        (
            {
                "compose.yml": "services:\n  api:\n    build: .\n    ports:\n      - target: 9000\n"
                "        published: 1\n"
            },
            9000,
        ),
        ({"compose.yml": "services:\n  db:\n    image: postgres\n    ports: ['1:5432']\n"}, 8000),
        ({"compose.yml": "services:\n  api:\n    build: .\n    ports: ['1-2:3-4']\n"}, 8000),
        ({"web/Dockerfile": "FROM node:22 AS build\nFROM nginx:1\nEXPOSE 80\n"}, 8000),
        ({"Dockerfile": "FROM x\nCMD uvicorn main:app\n", "Dockerfile.flower": "FROM x\nEXPOSE 5555\n"}, 8000),
        ({"Dockerfile": "FROM x AS dev\nEXPOSE 1\nFROM x\nEXPOSE 9000\nFROM x AS test\nCMD pytest\n"}, 9000),
        ({"compose.yml": WEB + "    build: ./web\n", "web/x.js": ""}, 8000),
        ({"compose.yml": WEB + "    build:\n      context: web\n      target: x\n", "web/x.js": ""}, 8000),
        ({"compose.yml": WEB + "    build: {target: x, context: web}\n", "web/x.js": ""}, 8000),
        ({"compose.yml": WEB + "    build: {context: .}\n"}, 3000),
    ],
)
def test_the_port_is_the_one_of_the_deployment(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """The option of the serving command, EXPOSE, or the port of a Compose service that is built."""
    assert find_in(tmp_path, {"main.py": APP, **files}).all["port"] == expected


@pytest.mark.parametrize(
    "name", ["compose.override.yaml", "docker-compose.dev.yml", "compose.local.yml", "compose-ci.yml"]
)
def test_a_compose_file_of_development_does_not_decide(tmp_path: Path, name: str) -> None:
    """Its commands and ports are those of a developer's machine; without another file they count."""
    own = (
        "services:\n  api:\n    command: uvicorn main:app --reload --port 9999\n"
        "  w:\n    command: celery -A main worker -l debug\n"
    )
    files = {"main.py": APP, "requirements.txt": hashed("celery"), name: own}
    base = own.replace(" --reload --port 9999", " --port 7000").replace(" -l debug", "")
    found = find_in(tmp_path, {**files, "compose.yaml": base})
    assert (found.all["port"], found.all["commands"]) == (7000, {"worker": "celery -A main worker"})
    base = base.replace("    command: uvicorn main:app --port 7000\n", "    build: .\n    ports: ['80:6000']\n")
    assert find_in(tmp_path, {**files, "compose.yaml": base}).all["port"] == 6000
    (tmp_path / "compose.yaml").unlink()
    found = find_in(tmp_path, files)
    assert (found.all["port"], found.all["commands"]) == (9999, {"worker": "celery -A main worker -l debug"})


def test_databases_and_queues_of_compose_are_found(tmp_path: Path) -> None:
    """By the name of their service; not those of tests, by name, profile or file, nor other images."""
    compose = """
services:
  api: {build: .}
  db:
    image: "postgres:17"  # the database
    environment:
      - X=1
  cache:
    image: redis:${REDIS:-8}
  test-db:
    image: postgres:17
  queue:
    image: rabbitmq:4
    profiles: [testing]
  proxy:
    image: traefik
volumes:
  data:
"""
    of_tests = dict.fromkeys(("docker-compose.test.yml", "compose.ci.yaml"), "services:\n  mail:\n    image: mongo:8\n")
    found = find_in(tmp_path, {"main.py": APP, "docker-compose.yml": compose, **of_tests})
    assert found.keys["services"] == {"db": "postgres:17", "cache": "redis:8"}


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("Containerfile", 9000),
        ("docker/dockerfile", 9000),
        ("Dockerfile-prod", 9000),
        ("api.Dockerfile", 9000),
        ("app/dockerfile_parser.py", 8000),
        ("Dockerfile.md", 8000),
    ],
)
def test_dockerfiles_have_each_usual_name(tmp_path: Path, name: str, port: int) -> None:
    """Docker's own, that of Podman, and those with a purpose."""
    assert find_in(tmp_path, {"main.py": APP, name: "FROM x\nEXPOSE 9000\n"}).all["port"] == port


@pytest.mark.parametrize(
    ("image", "is_found"),
    [
        ("docker.io/library/postgres:17-alpine@sha256:00ff", True),
        ("registry.example:5000/base/pgvector:pg17", True),
        ("postgis/postgis:16-3.4", True),
        ("bitnami/redis", False),
        ("prom/redis-exporter:1", False),
        ("${REGISTRY}/postgres", False),
    ],
)
def test_images_of_databases_have_any_registry(tmp_path: Path, image: str, is_found: bool) -> None:  # noqa: FBT001
    """By the last part of their name."""
    found = find_in(tmp_path, {"main.py": APP, "compose.yml": f"services:\n  db:\n    image: {image}\n"})
    assert found.all["services"] == ({"db": image} if is_found else {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: a b", Value("a b")),
        ("command: 'a b'  # c", Value("a b")),
        ("command: [\"a\", 'b c', d]", Value(items=("a", "b c", "d"))),
        ("command: [a,\n      'b']", Value(items=("a", "b"))),
        ("command:\n      - a\n      - 'b c'", Value(items=("a", "b c"))),
        ("command:\n    - a\n    - b", Value(items=("a", "b"))),
        ("command: >\n      a\n      b", Value("a b")),
        ("command: |\n      a\n      b", Value("a\nb")),
        ("command: [a, b\n      - c", Value(items=())),
        ("command: *other", Value()),
        ("command: [a, *other]", Value(items=())),
        ("command: !override [a]", Value(items=("a",))),
        ("command: &name [a]", Value(items=("a",))),
        ("command: &name a b", Value("a b")),
        ("command:", Value()),
    ],
)
def test_values_of_compose_files_are_read(text: str, expected: Value) -> None:
    """Texts and lists in the usual forms."""
    assert yaml.services(f"services:\n  api:\n    {text}\n    image: x\n")["api"] == {
        "command": expected,
        "image": Value("x"),
    }


COMMON = """
x-app: &app
  build: .
  command: uvicorn shop:app
  image: &image shop:1
x-all:
  flow: &flow {image: "redis:8", ports: ["1:2", "3:4"], environment: {X: a, Y: b}}
  own: &own
    <<: *app
    ports: &ports
      - "80:8000"
services:
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api:\n    <<: *app\n    command: other", {"build": ".", "command": "other", "image": "shop:1"}),
        ("api:\n    command: other\n    <<: *app", {"build": ".", "command": "other", "image": "shop:1"}),
        ("api: *app", {"build": ".", "command": "uvicorn shop:app", "image": "shop:1"}),
        ("api: {<<: *app, command: [a, 'b, c']}", {"build": ".", "command": ["a", "b, c"], "image": "shop:1"}),
        ("api:\n    image: *image\n    ports: *ports", {"image": "shop:1", "ports": ["80:8000"]}),
        ("api:\n    command: [run, *image, x]", {"command": ["run", "shop:1", "x"]}),
        ("api:\n    command:\n    - run\n    - *image", {"command": ["run", "shop:1"]}),
        (
            "api:\n    <<: [*own, *flow]",
            {"build": ".", "command": "uvicorn shop:app", "environment": ["X", "Y"], "image": "shop:1",
             "ports": ["80:8000"]},
        ),
        (
            "api:\n    <<:\n      - *flow\n      - *app",
            {"build": ".", "command": "uvicorn shop:app", "environment": ["X", "Y"], "image": "redis:8",
             "ports": ["1:2", "3:4"]},
        ),
        ("api: &api\n    image: a\n  second:\n    <<: *api\n    <<: *api", {"image": "a"}),
        ("api: &api\n    <<: *api\n    image: a", {"image": "a"}),
        ("api:\n    image: &a *a", {"image": ""}),
        ("api:\n    <<: *missing\n    image: a", {"image": "a"}),
        ("base:\n    image: a\n    command: b\n  api:\n    extends: base\n    command: c",
         {"command": "c", "extends": "base", "image": "a"}),
        ("base:\n    image: a\n  api:\n    extends:\n      service: base", {"extends": "", "image": "a"}),
        ("api:\n    image: a\n    extends: {file: other.yml, service: api}",
         {"extends": "{file: other.yml, service: api}", "image": "a"}),
        ("api:\n    extends: second\n    image: a\n  second:\n    extends: api",
         {"extends": "second", "image": "a"}),
        ("api:\n    command: >\n      a: b\n      <<: *app\n    image: a", {"command": "a: b <<: *app", "image": "a"}),
    ],
)  # fmt: skip
def test_anchors_merge_keys_and_extends_of_compose_files_are_followed(
    text: str, expected: dict[str, str | list[str]]
) -> None:
    """A key of the service comes before that of a merge; loops and missing anchors end the search."""
    found = yaml.services(f"{COMMON}  {text}\nvolumes: {{}}\n")["api"]
    given = {key: list(one.items) if one.items is not None else one.text for key, one in found.items()}
    assert dict(sorted(given.items())) == expected


def test_a_name_stands_for_the_nearest_anchor_before_it() -> None:
    """An anchor may be defined twice."""
    text = "services:\n  a: &x\n    image: a\n  b: *x\n  c: &x\n    image: c\n  d: *x\n"
    assert {name: one["image"].text for name, one in yaml.services(text).items()} == {
        "a": "a", "b": "a", "c": "c", "d": "c",
    }  # fmt: skip


def test_many_merges_are_read_in_a_moment() -> None:
    """Each level refers to the one before it several times."""
    levels = "".join(
        f"x-{number}: &l{number}\n  <<: [{', '.join([f'*l{number - 1}'] * 9)}]\n  k{number}: a\n"
        for number in range(1, 200)
    )
    found = yaml.services(f"x-0: &l0\n  image: a\n{levels}services:\n  api: *l199\n")
    assert found["api"]["image"].text == "a"


@pytest.mark.parametrize(
    "text", ["", "services:", "services: {a: b}\n", "a: b\n  c:\n", "services:\n- a\n  - b: [\n", "\t\x00:"]
)
def test_other_forms_of_compose_files_are_left_out(tmp_path: Path, text: str) -> None:
    """They are not an error."""
    assert find_in(tmp_path, {"main.py": APP, "docker-compose.yml": text}).all["services"] == {}


def test_commands_of_one_line_are_separated(tmp_path: Path) -> None:
    """A migration before the server in a shell."""
    compose = (
        'services:\n  api:\n    command: ["sh", "-c", "alembic upgrade head && uvicorn app.main:app --port 9000"]\n'
    )
    files = {
        "docker-compose.yml": compose,
        "app/main.py": APP,
        "alembic.ini": "[alembic]\nscript_location = alembic\n",
        "alembic/env.py": "",
        "requirements.txt": HASHED + "alembic==1 --hash=sha256:0\n",
    }
    found = find_in(tmp_path, files).keys
    assert (found["commands"], found["port"]) == ({"migrate": "alembic upgrade head"}, 9000)
    assert re.fullmatch("app.main:app", str(found["application"]))


@pytest.mark.parametrize(
    "command",
    [
        '["dumb-init", "--", "uvicorn", "main:app", "--port", "9000"]',
        '["/usr/bin/tini", "-g", "--", "python", "-u", "-m", "uvicorn", "main:app", "--port", "9000"]',
        "env A=b nice -n 5 uvicorn main:app --port 9000",
        "gosu app uvicorn main:app --port 9000",
        "wait-for-it.sh -t 30 db:5432 -- uvicorn main:app --port 9000",
        "uv run --no-sync --package shop uvicorn main:app --port 9000",
        "uv run -m uvicorn main:app --port 9000",
        "hatch run uvicorn main:app --port 9000",
        "conda run --no-capture-output -n shop uvicorn main:app --port 9000",
        "if [ $DEBUG ]; then sleep 1; else uvicorn main:app --port 9000; fi",
        "python -X dev -m uvicorn main:app --port 9000",
        "fastapi run --port 9000",
        "gosu app ./start.sh",
        "start.sh web",
    ],
)
def test_a_command_that_another_program_starts_serves(tmp_path: Path, command: str) -> None:
    """Init processes, wrappers, runners with options, and the parts of a script."""
    script = '#!/bin/sh\ncase "$1" in\n  web) exec uvicorn main:app --port 9000 ;;\nesac\n'
    files = {"main.py": APP, "start.sh": script, "Dockerfile": f"FROM x\nCMD {command}\n"}
    found = find_in(tmp_path, files)
    assert (found.all["port"], found.notes) == (9000, [])


@pytest.mark.parametrize("entry", ['["tini", "--"]', '["uv", "run", "--no-sync", "uvicorn"]', '["dumb-init"]'])
def test_an_entrypoint_that_starts_its_arguments_is_read_with_them(tmp_path: Path, entry: str) -> None:
    """CMD has the arguments of ENTRYPOINT."""
    arguments = '"main:app", "--port", "9000"' if "uvicorn" in entry else '"uvicorn", "main:app", "--port", "9000"'
    files = {"main.py": APP, "Dockerfile": f"FROM x\nENTRYPOINT {entry}\nCMD [{arguments}]\n"}
    assert find_in(tmp_path, files).all["port"] == 9000


@pytest.mark.parametrize("program", ["opentelemetry-instrument --service_name x", "ddtrace-run"])
def test_an_instrument_that_production_lacks_is_reported(tmp_path: Path, program: str) -> None:
    """The server does not start it."""
    files = {"main.py": APP, "Procfile": f"web: {program} uvicorn main:app --port 9000\n"}
    found = find_in(tmp_path, files)
    assert found.all["port"] == 9000
    assert f"The command of production has no {program.split(maxsplit=1)[0]} (got one, Procfile)" in found.notes[0]


def test_variables_of_another_image_are_not_reported(tmp_path: Path) -> None:
    """A frontend that the same Compose file builds has its own."""
    compose = WEB + "    build: web\n    environment: [NEXT_PUBLIC_URL=x]\n"
    assert find_in(tmp_path, {"main.py": APP, "web/x.js": "", "compose.yml": compose}).notes == []
