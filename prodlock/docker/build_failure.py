"""Explain a failed build from BuildKit's plain progress output: the step, its last lines, the line of the Dockerfile.

A remedy is added only where a program's own error message, at the end of the failed step's output, proves the cause.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from prodlock.docker.failures import last_lines, printable

# BuildKit's line with the error that ended a build.
_SOLVED = r"^(?:ERROR: )?(?:failed to build: |target \S+: )*failed to solve: (.*)$"
# The instructions that BuildKit counts as steps of a stage, beside a FROM that names an image.
_STEPS = {"ADD", "COPY", "RUN", "WORKDIR"}
# The most characters of an instruction that a message repeats.
_WIDTH = 160


class Instruction(NamedTuple):
    """An instruction of a Dockerfile: its stage, its first line, its text joined into one line, and the file."""

    stage: str
    line: int
    text: str
    file: str = "Dockerfile"

    @property
    def keyword(self) -> str:
        """Return the keyword in capitals, such as RUN."""
        return self.text.partition(" ")[0].upper()


class Step(NamedTuple):
    """A step of a build: its name in BuildKit's output, the lines that it printed, and the error that ended it."""

    name: str
    lines: tuple[str, ...]
    error: str

    @property
    def instruction(self) -> str:
        """Return the text of the step's instruction."""
        return self.name.partition("] ")[2]


class Tool(NamedTuple):
    """A program that build steps run: patterns for an instruction that runs it, and for lines of its error messages.

    A message has a line that matches `error`; the lines around it match `more`.
    """

    run: str
    error: str
    more: str = "(?!)"


class Cause(NamedTuple):
    """A known cause: the program that reports it, a pattern for its error message, and the message for the user.

    A group of the pattern named `where` is inserted in the message.
    """

    tool: Tool | None
    error: str
    message: str


UV = Tool(r"/install\.py wheels |\buv pip ", r"error: ", r"\s|hint: |$")
PIP = Tool(r"\bpip (?:install|download) ", r"ERROR: ", r"WARNING: |Could not fetch URL |\[notice\]|\s|$")
APT = Tool(r"/packages\.sh |\bapt-get ", r"E: ", r"W: ")
CHECK = Tool(r"prodlock\.inside\.lock\b", r"pyproject\.toml changed")

