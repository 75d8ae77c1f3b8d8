# ruff: noqa: E501 - what programs printed
"""Messages for the failed builds that BuildKit reports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prodlock.docker import build_failure
from prodlock.docker.build_failure import Instruction, describe, instructions, unplaced_error

DOCKERFILE = """\
# A comment
ARG BASE=debian:trixie-slim
FROM ${BASE} AS one
ENV A=1
WORKDIR /srv
RUN --network=none \\
    # another comment

    --mount=type=bind,source=poetry.lock,target=/poetry.lock \\
    echo hello; \\
    exit 3

FROM one AS two
RUN python <<'END'
RUN this is text
END
COPY . .
FROM scratch
COPY --from=two $A /x
RUN a '$B' $(b) && c
"""
# The output of Compose 2.26 with Buildx 0.13.
FRAME = """\
#0 building with "default" instance using docker driver

#1 [api-prod internal] load build definition from Dockerfile
#1 transferring dockerfile: 234B done
#1 DONE 0.0s

#5 [api-tests one 1/3] FROM docker.io/library/debian:trixie-slim
#5 CACHED

#8 [api-prod {step}
{logged}
#8 ERROR: {error}
------
 > [api-prod {step}:
{block}
------
failed to solve: {error}
"""
EXITED = 'process "/bin/sh -c echo hello;     exit 3" did not complete successfully: exit code: {code}'
RUN = "RUN --network=none     --mount=type=bind,source=poetry.lock,target=/poetry.lock     echo hello;     exit 3"


def failed(*lines: str, step: str = f"one 3/3] {RUN}", error: str = "", code: int = 3) -> str:
    """Return the output of a build in Compose whose step fails after these lines."""
    logged = "\n".join(f"#8 0.057 {line}" for line in lines)
    block = "\n".join(f"0.057 {line}" for line in lines[-1:])
    return FRAME.format(step=step, logged=logged, block=block, error=error or EXITED.format(code=code))


def test_a_step_is_named_with_its_stage_its_line_and_its_last_lines() -> None:
    """Compose prints no line of the Dockerfile; the step's stage and number give it."""
    assert describe(failed("hello", "the reason"), DOCKERFILE) == (
        "The build failed at Dockerfile:6, stage one, step 3/3, `RUN --network=none echo hello; exit 3`, with exit "
        "code 3. Its last lines:\n    hello\n    the reason"
    )


def test_a_step_without_output_is_named_with_its_exit_code() -> None:
    """Nothing else is available."""
    message = describe(failed(), DOCKERFILE)
    assert message is not None
    assert message.endswith("`RUN --network=none echo hello; exit 3`, with exit code 3 and printed nothing.")


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ("two 1/2] RUN python <<'END'", " at Dockerfile:14, stage two, step 1/2, `RUN python <<'END'`"),
        (
            "two 1/2] RUN python <<'END' (RUN this is...)",
            " at Dockerfile:14, stage two, step 1/2, `RUN python <<'END'`",
        ),
        ("two 2/2] COPY . .", " at Dockerfile:17, stage two, step 2/2, `COPY . .`"),
        ("one  2/3] WORKDIR /srv", " at Dockerfile:5, stage one, step 2/3, `WORKDIR /srv`"),
        ("linux/arm64 one 2/3] WORKDIR /srv", " at Dockerfile:5, stage one, step 2/3, `WORKDIR /srv`"),
        ("stage-2 1/2] COPY --from=two 1 /x", " at Dockerfile:19, stage stage-2, step 1/2, `COPY --from=two $A /x`"),
        ("stage-2 2/2] RUN a 'x y' $(b) && c", " at Dockerfile:20, stage stage-2, step 2/2, `RUN a '$B' $(b) && c`"),
        # The text differs from the Dockerfile's: no line is named.
        ("two 2/2] COPY a b", ", stage two, step 2/2, `COPY a b`"),
        ("two 9/9] COPY . .", ", stage two, step 9/9, `COPY . .`"),
        ("three 1/1] COPY . .", ", stage three, step 1/1, `COPY . .`"),
    ],
)
def test_the_line_of_a_step_is_found_or_left_out(step: str, place: str) -> None:
    """FROM counts as a step where it names an image; here-documents and comments contain no instructions."""
    message = describe(failed("x", step=step), DOCKERFILE)
    assert message is not None
    assert message.startswith(f"The build failed{place}, with exit code 3: x")


