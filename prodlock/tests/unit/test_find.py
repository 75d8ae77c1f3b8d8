"""Discovery in existing projects: what `prodlock init` finds, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prodlock.failure import Failure
from prodlock.scaffold import locks
from prodlock.scaffold.find import Found, find

HASHED = "uvicorn==0.40.0 --hash=sha256:00\nhttptools==0.7.1 --hash=sha256:00\nfastapi==0.1 --hash=sha256:00\n"
APP = "from fastapi import FastAPI\napp = FastAPI()\n"


def write(root: Path, files: dict[str, str]) -> Found:
    """Write a project's files, with a lock where it has none, and return what is found."""
    if not any("lock" in name or "requirements" in name for name in files):
        files = {"requirements.txt": HASHED, **files}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return find(root)


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
        ("main.py", APP + "sub = FastAPI()\napp.mount('/sub', sub)\n", "main:app"),
        ("main.py", APP + "if __name__ == '__main__':\n    other = FastAPI()\n", "main:app"),
        ("shop/__init__.py", APP, "shop:app"),
        ("shop/web.py", APP.replace("fastapi", "starlette.applications").replace("FastAPI", "Starlette"), "shop.web:app"),  # noqa: E501
    ],
)  # fmt: skip
def test_an_application_is_found(tmp_path: Path, name: str, text: str, expected: str) -> None:
    """An application is found."""
    assert write(tmp_path, {name: text}).keys["application"] == expected


def test_two_equal_applications_are_refused_with_both_places(tmp_path: Path) -> None:
    """Two equal applications are refused with both places."""
    with pytest.raises(Failure, match=r"`app` \(a/main.py:2\), `app` \(b/main.py:2\).*--set application="):
        write(tmp_path, {"a/main.py": APP, "b/main.py": APP})


def test_a_declared_command_decides_between_applications(tmp_path: Path) -> None:
    """A declared command decides between applications."""
    files = {
        "a/main.py": APP,
        "b/main.py": APP,
        "Dockerfile": 'FROM x\nCMD ["uvicorn", "b.main:app", "--port", "80"]\n',
    }
    found = write(tmp_path, files)
    assert found.keys["application"] == "b.main:app"
    assert found.keys["port"] == 80
    assert "CMD of Dockerfile" in found.where["application"]


def test_a_given_application_is_not_searched(tmp_path: Path) -> None:
    """A given application is not searched."""
    write(tmp_path / "x", {"main.py": APP})
    for name in ("a", "b"):
        (tmp_path / "x" / name).mkdir()
        (tmp_path / "x" / name / "main.py").write_text(APP)
    found = find(tmp_path / "x", {"application": "b.main:app"})
    assert found.keys["sources"] == ["b"]
    assert "application" not in found.keys


@pytest.mark.parametrize("text", ["", "from fastapi import FastAPI\ndef make(settings):\n    return FastAPI()\n"])
def test_a_project_without_an_application_is_refused(tmp_path: Path, text: str) -> None:
    """A project without an application is refused."""
    with pytest.raises(Failure, match="must create an application"):
        write(tmp_path, {"main.py": text})


@pytest.mark.parametrize(
    ("files", "folders", "application", "sources", "directory"),
    [
        ({"src/shop/__init__.py": "", "src/shop/main.py": "from shop.db import x\n" + APP, "src/shop/db.py": ""},
         ["src"], "shop.main:app", ["src/shop"], "."),
        ({"src/main.py": "from src.db import x\n" + APP, "src/db.py": ""}, ["."], "src.main:app", ["src"], "."),
        ({"backend/app/main.py": "from app.core import x\n" + APP, "backend/app/core.py": "",
          "backend/pyproject.toml": ""}, ["backend"], "app.main:app", ["backend/app"], "backend"),
        ({"app/main.py": "from .db import x\n" + APP, "app/db.py": "import core.y\n", "core/y.py": "", "z/w.py": ""},
         ["."], "app.main:app", ["app", "core"], "."),
    ],
)  # fmt: skip
def test_the_import_folder_is_that_of_the_modules_imports(  # noqa: PLR0913, PLR0917 - the parts of a layout
    tmp_path: Path, files: dict[str, str], folders: list[str], application: str, sources: list[str], directory: str
) -> None:
    """The import folder is that of the modules' imports."""
    found = write(tmp_path, files).keys
    assert (found.get("import-from", ["."]), found.get("directory", ".")) == (folders, directory)
    assert (found["application"], found["sources"]) == (application, sources)


