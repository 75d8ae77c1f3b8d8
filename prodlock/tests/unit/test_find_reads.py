"""Discovery of the variables that a service reads, and of its probes."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from prodlock.scaffold import reads
from prodlock.scaffold.tree import Tree
from prodlock.tests.unit.existing import APP, HASHED, find_in

SETTINGS = "from pydantic_settings import BaseSettings, SettingsConfigDict\n"
LITESTAR = "from litestar import Controller, Litestar, Router, get\n"
ROUTER = "from fastapi import APIRouter\nrouter = APIRouter(prefix='/utils')\n"
OWN_SERVER = {"requirements.txt": HASHED.replace("httptools", "other")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nos.environ['A'], os.getenv('B', ''), os.environ.get('C')\n", ["A", "B", "C"]),
        ("from os import environ, getenv\nenviron['A'], getenv('B'), environ.setdefault('C', '')\n", ["A", "B", "C"]),
        (
            "import os\nos.environ['HOME'], os.environ['PORT'], os.getenv('PYTHONPATH'), os.getenv('PATH')\n",
            [],
        ),
        (
            "import os\ne = os.environ\ne['A'], e.get('B'), os.environ.get(key='C'), 'D' in os.environ\n",
            ["A", "B", "C", "D"],
        ),
        ("import dj_database_url\ndj_database_url.config(default='x')\n", ["DATABASE_URL"]),
        ("import dj_database_url as d\nd.config('A_URL'), d.config(env='B_URL'), d.parse('C')\n", ["A_URL", "B_URL"]),
        ("from dj_database_url import config as c\nc(conn_max_age=1)\n", ["DATABASE_URL"]),
        ("import os as o\nfrom os import environ as e, getenv as g\no.environ['A'], e['B'], g('C')\n", ["A", "B", "C"]),
        ("import os\ndef need(key, x=None):\n    return os.environ[key]\nneed('A'), other('B')\n", ["A"]),
        ("import os\nclass E:\n    def get(self, key):\n        return os.environ[key]\n{}.get('A')\n", []),
        ("import os\nNAME = 'A'\nos.environ[NAME], os.getenv(OTHER)\n", ["A"]),
        (SETTINGS + "A = 'X'\nP = A + '_'\nclass S(BaseSettings, env_prefix=f'{P}Y_'):\n    a: int\n", ["X_Y_A"]),
        ("typer.Option(..., envvar='A'), click.option('--b', envvar=['B', 'C'])\n", ["A", "B", "C"]),
        ("from environs import Env\ne = Env()\ne('A'), e.str('B'), e.int('C', 1)\n", ["A", "B", "C"]),
        (
            "import environs\ne = environs.Env(prefix='X_')\ne('A')\nwith e.prefixed('Y_'):\n    e('B')\n"
            "    with e.prefixed('Z_'):\n        e.int('C')\n",
            ["X_A", "X_Y_B", "X_Y_Z_C"],
        ),
        ("from starlette.config import Config\nc = Config(env_prefix='X_')\nc('A'), c.get('B')\n", ["X_A", "X_B"]),
        ("from environs import env\nenv.str('A'), env('B')\n", ["A", "B"]),
        (
            "import environ\ne = environ.Env()\ne.db(), e.cache_url(), e.db('A')\n",
            ["A", "CACHE_URL", "DATABASE_URL"],
        ),
        (
            "from dynaconf import Dynaconf\ns = Dynaconf(envvar_prefix='X', environments=True)\n"
            "s.a, s.db.url, s['b'], s.get('c.d'), s.as_dict(), s.URL.strip(), other.e\n",
            ["ENV_FOR_DYNACONF", "X_A", "X_B", "X_C__D", "X_DB", "X_DB__URL", "X_URL"],
        ),
        ("import dynaconf\ns = dynaconf.Dynaconf(envvar_prefix=False, env_switcher='E')\ns.A\n", ["A", "E"]),
        (
            "from dynaconf import settings, Validator\nsettings.A, Validator('B', 'C')\n",
            ["DYNACONF_A", "DYNACONF_B", "DYNACONF_C"],
        ),
        ("import decouple\ndecouple.config('A'), other.config('B')\n", ["A"]),
        ("import os\nread, of = os.getenv, os.environ.get\nread('A'), of('B')\n", ["A", "B"]),
        ("import os\ndef need(key, x=None):\n    return os.environ[key]\nneed(key='A')\n", ["A"]),
        ("import os\nfor name in ('A', 'B'):\n    os.environ[name]\n", ["A", "B"]),
        ("import os\n[os.environ[name] for name in ['A', 'B']]\n", ["A", "B"]),
        ("import os\nNAMES = ['A', 'B']\nx = {name: os.getenv(name) for name in NAMES}\n", ["A", "B"]),
        ("from decouple import config\nconfig('A', default=1)\nconfig('B', cast=int)\n", ["A", "B"]),
        ("from starlette.config import Config\nread = Config('.env')\nread('A', cast=bool)\n", ["A"]),
        ("x = {'A': 1}\nx.get('A'), other('B'), names['C']\n", []),
        (SETTINGS + "class S(BaseSettings):\n    url: str\n    _x: int\n    k: ClassVar[int] = 1\n", ["URL"]),
        (
            SETTINGS + "class S(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='X_')\n    a: int\n",
            ["X_A"],
        ),
        (SETTINGS + "class S(BaseSettings):\n    model_config = {'env_prefix': 'X_'}\n    a: int = 1\n", ["X_A"]),
        (SETTINGS + "class S(BaseSettings, env_prefix='X_'):\n    a: int\n", ["X_A"]),
        (SETTINGS + "class S(BaseSettings):\n    a: int\n    class Config:\n        env_prefix = 'X_'\n", ["X_A"]),
        (SETTINGS + "class S(BaseSettings):\n    a: int = Field(validation_alias='API_KEY')\n", ["API_KEY"]),
        (SETTINGS + "class S(BaseSettings):\n    a: int = Field(alias=AliasChoices('K', 'L'))\n", ["K", "L"]),
        (SETTINGS + "class S(BaseSettings):\n    a: Annotated[int, Field(alias='K')]\n", ["K"]),
        (SETTINGS + "class S(BaseSettings, case_sensitive=True):\n    a: int\n", ["a"]),
        ("from pydantic_settings import BaseSettings as B\nclass S(B):\n    a: int\n", ["A"]),
        (
            SETTINGS + "P = 'X_'\nclass S(BaseSettings):\n    model_config = {'env_prefix': f'{P}Y_'}\n    a: int\n",
            ["X_Y_A"],
        ),
        (
            "class D(BaseModel):\n    url: str\n    up: list['D']\n    again: D\n"
            + SETTINGS
            + "class S(BaseSettings):\n"
            "    model_config = SettingsConfigDict(env_prefix='X_', env_nested_delimiter='__')\n    db: D | None\n",
            ["X_DB", "X_DB__AGAIN", "X_DB__UP", "X_DB__URL"],
        ),
        (
            SETTINGS + "class S(BaseSettings, env_nested_delimiter='__'):\n    a: 'D'\n    b: Optional['D'] = None\n"
            "class D(BaseModel):\n    c: int\n",
            ["A", "A__C", "B", "B__C"],
        ),
        ("class D(BaseModel):\n    b: int\n" + SETTINGS + "class S(BaseSettings):\n    a: D\n", ["A"]),
        ("class S(BaseModel):\n    a: int\n", []),
    ],
)
def test_variables_are_found_in_each_usual_form(tmp_path: Path, text: str, expected: list[str]) -> None:
    """The standard library, environs, decouple, starlette and pydantic; not those of the system or of Python."""
    assert find_in(tmp_path, {"main.py": APP + text}).all["environment"] == expected


@pytest.mark.parametrize(
    "environment",
    ["      - A=1\n      - B\n      - TZ=UTC\n", "      A: 1\n      B:\n      TZ: UTC\n", " {A: 1, B: 2}\n"],
)
def test_a_variable_of_compose_that_no_module_reads_is_reported(tmp_path: Path, environment: str) -> None:
    """A library may read it; not one of another service, nor of development."""
    given = "" if "{" in environment else "\n"
    compose = f"services:\n  api:\n    build: .\n    environment:{given}{environment}"
    files = {
        "main.py": APP + "import os\nos.getenv('A')\n",
        "compose.yaml": f"{compose}  db:\n    image: postgres:17\n    environment: [C=1]\n",
        "compose.override.yaml": compose.replace("B", "D"),
    }
    found = find_in(tmp_path, files)
    assert found.keys["environment"] == ["A"]
    (note,) = found.notes
    assert "no module reads them: B (compose.yaml). Add those that a library reads to `environment`" in note
    assert find_in(tmp_path, files, {"environment": ["A"]}).notes == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nos.environ['A']\nos.getenv('B')\nos.environ.get('C')\n", ["A"]),
        ("import os\nos.environ['A'] = 'x'\ndel os.environ['B']\n", []),
        ("import os\nif 'A' in os.environ:\n    x = os.environ['A']\n", []),
        ("import os\nos.environ.setdefault('A', '1')\nos.environ['A']\n", []),
        (
            SETTINGS + "class S(BaseSettings):\n    a: int\n    b: int = 1\n    c: int = Field(...)\n    d: int = ...\n"
            "    e: int = Field(gt=0)\n    f: list = Field(default_factory=list)\n    g: int = Field(1)\n",
            ["A", "C", "D", "E"],
        ),
        (
            SETTINGS + "class S(BaseSettings):\n    a: Annotated[int, Field(gt=0)]\n    b: C = Field(default=None)\n",
            ["A"],
        ),
        (SETTINGS + "class S(BaseSettings):\n    a: int = Field(validation_alias=AliasChoices('K', 'L'))\n", ["K"]),
        (SETTINGS + "class S(BaseSettings):\n    a: int = Field(1, alias='K')\n    b: int = field()\n", []),
        ("from environs import Env\ne = Env()\ne.str('A')\ne.int('B', default=1)\ne('C', 'x')\n", ["A"]),
        ("from decouple import config\nconfig('A')\nconfig('B', default='')\n", ["A"]),
        ("import environ\nenv = environ.Env(B=(bool, False))\nenv('A')\nenv('B')\n", ["A"]),
    ],
)
def test_variables_without_a_default_are_reported(tmp_path: Path, text: str, expected: list[str]) -> None:
    """A service that needs one of them does not start until it is set."""
    notes = [note for note in find_in(tmp_path, {"main.py": APP + text}).notes if "default" in note]
    assert [one.partition(" (")[0] for one in notes] == [f"Without a default: {', '.join(expected)}"] * bool(expected)


@pytest.mark.parametrize("is_tracked", [False, True])
def test_an_env_file_that_git_tracks_is_reported(tmp_path: Path, is_tracked: bool) -> None:  # noqa: FBT001
    """Lines of .gitignore have no effect on a file that git has."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # noqa: S607 - the git of the machine
    (tmp_path / ".env").write_text("A=1\n", encoding="utf-8")
    if is_tracked:
        subprocess.run(["git", "-C", tmp_path, "add", ".env"], check=True)  # noqa: S607 - the git of the machine
    notes = "\n".join(find_in(tmp_path, {"main.py": APP + "import os\nos.environ['B']\n"}).notes)
    assert ("set them in .env, which git ignores, and" in notes) is not is_tracked
    assert "Tests have those that `environment` of api-tests" in notes
    assert ("git tracks .env" in notes and "set them in .env and" in notes) is is_tracked