@pytest.mark.parametrize("keyword", ["RUN", "run", "Run"])
def test_a_keyword_in_any_case_has_its_line(keyword: str) -> None:
    """BuildKit prints it in capitals."""
    message = describe(failed("x", step="one 2/2] RUN x"), f"from a as one\n{keyword} x\n")
    assert message is not None
    assert message.startswith(f"The build failed at Dockerfile:2, stage one, step 2/2, `{keyword} x`, with")


def test_the_name_of_an_only_stage_is_found() -> None:
    """BuildKit does not print it."""
    message = describe(failed("x", step="2/2] RUN x"), "FROM a AS last\nRUN x\n")
    assert message == "The build failed at Dockerfile:2, stage last, step 2/2, `RUN x`, with exit code 3: x"


def test_the_step_is_the_one_whose_error_ended_the_build() -> None:
    """Two steps fail at the same time, and the other was first."""
    other = "#7 [api-tests two 2/2] COPY . .\n#7 0.1 noise\n#7 ERROR: another error\n"
    message = describe(other + failed("the reason"), DOCKERFILE)
    assert message is not None
    assert message.startswith("The build failed at Dockerfile:6, stage one")


# The output of `docker build`.
EXCERPT = """\
#7 [one 3/3] RUN --network=none     echo hello
#7 0.054 hello
#7 ERROR: process "/bin/sh -c echo hello" did not complete successfully: exit code: 3
------
 > [one 3/3] RUN --network=none     echo hello:
0.054 hello
------
prodlock/setup/base.Dockerfile:5
--------------------
   4 |     WORKDIR /srv
   5 | >>> RUN --network=none \\
   6 | >>>     echo hello
   7 |
--------------------
ERROR: failed to solve: process "/bin/sh -c echo hello" did not complete successfully: exit code: 3
"""


def test_the_line_and_file_in_buildkits_excerpt_are_used() -> None:
    """`docker build` prints both; the project's own Dockerfile is not read."""
    assert describe(EXCERPT, "") == (
        "The build failed at prodlock/setup/base.Dockerfile:5, stage one, step 3/3, `RUN --network=none echo hello`, "
        "with exit code 3: hello"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "dockerfile parse error on line 14: unknown instruction: FOO (did you mean FROM?)",
            "The build failed at Dockerfile:14, `RUN python <<'END'`: dockerfile parse error on line 14: unknown "
            "instruction: FOO (did you mean FROM?)",
        ),
        (
            "base name (${BASE}) should not be blank",
            "The build failed at Dockerfile:3, `FROM ${BASE} AS one`: base name (${BASE}) should not be blank",
        ),
        (
            'failed to parse stage name "debian:trixie-slim": invalid reference format',
            'The build failed at Dockerfile:3, `FROM ${BASE} AS one`: failed to parse stage name "debian:trixie-slim": '
            "invalid reference format",
        ),
        (
            "failed to read dockerfile: open Dockerfile: no such file or directory",
            "The build failed: failed to read dockerfile: open Dockerfile: no such file or directory\n"
            "Dockerfile must exist (got none). To fix it: restore it (`git restore Dockerfile`).",
        ),
        (
            'target stage "last" could not be found',
            'The build failed: target stage "last" could not be found\nThe Dockerfile must have a stage last (got none). '
            "To fix it: name a stage so (`FROM ... AS last`), or correct the target.",
        ),
        (
            "the Dockerfile cannot be empty",
            "The build failed: the Dockerfile cannot be empty\n"
            "The Dockerfile must have instructions (got none). To fix it: restore it (`git restore Dockerfile`).",
        ),
        (
            "write /var/lib/docker/tmp/x: no space left on device",
            "The build failed: write /var/lib/docker/tmp/x: no space left on device\n"
            "The Engine's disk must have room (got a full one). To fix it: free space (`docker system df` shows what "
            "Docker uses).",
        ),
    ],
)
@pytest.mark.parametrize("prefix", ["", "ERROR: ", "target api-prod: ", "ERROR: failed to build: "])
def test_an_error_before_any_step_is_repeated(prefix: str, error: str, message: str) -> None:
    """The message has its line where the error names one, or an image."""
    assert describe(f"#1 DONE 0.0s\n{prefix}failed to solve: {error}\n", DOCKERFILE) == message


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            failed("x", step="one  2/3] WORKDIR /srv"),
            "The build failed at docker/prod.Dockerfile:5, stage one, step 2/3",
        ),
        ("failed to solve: the Dockerfile cannot be empty\n", "(`git restore docker/prod.Dockerfile`)."),
    ],
)
def test_a_dockerfile_of_another_name_is_named(output: str, expected: str) -> None:
    """Another file of the project may be called Dockerfile."""
    assert expected in (describe(output, DOCKERFILE, name="docker/prod.Dockerfile") or "")