_CERTIFICATE = (
    "must present a certificate that the build trusts (got another one). To fix it: name your company's bundle of "
    "certificate authorities with CA_BUNDLE=FILE."
)
_INDEX = "To fix it: name an index that has it with INDEX_URL=ADDRESS, or lock a version that the index has."
_OTHER_HASH = (
    "The package index must serve {where} with the sha256 in the lock or in the tool's requirements (got another). "
    "To fix it: find out why before you change either."
)
_UNREACHABLE = (
    "The package index must be reachable from the build (got no connection). To fix it: check the network, or name an "
    "index that can be reached with INDEX_URL=ADDRESS."
)
_REFUSED = (
    "The package index must let the build in (got a refusal). To fix it: name it with a user and a password, "
    "INDEX_URL=https://USER:PASSWORD@HOST/PATH (EXTRA_INDEX_URL for a further index), or in the file that NETRC names."
)
# Errors of a step's program. The first match wins.
_STEP_CAUSES = (
    Cause(
        CHECK,
        r"^pyproject\.toml changed significantly since poetry\.lock was last generated$",
        "poetry.lock must match pyproject.toml (got one generated before pyproject.toml changed). To fix it: run "
        "`inv poetry -- lock`, review what it changed, and commit it.",
    ),
    Cause(
        UV,
        r"^  cause: Hash mismatch for `(?P<where>[^`]+)`$",
        _OTHER_HASH,
    ),
    Cause(UV, r"^  cause: invalid peer certificate: ", f"The package index {_CERTIFICATE}"),
    Cause(UV, r"^  cause: (?:client error \(Connect\)|operation timed out)$", _UNREACHABLE),
    Cause(
        UV,
        r"^hint: An index (?:URL )?\(\S+\) (?:could not be queried due to a lack of valid authentication credentials"
        r"|returned a 403 Forbidden error)",
        _REFUSED,
    ),
    Cause(
        UV,
        r"^  cause: Because (?:there is no version of (?P<where>[\w.-]+==[\w.!+-]+\w)|(?P<name>[\w.-]+) was not found)"
        r"(?: in the package registry)? and you require ",
        "The package index must have every distribution in the lock (got fewer). " + _INDEX,
    ),
    Cause(
        UV,
        r"^  cause: Because (?P<where>[\w.-]+==[\w.!+-]+\w) has no (?:usable )?wheels ",
        "The package index must serve a wheel of {where} for this platform, because a build installs nothing from "
        "source (got none). To fix it: lock a version that has one, or name an index that has it with "
        "INDEX_URL=ADDRESS.",
    ),
    Cause(
        PIP,
        r"^ERROR: THESE PACKAGES DO NOT MATCH THE HASHES .*\n\s+(?P<where>\S+==\S+) from ",
        _OTHER_HASH,
    ),
    Cause(
        PIP,
        r"^WARNING: Retrying \(Retry\(total=0, .*SSLCertVerificationError\(",
        f"The package index {_CERTIFICATE}",
    ),
    Cause(
        PIP,
        r"^WARNING: Retrying \(Retry\(total=0, .*(?:NewConnectionError|NameResolutionError|ConnectTimeoutError)\(",
        _UNREACHABLE,
    ),
    Cause(PIP, r"^WARNING: 401 Error, Credentials not correct for ", _REFUSED),
    Cause(APT, r"^E: Failed to fetch .*(?i:certificate verif)", f"The Debian mirror {_CERTIFICATE}"),
    Cause(
        APT,
        r"^E: Failed to fetch \S+ +(?:Temporary failure resolving|Could not resolve|Could not connect|Unable to connect"
        r"|Connection (?:refused|timed out))",
        "The Debian mirror must be reachable from the build (got no connection). To fix it: check the network.",
    ),
    Cause(
        APT,
        r"^E: Unable to locate package (?P<where>\S+)$",
        "Debian must have the package {where} (got none). To fix it: correct ARG PACKAGES in the Dockerfile.",
    ),
    Cause(
        None,
        r"\Aexec \S+: exec format error\Z",
        "The Engine must be able to run programs of that platform (got: exec format error). To fix it: install "
        "emulators (Debian: `apt-get install qemu-user-static`), or build on a machine of the platform.",
    ),
    Cause(
        None,
        r"^(?:[\w./-]+: (?:(?:cannot|error|failed|write) [^:]*: |[^: ]+: )?|OSError: \[Errno 28\] |  cause: )"
        r"No space left on device(?: \(os error 28\)|: '[^']*')?\Z",
        "The file systems that the step writes to must have room (got a full one). To fix it: free space (`docker "
        "system df` shows what Docker uses, `df` the disks).",
    ),
)
# Errors of BuildKit itself: a pattern for the instruction, one for the error, and the message for the user.
_SOLVER_CAUSES = (
    (
        r"^FROM ",
        r"(?:^|: )failed to resolve source metadata for (?:docker\.io/)?(?:library/)?(?P<where>\S+?)(?::latest)?: ",
        "The base image {where} must be on this Engine or in a registry that can be reached, for the platform that is "
        "built (got neither). To fix it: run `inv setup`, which builds it on Debian for the machine's own platform; "
        "elsewhere load it with `docker load`; or correct the platform (`--platform`, DOCKER_DEFAULT_PLATFORM).",
    ),
    (
        r"^# *syntax=",
        r"(?:^|: )failed to resolve source metadata for ",
        "The frontend that `# syntax=` names must be an image that can be pulled (got none). To fix it: remove the "
        "line, which is optional, or name a registry that can be reached.",
    ),
    (
        r"\bfrom=",
        r"(?:^|: )failed to resolve source metadata for (?:docker\.io/)?(?:library/)?(?P<where>\S+?)(?::latest)?: ",
        "{where} must be a stage before that line, or an image that can be pulled (got neither). To fix it: correct "
        "the name.",
    ),
    (
        r"^(?:COPY|ADD) (?!.*\bfrom=)|^RUN .*--mount=(?!\S*\bfrom=)",
        r'"/(?P<where>[^"]+)": not found$',
        "`{where}` must be in the build context (got none). To fix it: create it, or, if it exists, allow it in "
        ".dockerignore (`!{where}`).",
    ),
    (
        r"",
        r"^failed to read dockerfile: open (?P<where>\S+): no such file or directory$",
        "{where} must exist (got none). To fix it: restore it (`git restore {where}`).",
    ),
    (
        r"",
        r"^(?:the Dockerfile cannot be empty|file with no instructions)$",
        "The Dockerfile must have instructions (got none). To fix it: restore it (`git restore {dockerfile}`).",
    ),
    (
        r"",
        r'^target stage "(?P<where>[^"]*)" could not be found$',
        "The Dockerfile must have a stage {where} (got none). To fix it: name a stage so (`FROM ... AS {where}`), or "
        "correct the target.",
    ),
    (
        r"",
        r"did not complete successfully: exit code: 137\b",
        "The step must run to its end (got: killed, which happens when memory runs out). To fix it: give Docker more "
        "memory, or stop other programs.",
    ),
    (
        r"",
        r"(?<!did not complete successfully): no space left on device$",
        "The Engine's disk must have room (got a full one). To fix it: free space (`docker system df` shows what "
        "Docker uses).",
    ),
)