def test_the_variables_of_many_classes_are_read_in_a_moment(tmp_path: Path) -> None:
    """The ancestors of a class are looked up once, not once for each module."""
    modules = {
        f"app/m{number}.py": "".join(f"class C{number}x{one}(Base):\n    a: int\n" for one in range(40))
        for number in range(400)
    }
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    started = time.process_time()
    reads.environment(Tree(tmp_path), list(modules))
    assert time.process_time() - started < 5


def test_the_address_of_a_service_has_a_default_without_its_password(tmp_path: Path) -> None:
    """Compose hands it on; a service that reads the file needs nothing else."""
    files = {
        "main.py": APP + "import os\nos.environ['DATABASE_URL'], os.environ['KEY']\n",
        "compose.yaml": "services:\n  my-db:\n    image: postgres:17\n  cache:\n    image: redis:7\n",
    }
    required, of_service = find_in(tmp_path, files).notes
    assert required == (
        "Without a default: KEY (main.py:4). The service may not start without them: set them in .env, which git "
        "ignores, and where it is deployed. Tests have those that `environment` of api-tests in the Compose file names."
    )
    assert of_service == (
        "Production's my-db has a password, which the address that Compose hands on does not have. To fix it: read "
        "/run/secrets/my_db_password in the service, or set DATABASE_URL in .env with the password that the first `inv "
        "serve` writes to .prodlock/secrets/my_db_password."
    )
    files["main.py"] += "open('/run/secrets/my_db_password')\n"
    assert find_in(tmp_path, files).notes == [required]