def test_files_that_cannot_be_read_do_not_matter(tmp_path: Path) -> None:
    """A syntax error, bytes that are not UTF-8, a loop of links, and folders that have no sources."""
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "docker-compose.yml").write_bytes(b"services:\n\xff: [\n")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.py").symlink_to("self.py")
    found = write(tmp_path, {"main.py": APP, "node_modules/x/main.py": APP, "tests/main.py": APP, ".x/main.py": APP})
    assert found.keys["application"] == "main:app"
    assert found.keys["tests"] == ["tests"]


def test_data_and_migrations_ship(tmp_path: Path) -> None:
    """Data and migrations ship."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # noqa: S607 - the git of the machine
    found = write(tmp_path, {
        ".gitignore": "frontend/dist\n",
        "main.py": APP + "Jinja2Templates(directory='templates')\nStaticFiles(directory='frontend/dist')\n",
        "templates/x.html": "",
        "alembic.ini": "[alembic]\nscript_location = %(here)s/alembic\n",
        "alembic/env.py": "from models import Base\n",
        "models.py": "",
        "requirements.txt": HASHED + "alembic==1.0 --hash=sha256:00\n",
    })  # fmt: skip
    assert found.keys["sources"] == ["alembic", "alembic.ini", "main.py", "models.py", "templates"]
    assert found.keys["generated"] == ["frontend/dist"]
    assert found.keys["commands"] == {"migrate": "alembic upgrade head"}


def test_variables_are_those_that_the_sources_read(tmp_path: Path) -> None:
    """Variables are those that the sources read."""
    text = """