def describe(output: str, dockerfile: str, excerpt: str = "", name: str = "Dockerfile") -> str | None:
    """Return the message for a failed build, or None where BuildKit reported no failure.

    `dockerfile` is the text of the file that was built, for line numbers that BuildKit does not print; `excerpt` the
    output of another build that failed with the same error and printed lines of the file; `name` is its path.
    """
    text = printable(output)
    solved = re.search(_SOLVED, text, re.MULTILINE)
    if not solved:
        return None
    error = re.sub(r"failed to (?:compute cache key|calculate checksum of ref \S+): ", "", solved[1])
    step = failed_step(text, solved[1])
    known = instructions(dockerfile)
    found = (located(step, known) if step else None) or referred(error, dockerfile, known)
    found = printed(text) or (found._replace(file=name) if found else printed(printable(excerpt)))
    head = "The build failed"
    if found:
        head += f" at {found.file}:{found.line}"
    numbered = re.match(r"\[(.*?) *(\d+/\d+)\] ", step.name) if step else None
    if step and numbered:
        stage = found.stage if found and found.stage else numbered[1].rpartition(" ")[2]
        head += f", stage {stage}, step {numbered[2]}" if stage else f", step {numbered[2]}"
    instruction = found.text if found else step.instruction if step and numbered else ""
    if instruction:
        head += f", `{shortened(instruction)}`"
    exited = re.search(r"did not complete successfully: exit code: (\d+)\b", error)
    if step and exited:
        head += f", with exit code {exited[1]}{last_lines(step.lines)}"
    else:
        head += f": {error}"
    remedy = step_remedy(step) or solver_remedy(error, instruction, name)
    return f"{head}\n{remedy}" if remedy else head


def unplaced_error(output: str, dockerfile: str) -> str:
    """Return the error of a build that failed before its steps, where it names no line, or an empty string."""
    text = printable(output)
    solved = re.search(_SOLVED, text, re.MULTILINE)
    if not solved or referred(solved[1], dockerfile, instructions(dockerfile)):
        return ""
    step = failed_step(text, solved[1])
    # Pulling the frontend that a `# syntax=` names is not a step of a stage: its name has no number.
    return "" if step and re.match(r"\[.*\d+/\d+\] ", step.name) else solved[1]


def failed_step(text: str, error: str) -> Step | None:
    """Return the step whose error ended the build; others may have failed or been cancelled at the same time."""
    names: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    errors: dict[str, str] = {}
    for number, line in re.findall(r"^#(\d+) (.*)$", text, re.MULTILINE):
        if match := re.match(r"\d+\.\d+ (.*)", line):
            lines.setdefault(number, []).append(match[1])
        elif line.startswith("ERROR: "):
            errors[number] = line.removeprefix("ERROR: ")
        elif line.startswith("["):
            names.setdefault(number, line)
    failed = sorted(errors, key=lambda number: errors[number] not in error)
    return next((Step(names.get(one, ""), tuple(lines.get(one, ())), errors[one]) for one in failed), None)