def test_a_variable_that_decides_which_code_runs_is_reported(tmp_path: Path) -> None:
    """Bash executes the file that BASH_ENV names, so Compose does not hand it on. ENV is often the stage."""
    text = APP + SETTINGS + "class S(BaseSettings):\n    bash_env: str = 'x'\n    a: int = 1\n    env: str = 'x'\n"
    found = find_in(tmp_path, {"main.py": text})
    assert found.keys["environment"] == ["A", "ENV"]
    (note,) = found.notes
    assert note.startswith("Not handed on, because such variables decide which code runs: BASH_ENV (main.py:5).")


def test_variables_of_modules_that_do_not_ship_are_left_out(tmp_path: Path) -> None:
    """Only what the application imports reads them."""
    files = {"main.py": APP, "script.py": "import os\nos.getenv('UNUSED')\n"}
    assert find_in(tmp_path, files).all["environment"] == []


def test_settings_inherit_fields_and_prefixes_across_modules(tmp_path: Path) -> None:
    """A field of a base class is read with the prefix of the class that is used."""
    files = {
        "app/main.py": "from app.settings import Settings\n" + APP + "Settings()\n",
        "app/base.py": SETTINGS + "class Base(BaseSettings):\n    url: str\n"
        "class Middle(Base):\n    model_config = SettingsConfigDict(env_prefix='SHOP_')\n    key: str\n",
        "app/settings.py": "from app.base import Middle\nclass Settings(Middle):\n    port: int\n",
    }
    assert find_in(tmp_path, files).keys["environment"] == ["SHOP_KEY", "SHOP_PORT", "SHOP_URL"]


