"""Load an ASGI application by `module:attribute`.

The attribute may be dotted. It is an application, or a factory that returns one. It is called as a factory

- with `--factory`, or
- without that option where it can be called without arguments and its call is not a coroutine: `def create_app():`,
  `def create_app(settings=None):`, a class whose instances are applications.

An application takes `(scope, receive, send)`, which have no defaults, so that the two cannot be confused. A function
that takes any arguments, a decorator's for example, is called as a factory unless that is a TypeError. An object whose
parameters cannot be inspected is an application: middleware that sets its `__call__` in `__init__`, compiled code.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from prodlock.server.asgi import Application

EXAMPLE = "app.main:create_app"


class NoApplication(SystemExit):
    """The application cannot be loaded. Uncaught, it ends the process with its message and exit code 1."""


def load(reference: str, *, is_factory: bool = False) -> Application:
    """Import and return an application. Raises NoApplication; exceptions of the application's own code pass."""
    found = _imported(reference)
    if is_factory and not _accepts(found, 0, unknown=True):
        raise NoApplication(
            f"The factory {reference} must be callable without arguments (got {_description(found)}). To fix it: name "
            "a function that returns the application, or leave out --factory."
        )
    if is_factory or _is_factory(found):
        try:
            found, reference = found(), f"The result of {reference}"
        except TypeError:
            if is_factory or not _accepts_any(found):
                raise
    if not _is_application(found):
        if inspect.iscoroutine(found):
            # Otherwise Python warns that it was never awaited.
            found.close()
        raise NoApplication(
            f"{reference} must be an ASGI 3 application, callable with (scope, receive, send), or a function without "
            f"required arguments that returns one (got {_description(found)}). To fix it: name another attribute."
        )
    application: Application = found
    return application


def _imported(reference: str) -> Any:  # noqa: ANN401 - any attribute of any module
    module_name, _, path = reference.partition(":")
    if not all(name.isidentifier() for name in (*module_name.split("."), *path.split("."))):
        raise NoApplication(
            f"The application must be MODULE:ATTRIBUTE (got {reference!r}). To fix it: write it as in {EXAMPLE}."
        )
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the application imports is the application's error.
        if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise NoApplication(
            f"{module_name} must be a module that can be imported (got: {error}). To fix it: correct the name, or "
            "start the server in the folder that holds it."
        ) from None
    for name in path.split("."):
        if not hasattr(found, name):
            raise NoApplication(
                f"{reference} must be an attribute of a module (got no {name!r} in {module_name}). To fix it: correct "
                "the name."
            )
        found = getattr(found, name)
    return found


def _is_factory(found: object) -> bool:
    """Return whether an object can be called without arguments and does not return a coroutine then."""
    if not _accepts(found, 0, unknown=False):
        return False
    # Of a class, `__call__` is what its instances do.
    call = None if inspect.isclass(found) else getattr(found, "__call__", None)  # noqa: B004 - its kind matters
    return not (inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(call))


def _is_application(found: object) -> bool:
    return not inspect.isclass(found) and _accepts(found, 3, unknown=True)


def _accepts(found: object, count: int, *, unknown: bool) -> bool:
    """Return whether an object can be called with so many positional arguments; `unknown` where that is not known."""
    if not callable(found):
        return False
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return unknown
    try:
        signature.bind(*(None,) * count)
    except TypeError:
        return False
    return True


def _accepts_any(found: Callable[..., object]) -> bool:
    """Return whether a callable takes any number of positional arguments."""
    return any(one.kind is one.VAR_POSITIONAL for one in inspect.signature(found).parameters.values())


def _description(found: object) -> str:
    return found.__name__ if inspect.isroutine(found) else f"an object of type {type(found).__name__}"