def test_a_failure_before_buildkit_has_no_message_here() -> None:
    """Compose could not read its file."""
    assert describe("yaml: line 3: did not find expected key\n", DOCKERFILE) is None
    # A step may print the same words.
    assert describe("#8 0.1 failed to solve: x\n0.1 failed to solve: x\n", DOCKERFILE) is None


REGISTRY = (
    "{name}: failed to resolve source metadata for docker.io/library/{full}: failed to do request: Head "
    '"https://registry.example/v2/": dial tcp: lookup registry.example: no such host'
)


def test_a_base_image_that_cannot_be_pulled_gets_a_remedy() -> None:
    """The message keeps the reason."""
    error = REGISTRY.format(name="debian:trixie-slim", full="debian:trixie-slim")
    printed = failed(step="internal] load metadata for docker.io/library/debian:trixie-slim", error=error)
    message = describe(printed, DOCKERFILE)
    assert message is not None
    assert message.startswith("The build failed at Dockerfile:3, `FROM ${BASE} AS one`: debian:trixie-slim: failed to")
    assert message.splitlines()[-1].startswith("The base image debian:trixie-slim must be on this Engine or in a")
    # The Engine may have it for another platform.
    assert "for the platform that is built (got neither)" in message
    assert "or correct the platform (`--platform`, DOCKER_DEFAULT_PLATFORM)" in message


def test_a_misspelt_stage_is_distinguished_from_the_base_image() -> None:
    """BuildKit treats an unknown name as an image of a registry."""
    error = REGISTRY.format(name="tow", full="tow:latest")
    printed = failed(step="internal] load metadata for docker.io/library/tow:latest", error=error)
    message = describe(printed, DOCKERFILE.replace("--from=two", "--from=tow"))
    assert message is not None
    assert message.startswith("The build failed at Dockerfile:19, `COPY --from=tow $A /x`: tow: failed to")
    assert message.splitlines()[-1].startswith("tow must be a stage before that line, or an image that can be")


@pytest.mark.parametrize(
    ("step", "file", "remedy"),
    [
        ("two 2/2] COPY . .", "nope", True),
        (f"one 3/3] {RUN}", "poetry.lock", True),
        (
            "one 3/3] RUN --mount=from=two,source=/x,target=/x --mount=source=poetry.lock,target=/y x",
            "poetry.lock",
            True,
        ),
        ("stage-2 1/1] COPY --from=two 1 /x", "1", False),
        ("two 1/1] RUN --mount=from=one,source=/x,target=/x x", "x", False),
    ],
)
def test_a_missing_source_is_named(step: str, file: str, remedy: bool) -> None:  # noqa: FBT001
    """BuildKit's checksums are removed. A file that another stage lacks is not one of the build context."""
    reason = f'failed to calculate checksum of ref 90d9157e-447a::m9mlio3: "/{file}": not found'
    message = describe(failed(step=step, error=f"failed to compute cache key: {reason}"), DOCKERFILE)
    assert message is not None
    first, *rest = message.splitlines()
    assert first.endswith(f': "/{file}": not found')
    assert [line.partition(": ")[0] for line in rest] == [
        f"`{file}` must be in the build context (got none). To fix it"
    ] * remedy