def test_settings_of_one_name_are_read_in_each_module(tmp_path: Path) -> None:
    """A class inherits from the one of its own module."""
    own = "class Base(BaseSettings):\n    {0}_url: str\nclass Settings(Base):\n    {0}_key: str\n"
    files = {"app/main.py": "import app.a, app.b\n" + APP, "app/a.py": SETTINGS + own.format("a")}
    found = find_in(tmp_path, {**files, "app/b.py": SETTINGS + own.format("b")})
    assert found.keys["environment"] == ["A_KEY", "A_URL", "B_KEY", "B_URL"]


def test_classes_that_inherit_from_each_other_end_the_search(tmp_path: Path) -> None:
    """They are not valid, and do not stop the discovery."""
    text = "class A(B): ...\nclass B(A):\n    x: int\nclass C(C):\n    y: int\n"
    assert find_in(tmp_path, {"main.py": APP + text}).all["environment"] == []


def test_probes_have_the_prefixes_of_their_routers(tmp_path: Path) -> None:
    """Those of the router, of the inclusion, and of several inclusions."""
    files = {
        "app/main.py": APP + "from app.api import top\napp.include_router(top, prefix=f'{PREFIX}/v1')\n",
        "app/config.py": "PREFIX = '/api'\n",
        "app/api.py": "import app.config\nfrom fastapi import APIRouter\nfrom . import utils\ntop = APIRouter()\n"
        "top.include_router(utils.router)\n",
        "app/utils.py": ROUTER + "@router.get('/health-check/')\ndef x(): ...\n@router.get('/ready')\ndef y(): ...\n",
    }
    found = find_in(tmp_path, files).keys
    assert (found["health"], found["ready"]) == ("/api/v1/utils/health-check/", "/api/v1/utils/ready")


