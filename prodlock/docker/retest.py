"""Run pytest in a container of the tool `loop`: at every save, or under a debugger."""

from __future__ import annotations

import time

from prodlock.docker import services, stages
from prodlock.docker.development import interactive, run_temporary
from prodlock.docker.live import DEBUG_PORT, check_free
from prodlock.project import Project


def watch(project: Project, arguments: list[str]) -> int:
    """Run pytest with arguments in the working tree, again at every save, until an interruption.

    The container has dev's packages, and no network but that of the tests' services. It can't write to the tree, as the
    tests can't in the dev image.
    """
    image = stages.build(project, "loop")
    options = ("--init", "--env=HOME=/tmp", "--env=TESTMON_DATAFILE=/tmp/testmon")
    # For the times that the program prints: those of the tests are in UTC, as in the dev image.
    program = ("python", "-m", "prodlock.loop.retest", str(time.localtime().tm_gmtoff))
    tree = [*stages.on_working_tree(project, ":ro"), *stages.in_home(project)]
    try:
        with services.for_tests(project) as given:
            reached = given.options or ("--network=none",)
            run = ("run", *interactive(), *options, *reached, *tree, image, *program, *arguments)
            return run_temporary(project, *run, env=given.environment)
    except KeyboardInterrupt:
        # Ctrl-C is the normal end of a watch.
        return 0


def debug(project: Project, arguments: list[str]) -> int:
    """Build dev, run pytest in it with arguments once a debugger is attached, and return pytest's exit code."""
    check_free(DEBUG_PORT)
    image = stages.build(project, "loop")
    published = f"--publish=127.0.0.1:{DEBUG_PORT}:{DEBUG_PORT}"
    options = ("--init", published, "--env=HOME=/tmp", *stages.in_home(project))
    # debugpy warns without the option: a debugger can't stop in modules that are part of the interpreter.
    program = ("python", "-X", "frozen_modules=off", "-m", "prodlock.loop.debug")
    with services.for_tests(project, published=True) as given:
        run = ("run", *interactive(), *options, *given.options, image, *program, *arguments)
        return run_temporary(project, *run, env=given.environment)