def instructions(dockerfile: str) -> list[Instruction]:
    """Parse a Dockerfile into instructions, by BuildKit's rules; a here-document belongs to its instruction."""
    found: list[Instruction] = []
    stage, stages = "", 0
    lines = iter(enumerate(dockerfile.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = [line.rstrip()]
        while parts[-1].endswith("\\"):
            parts[-1] = parts[-1][:-1]
            # Comments and empty lines don't end a continued instruction.
            after = next((text for _, text in lines if text.strip() and not text.lstrip().startswith("#")), "")
            parts.append(after.rstrip())
        text = "".join(parts).strip()
        if re.match(r"(?:RUN|COPY|ADD)\s", text, re.IGNORECASE):
            for tabs, end in re.findall(r"<<(-?)[\"']?(\w+)[\"']?", text):
                # Consume the lines of the here-document.
                any((body.lstrip("\t") if tabs else body) == end for _, body in lines)
        if match := re.match(r"FROM\s+(?:--\S+\s+)*\S+(?:\s+AS\s+(\S+))?\s*$", text, re.IGNORECASE):
            stage = match[1].lower() if match[1] else f"stage-{stages}"
            stages += 1
        found.append(Instruction(stage, number, text))
    return found


def located(step: Step, known: Sequence[Instruction]) -> Instruction | None:
    """Return the instruction of a step, found by stage and number, or None where its text differs."""
    match = re.match(r"\[(.*?) *(\d+)/(\d+)\] (.*)", step.name)
    if not match:
        return None
    stage, number, total, text = match[1].rpartition(" ")[2], int(match[2]), int(match[3]), match[4]
    names = {instruction.stage for instruction in known if instruction.stage}
    if stage not in names:
        # BuildKit leaves out the name of an only stage.
        stage = names.pop() if len(names) == 1 else ""
    counted = [one for one in known if one.stage == stage and one.keyword in _STEPS]
    # BuildKit counts a FROM that names an image, but not one that names a stage or `scratch`.
    index = number - 1 - (total - len(counted))
    if total - len(counted) not in {0, 1} or not 0 <= index < len(counted):
        return None
    found = counted[index]
    if "<<" in found.text:
        # BuildKit prints the beginning of a here-document where that is all of the command.
        text = re.sub(r"(<<\S+) \(.*\)$", r"\1", text)
    # BuildKit prints the keyword in capitals, and the values of the Dockerfile's variables, also where the shell would
    # expand them.
    written = found.keyword + found.text[len(found.keyword) :]
    parts = re.split(r"\$\{[^}]*\}|\$\w+", "".join(written.split()))
    same = re.fullmatch(".*".join(map(re.escape, parts)), "".join(text.split()), re.DOTALL)
    return found if same else None


def referred(error: str, dockerfile: str, known: Sequence[Instruction]) -> Instruction | None:
    """Return the instruction that an error refers to, by its line or by the name of an image."""
    if match := re.search(r"parse error on line (\d+)", error):
        line = int(match[1])
        return next((one for one in reversed(known) if one.line <= line), Instruction("", line, ""))._replace(line=line)
    match = re.search(
        r"failed to resolve source metadata for (?:docker\.io/)?(?:library/)?(\S+): "
        r"|failed to parse stage name \"([^\"]*)\"|^base name \((.*)\) should not be blank",
        error,
    )
    if not match:
        return None
    name = next(group for group in match.groups() if group is not None)
    before = dockerfile.partition("\nFROM")[0]
    defaults = {key: value.strip("\"'") for key, value in re.findall(r"^ARG (\w+)=(.*)$", before, re.MULTILINE)}
    for instruction in known:
        expanded = re.sub(r"\$\{?(\w+)\}?", lambda one: defaults.get(one[1], one[0]), instruction.text)
        images = re.findall(
            r"^FROM\s+(?:--\S+\s+)*(.*?)(?:\s+AS\s+\S+)?$|\bfrom=([^\s,]+)",
            f"{instruction.text}\n{expanded}",
            re.IGNORECASE | re.MULTILINE,
        )
        if name.removesuffix(":latest") in {"".join(image).removesuffix(":latest") for image in images}:
            return instruction
    return None


def printed(text: str) -> Instruction | None:
    """Return the instruction in BuildKit's excerpt of the file, which `docker build` prints and Compose does not."""
    match = re.search(r"^(\S+):(\d+)\n-{20}\n((?: +\d+ \|.*\n)+)-{20}$", text, re.MULTILINE)
    if not match:
        return None
    lines = re.findall(r"^ +\d+ \| >>> (.*)$", match[3], re.MULTILINE)
    return Instruction("", int(match[2]), " ".join(line.removesuffix("\\").strip() for line in lines), match[1])


def shortened(instruction: str) -> str:
    """Return an instruction's text without mounts and repeated spaces, cut to a message's width."""
    text = " ".join(word for word in instruction.split() if not word.startswith("--mount="))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def step_remedy(step: Step | None) -> str:
    """Return the remedy for a step's failure, or an empty string where its final error message is not a known one."""
    if not step:
        return ""
    for cause in _STEP_CAUSES:
        if cause.tool and not re.search(cause.tool.run, step.instruction):
            continue
        message = final_error(step.lines, cause.tool) if cause.tool else "\n".join(step.lines[-1:])
        if match := re.search(cause.error, message, re.MULTILINE):
            return cause.message.format(**match.groupdict())
    return ""


def final_error(lines: Sequence[str], tool: Tool) -> str:
    """Return a program's error message where the output ends with it, or else an empty string."""
    start = len(lines)
    while start and re.match(f"{tool.error}|{tool.more}", lines[start - 1]):
        start -= 1
    message = lines[start:]
    return "\n".join(message) if any(re.match(tool.error, line) for line in message) else ""


def solver_remedy(error: str, instruction: str, dockerfile: str) -> str:
    """Return the remedy for an error of BuildKit itself, or an empty string where it is not a known one."""
    for about, pattern, message in _SOLVER_CAUSES:
        match = re.search(pattern, error)
        if match and re.search(about, instruction):
            return message.format(dockerfile=dockerfile, **match.groupdict())
    return ""