@pytest.mark.parametrize(
    ("text", "health", "ready"),
    [
        ("@app.get('/healthz')\ndef x(): ...\n", "/healthz", ""),
        ("@app.get('/livez')\ndef x(): ...\n@app.get('/readyz')\ndef y(): ...\n", "/livez", "/readyz"),
        ("app.add_api_route('/ping', x)\n", "/ping", ""),
        ("routes = [Route('/healthcheck', x), Route('/items', y)]\n", "/healthcheck", ""),
        ("sub = FastAPI()\n@sub.get('/health')\ndef x(): ...\napp.mount('/api', sub)\n", "/api/health", ""),
        ("@app.get('/orders/status')\ndef x(): ...\n@app.get('/orders/{health}')\ndef y(): ...\n", "", ""),
        ("@app.get('/status')\ndef x(): ...\n", "/status", ""),
        ("@app.get('/_health')\ndef x(): ...\n@app.get('/_/ready')\ndef y(): ...\n", "/_health", "/_/ready"),
        ("@app.get('/__ping__')\ndef x(): ...\n@app.get('/alive')\ndef y(): ...\n", "/alive", ""),
        ("@app.post('/health')\ndef x(): ...\n", "", ""),
        (
            LITESTAR + "class C(Controller):\n    path = 'sys'\n    @get('health')\n    def x(self): ...\n",
            "/sys/health",
            "",
        ),
        (
            LITESTAR + "class C(Controller):\n    path = '/health'\n    @get()\n    def x(self): ...\n"
            "app.service = Litestar(path='/api', route_handlers=[Router('/v1', route_handlers=[C])])\n",
            "/api/v1/health",
            "",
        ),
        (
            LITESTAR + "@get('/ready')\nasync def x(): ...\nrouter = Router(path='/v1', route_handlers=[x])\n",
            "",
            "/v1/ready",
        ),
        ("sub = Starlette(routes=[Route('/livez', x)])\nroutes = [Mount('/in', app=sub)]\n", "/in/livez", ""),
        (
            "inner = [Route('/health', x)]\nouter = [Mount('/v1', routes=inner)]\n"
            "Router(routes=[Mount('/api', routes=outer)])\n",
            "/api/v1/health",
            "",
        ),
    ],
)
def test_probes_are_found_by_their_usual_names(tmp_path: Path, text: str, health: str, ready: str) -> None:
    """Decorators, calls and lists of routes; empty where the service's own server has none."""
    found = find_in(tmp_path, {"main.py": APP + text, **OWN_SERVER}).all
    assert (found["health"], found["ready"]) == (health, ready)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", "FROM x\nHEALTHCHECK CMD curl -f http://localhost:8000/internal/alive || exit 1\n"),
        ("docker-compose.yml", "services:\n  a:\n    healthcheck:\n      test: curl http://127.0.0.1/internal/alive\n"),
        ("k8s/deployment.yaml", "livenessProbe:\n  httpGet:\n    path: /internal/alive\n    port: 80\n"),
        ("k8s/deployment.yaml", "livenessProbe:\n  httpGet:\n    port: 80\n    path: /internal/alive\n"),
    ],
)
def test_a_declared_health_check_decides(tmp_path: Path, name: str, text: str) -> None:
    """A route whose name is not a usual one."""
    files = {"main.py": APP + "@app.get('/alive')\ndef x(): ...\n@app.get('/ping')\ndef y(): ...\n", name: text}
    assert find_in(tmp_path, files).keys["health"] == "/internal/alive"