def test_a_killed_step_gets_a_remedy() -> None:
    """137 is 128 + SIGKILL."""
    message = describe(failed("Killed", code=137), DOCKERFILE)
    assert message is not None
    assert message.splitlines()[-1].startswith(
        "The step must run to its end (got: killed, which happens when memory runs out)"
    )


# The beginning of the remedy; the instruction, and the output of its program in a real run.
UV = "RUN python /installer/install.py wheels /opt/venv /main.txt"
PIP = "RUN sh /online pip install --require-hashes -r /uv.txt"
APT = 'RUN sh /packages.sh "$PACKAGES"'
CHECK = "RUN --mount=source=poetry.lock,target=/lock/poetry.lock python -m prodlock.inside.lock /lock/poetry.lock /out"
RETRIES = "WARNING: Retrying (Retry(total={}, connect=None, read=None, redirect=None, status=None)) after connection broken by "
REFUSED = "'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/uv/"
UNTRUSTED = "'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1028)'))': /simple/uv/"
NO_MATCH = """\
ERROR: Could not find a version that satisfies the requirement uv==0.13.8 (from versions: none)
ERROR: No matching distribution found for uv==0.13.8"""
KNOWN = {
    "poetry.lock must match pyproject.toml (got one generated before pyproject.toml changed). To fix it: run `inv": (
        CHECK,
        "pyproject.toml changed significantly since poetry.lock was last generated",
    ),
    "The package index must serve idna==3.7 with the sha256 in the lock or in the tool's": (
        UV,
        """\
Using Python 3.13.5 environment at: /opt/venv
Resolved 1 package in 126ms
error: Failed to download `idna==3.7`
  cause: Hash mismatch for `idna==3.7`

         Expected:
           sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491

         Computed:
           sha256:82fee1fc78add43492d3a1898bfa6d8a904cc97d8427f683ed8e798d07761aa0""",
    ),
    "The package index must present a certificate": (
        UV,
        """\
error: Failed to fetch: https://index.example/simple/idna/
  cause: error sending request for url (https://index.example/simple/idna/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer""",
    ),
    "The package index must be reachable from the build": (
        UV,
        """\
error: Request failed after 3 retries in 4.3s
  cause: Failed to fetch: http://127.0.0.1:9/simple/idna/
  cause: error sending request for url (http://127.0.0.1:9/simple/idna/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)""",
    ),
    "The package index must let the build in (got a refusal). To fix it: name it with a user and a password": (
        UV,
        """\
error: No solution found when resolving dependencies
  cause: Because idna was not found in the package registry and you require idna==3.7, we can conclude that your requirements are unsatisfiable.

hint: An index URL (http://127.0.0.1:8877/simple) could not be queried due to a lack of valid authentication credentials (401 Unauthorized)""",
    ),
    "The package index must let the build in": (
        UV,
        """\
error: No solution found when resolving dependencies
  cause: Because idna was not found in the package registry and you require idna==3.7, we can conclude that your requirements are unsatisfiable.

hint: An index (http://127.0.0.1:8877/simple) returned a 403 Forbidden error. Check that the index URL is correct and the credentials are valid.""",
    ),
    "The package index must have every distribution in the lock": (
        UV,
        """\
error: No solution found when resolving dependencies
  cause: Because there is no version of idna==99.0 and you require idna==99.0, we can conclude that your requirements are unsatisfiable.""",
    ),
    "The package index must serve a wheel of numpy==1.21.0 for this platform, because a build installs nothing": (
        UV,
        """\
error: No solution found when resolving dependencies
  cause: Because numpy==1.21.0 has no usable wheels and you require numpy==1.21.0, we can conclude that your requirements are unsatisfiable.

hint: Wheels are required for `numpy` because building from source is disabled for all packages (i.e., with `--no-build`)""",
    ),
    "The package index must serve a wheel of pywin32==306 for this platform": (
        UV,
        """\
error: No solution found when resolving dependencies
  cause: Because pywin32==306 has no wheels with a matching Python ABI tag (e.g., `cp313`) and you require pywin32==306, we can conclude that your requirements are unsatisfiable.

hint: You require CPython 3.13 (`cp313`), but we only found wheels for `pywin32` (v306) with the following Python ABI tags: `cp311`, `cp312`""",
    ),
    "The package index must be reachable from the build (got no connection). To fix it: check": (
        PIP,
        f"{RETRIES.format(1)}{REFUSED}\n{RETRIES.format(0)}{REFUSED}\n{NO_MATCH}",
    ),
    "The package index must present a certificate that": (
        PIP,
        f"{RETRIES.format(0)}{UNTRUSTED}\nCould not fetch URL https://index.example/simple/uv/: There was a problem "
        f"confirming the ssl certificate: HTTPSConnectionPool(host='index.example', port=443) - skipping\n{NO_MATCH}",
    ),
    "The package index must serve uv==0.13.8 with the sha256 in the lock or": (
        PIP,
        """\
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package versions, please update the hashes. Otherwise, examine the package contents carefully; someone may have tampered with them.
    uv==0.13.8 from https://index.example/uv-0.13.8-py3-none-manylinux_2_17_x86_64.whl (from -r /uv.txt (line 1)):
        Expected sha256 0000000000000000000000000000000000000000000000000000000000000000
             Got        82fee1fc78add43492d3a1898bfa6d8a904cc97d8427f683ed8e798d07761aa0
""",
    ),
    "Debian must have the package nopepkg": (APT, "Reading state information...\nE: Unable to locate package nopepkg"),
    "The Debian mirror must be reachable from the build": (
        APT,
        """\
E: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  Temporary failure resolving 'mirror.example'
E: Some index files failed to download. They have been ignored, or old ones used instead.""",
    ),
    "The Engine must be able to run programs of that platform": (UV, "exec /bin/sh: exec format error"),
    "The file systems that the step writes to must have room": (
        UV,
        "head: error writing 'standard output': No space left on device",
    ),
    "The file systems that the step writes to must have room (got": (UV, "OSError: [Errno 28] No space left on device: '/x'"),
}  # fmt: skip