import os
from pydantic_settings import BaseSettings
class Base(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_")
    url: str
    key: str = Field(validation_alias="API_KEY")
a = os.environ["ONE"]; b = os.getenv("TWO", ""); c = os.environ.get("HOME"); d = os.environ["PYTHONPATH"]
"""
    found = write(tmp_path, {"main.py": APP + text, "other.py": "import os\nos.getenv('UNUSED')\n"})
    assert found.keys["environment"] == ["API_KEY", "ONE", "SHOP_URL", "TWO"]


def test_probes_have_the_prefixes_of_their_routers(tmp_path: Path) -> None:
    """Probes have the prefixes of their routers."""
    found = write(tmp_path, {
        "app/main.py": APP + "from app.api import router\napp.include_router(router, prefix='/api/v1')\n",
        "app/api.py": "from fastapi import APIRouter\nrouter = APIRouter(prefix='/utils')\n"
                      "@router.get('/health-check/')\ndef x(): ...\n@router.get('/ready')\ndef y(): ...\n",
    })  # fmt: skip
    assert (found.keys["health"], found.keys["ready"]) == ("/api/v1/utils/health-check/", "/api/v1/utils/ready")


def test_a_service_without_probes_has_empty_paths(tmp_path: Path) -> None:
    """A service without probes has empty paths."""
    found = write(tmp_path, {"main.py": APP + "@app.get('/items')\ndef x(): ...\n"})
    assert (found.keys["health"], found.keys["ready"]) == ("", "")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"got none\).*poetry lock"),
        ({"requirements.txt": "fastapi\n"}, "requirements.txt without hashes.*--generate-hashes"),
        ({"pyproject.toml": '[tool.poetry]\nname = "x"\n'}, "run `poetry lock`"),
    ],
)
def test_a_missing_lock_is_refused_with_the_remedy(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """A missing lock is refused with the remedy."""
    (tmp_path / "main.py").write_text(APP)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(Failure, match=message):
        find(tmp_path)


def test_groups_of_poetry_are_sorted_by_their_names(tmp_path: Path) -> None:
    """Groups of poetry are sorted by their names."""
    groups = "".join(f"[tool.poetry.group.{name}.dependencies]\n" for name in ("prod", "lint", "test"))
    packages = '[[package]]\nname = "uvicorn"\n[[package]]\nname = "httptools"\n'
    found = write(tmp_path, {
        "main.py": APP, "poetry.lock": packages,
        "pyproject.toml": groups + '[tool.poetry.dependencies]\npython = "^3.12"\n[tool.poetry.group.x]\noptional=true\n',  # noqa: E501
    })  # fmt: skip
    assert (found.keys["groups"], found.keys["dev-groups"]) == (["main", "prod"], ["lint", "test"])
    assert found.keys["base"] == "python:3.13-slim-trixie"


def test_the_member_of_a_workspace_is_the_one_of_the_application(tmp_path: Path) -> None:
    """The member of a workspace is the one of the application."""
    packages = '[[package]]\nname = "uvicorn"\n[[package]]\nname = "httptools"\n'
    found = write(tmp_path, {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["backend", "libs/*"]\n', "uv.lock": packages,
        "backend/pyproject.toml": '[project]\nname = "shop-api"\n', "backend/app/main.py": "import app.x\n" + APP,
        "backend/app/x.py": "", "libs/y/pyproject.toml": '[project]\nname = "y"\n',
    })  # fmt: skip
    assert (found.keys["package"], found.keys["lock"]) == ("shop-api", "uv.lock")


@pytest.mark.parametrize(
    ("constraint", "allowed"),
    [
        (">=3.12,<3.14", [12, 13]), ("^3.12", [12, 13, 14]), ("~3.12", [12]), ("3.12.*", [12]), (">=3.10", [11, 12, 13, 14]),  # noqa: E501
        ("==3.11.4", [11]), (">3.12", [13, 14]), ("<3.11", []), (">=3.11,!=3.12.1", [11, 12, 13, 14]), ("<4.0", [11, 12, 13, 14]),  # noqa: E501
        ("~=3.12", [12, 13, 14]), ("~=3.12.1", [12]), (">=3.11 <3.13", [11, 12]), ("<2 || 3.13", [13]),
    ],
)  # fmt: skip
def test_constraints_of_python_are_read(constraint: str, allowed: list[int]) -> None:
    """Constraints of python are read."""
    assert [minor for minor in locks.MINORS if locks._allows(constraint, minor)] == allowed


def test_a_python_without_an_image_is_refused(tmp_path: Path) -> None:
    """A python without an image is refused."""
    with pytest.raises(Failure, match=r"must allow a version of Python from 3.11 to 3.14 \(got <3.11\)"):
        write(tmp_path, {"main.py": APP, "pyproject.toml": '[project]\nrequires-python = "<3.11"\n'})


def test_a_serving_command_without_the_server_is_the_projects_own(tmp_path: Path) -> None:
    """A serving command without the server is the project's own."""
    lock = "gunicorn==1 --hash=sha256:00\n"
    found = write(tmp_path, {
        "main.py": APP, "requirements.txt": lock,
        "Procfile": "web: exec gunicorn -k uvicorn.workers.UvicornWorker main:app\n",
    })  # fmt: skip
    assert found.keys["server"] == "gunicorn -k uvicorn.workers.UvicornWorker main:app --bind=0.0.0.0:8000"


def test_a_serving_command_that_needs_a_shell_is_refused(tmp_path: Path) -> None:
    """A serving command that needs a shell is refused."""
    files = {
        "main.py": APP,
        "requirements.txt": "gunicorn==1 --hash=sha256:00\n",
        "Procfile": "web: gunicorn $OPTS main:app\n",
    }
    with pytest.raises(Failure, match=r"must run without a shell.*--set 'server="):
        write(tmp_path, files)


def test_commands_and_services_of_compose_are_found(tmp_path: Path) -> None:
    """Commands and services of compose are found."""
    compose = """
services:
  api:
    build: .
    command: ["sh", "-c", "alembic upgrade head && uvicorn app.main:app --port 9000"]
  jobs:
    command: celery -A app.jobs worker --loglevel info
  db:
    image: "postgres:17"  # the database
    environment:
      - X=1
volumes:
  data:
"""
    found = write(tmp_path, {"docker-compose.yml": compose, "app/main.py": APP, "app/jobs.py": "import core\n",
                             "core.py": "", "requirements.txt": HASHED + "alembic==1 --hash=sha256:0\n"}).keys  # fmt: skip  # noqa: E501
    assert found["commands"] == {
        "migrate": "alembic upgrade head",
        "worker": "celery -A app.jobs worker --loglevel info",
    }
    assert found["services"] == {"db": "postgres:17"}
    assert (found["sources"], found["port"]) == (["app", "core.py"], 9000)