def test_the_probes_of_the_server_are_not_written(tmp_path: Path) -> None:
    """prodlock.server answers those that the application does not have, at the default paths."""
    found = find_in(tmp_path, {"main.py": APP})
    assert (found.all["health"], found.all["ready"]) == ("/health", "/ready")
    assert not {"health", "ready"} & set(found.keys)


def test_a_health_check_of_another_service_does_not_decide(tmp_path: Path) -> None:
    """A command of another service may name the address of a route."""
    files = {
        "main.py": APP + "@app.get('/metrics')\ndef x(): ...\n@app.get('/alive')\ndef y(): ...\n",
        "compose.yml": "services:\n  prometheus:\n    command: --web.external-url=http://localhost:9090/metrics\n"
        "  api:\n    build: .\n    healthcheck:\n      test: [CMD, curl, 'http://localhost:80/alive']\n",
    }
    assert find_in(tmp_path, files).keys["health"] == "/alive"


def test_a_variable_that_a_dockerfile_sets_is_reported(tmp_path: Path) -> None:
    """Production reads its value from where the service is deployed; not one that no module reads."""
    dockerfile = "FROM x AS dev\nENV B=1\nFROM x\nENV C=1 PYTHONUNBUFFERED=1\nENV A prod\nARG B=1\n"
    found = find_in(
        tmp_path, {"main.py": APP + "import os\nos.getenv('A'), os.getenv('B')\n", "Dockerfile": dockerfile}
    )
    assert found.all["environment"] == ["A", "B"]
    (note,) = found.notes
    assert note.startswith("Images do not have the values that Dockerfiles give to variables (got A, Dockerfile).")


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("app/main.py", "import_module(f'app.routers.{name}')"),
        ("app/main.py", "import_module(f'.routers.{name}', __package__)"),
        ("app/routers/load.py", "import_module('.' + name, package='app.routers')"),
        ("app/routers/__init__.py", "import_module(f'{__name__}.{one.name}')"),
        ("app/routers/__init__.py", "import_module(__package__ + '.' + name)"),
    ],
)
def test_variables_of_modules_that_a_value_selects_are_found(tmp_path: Path, module: str, code: str) -> None:
    """All modules of the package may be imported."""
    files = {"app/main.py": APP, "app/routers/__init__.py": "", "app/routers/items.py": "import os\nos.environ['A']\n"}
    files[module] = files.get(module, "") + code + "\n"
    files["app/main.py"] += f"import {module.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}\n"
    assert find_in(tmp_path, files).all["environment"] == ["A"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("URL = 'sqlite:///./todo.db'\n", "./todo.db (main.py:3)"),
        ("URL = os.getenv('URL', 'sqlite+aiosqlite:////data/x.db?a=1')\n", "/data/x.db (main.py:3)"),
        ("import sqlite3 as s, sqlite3\nsqlite3.connect('x.db')\n", "x.db (main.py:4)"),
        ("D = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE / 'db.sqlite3'}\n", "db.sqlite3 (main.py:3)"),
        ("URL = 'sqlite:////tmp/x.db', 'sqlite://', 'sqlite:///:memory:'\n", ""),
        ("import sqlite3\nsqlite3.connect(':memory:'), sqlite3.connect(path), sqlite3.connect('known.db')\n", ""),
        ("db.connect('x.db')\nURL = f'sqlite:///{path}'\n", ""),
    ],
)
def test_a_database_where_production_cannot_write_is_reported(tmp_path: Path, code: str, expected: str) -> None:
    """In the working directory, or in another folder; not in /tmp or in memory, nor data of the project."""
    notes = find_in(tmp_path, {"main.py": APP + code, "known.db": ""}).notes
    text = " ".join(note for note in notes if "SQLite" in note)
    assert (f"not the SQLite database {expected}." in text) if expected else not text