def remedies(message: str | None) -> list[str]:
    """Return the lines of a message after those that repeat the step's."""
    assert message is not None
    return [line for line in message.splitlines()[1:] if not line.startswith("    ")]


@pytest.mark.parametrize(("remedy", "printed"), KNOWN.items(), ids=range(len(KNOWN)))
def test_known_errors_of_the_failing_program_get_a_remedy(remedy: str, printed: tuple[str, str]) -> None:
    """One line follows the step's own."""
    instruction, text = printed
    (message,) = remedies(describe(failed(*text.splitlines(), step=f"main 1/1] {instruction}"), DOCKERFILE))
    assert message.startswith(remedy)


@pytest.mark.parametrize("printed", KNOWN.values(), ids=range(len(KNOWN)))
def test_the_same_words_elsewhere_give_no_remedy(printed: tuple[str, str]) -> None:
    """In another step, before the end of the failed one, or within another program's line."""
    instruction, text = printed
    lines = text.splitlines()
    logged = "\n".join(f"#7 0.1 {line}" for line in lines)
    elsewhere = f"#7 [api-prod main 1/1] {instruction}\n{logged}\n#7 DONE 1.0s\n"
    assert remedies(describe(elsewhere + failed("the reason"), DOCKERFILE)) == []
    step = f"main 1/1] {instruction}"
    assert remedies(describe(failed(*lines, "x.c:1: a compile error", step=step), DOCKERFILE)) == []
    quoted = (f"test_x.py: expected <{line}>" for line in lines)
    assert remedies(describe(failed(*quoted, step=step), DOCKERFILE)) == []


@pytest.mark.parametrize("tool", ["UV", "PIP", "APT", "CHECK"])
def test_every_tool_is_found_in_the_dockerfiles(tool: str) -> None:
    """An instruction that is written differently would give no remedy."""
    files = (Path("Dockerfile"), Path("prodlock/inside/Dockerfile"))
    texts = [one.text for file in files for one in instructions(file.read_text(encoding="utf-8"))]
    pattern = getattr(build_failure, tool).run
    assert any(text.startswith("RUN ") and re.search(pattern, text) for text in texts)
    assert re.search(pattern, globals()[tool])


@pytest.mark.parametrize("tool", [UV, PIP, APT, CHECK])
def test_the_same_words_of_another_program_give_no_remedy(tool: str) -> None:
    """A RUN of the project's own may print anything."""
    for instruction, text in KNOWN.values():
        if instruction == tool:
            message = describe(failed(*text.splitlines(), step="main 1/1] RUN make install"), DOCKERFILE)
            assert all(line.startswith(("The Engine must be able", "The file systems")) for line in remedies(message))


def test_instructions_have_stage_line_and_text() -> None:
    """The text is joined into one line, as in BuildKit's output."""
    assert instructions("FROM a\nRUN x \\\n  y\nFROM b AS B\nCOPY <<END /x\nRUN z\nEND\nUSER u\n") == [
        Instruction("stage-0", 1, "FROM a"),
        Instruction("stage-0", 2, "RUN x   y"),
        Instruction("b", 4, "FROM b AS B"),
        Instruction("b", 5, "COPY <<END /x"),
        Instruction("b", 8, "USER u"),
    ]


def test_a_long_instruction_is_shortened() -> None:
    """Its mounts are removed first."""
    text = build_failure.shortened("RUN --mount=type=bind,source=x,target=/x  python   " + "x" * 500)
    assert text.startswith("RUN python xxx")
    assert len(text) == 160


def test_an_error_without_a_line_gets_that_of_an_excerpt() -> None:
    """Compose prints `ENV must have two arguments` without a line."""
    excerpt = "Dockerfile:4\n--------------------\n   3 |     FROM one\n   4 | >>> ENV X\n--------------------\n"
    output = "target api-prod: failed to solve: ENV must have two arguments"
    assert unplaced_error(output, DOCKERFILE) == "ENV must have two arguments"
    for prefix in ("", "[api-prod] "):
        frontend = (
            f"#3 {prefix}resolve image config for docker.io/x\n#3 ERROR: no such host\n------\n"
            "failed to solve: no such host\n"
        )
        assert unplaced_error(frontend, DOCKERFILE) == "no such host"
    assert unplaced_error(failed("the reason"), DOCKERFILE) == ""
    assert unplaced_error("failed to solve: dockerfile parse error on line 6: unknown flag: x", DOCKERFILE) == ""
    assert describe(output, DOCKERFILE, excerpt) == (
        "The build failed at Dockerfile:4, `ENV X`: ENV must have two arguments"
    )


def test_a_frontend_that_cannot_be_pulled_gets_its_line_and_a_remedy() -> None:
    """The excerpt of `docker build` has the line `# syntax=`, which is not an instruction."""
    error = "failed to resolve source metadata for registry.example/x:1: no such host"
    excerpt = "Dockerfile:1\n--------------------\n   1 | >>> # syntax=registry.example/x:1\n--------------------\n"
    first, remedy = str(describe(f"failed to solve: {error}", DOCKERFILE, excerpt)).splitlines()
    assert first == f"The build failed at Dockerfile:1, `# syntax=registry.example/x:1`: {error}"
    assert remedy.startswith(
        "The frontend that `# syntax=` names must be an image that can be pulled (got none). To fix it: remove"
    )
