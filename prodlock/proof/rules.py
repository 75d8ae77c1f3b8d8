"""The rules of the proof, as data.

A rule states what is wrong in general; a finding states where, and refers to its rule. Codes are stable: a code that is
no longer used is not given to another rule.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A condition that a production image must meet."""

    code: str
    title: str
    # What a finding of this rule means.
    meaning: str
    # The usual cause, and how to fix it.
    cause: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """A place where a rule is broken."""

    rule: Rule
    # What was found: a distribution, a variable, the kind of a file.
    what: str
    # A path in the image, a file of the project, or `configuration` or `history`.
    path: str
    # The Dockerfile instruction that made the layer, or the one that is wrong.
    instruction: str
    # What exactly is wrong here.
    why: str
    # How many files this finding stands for.
    files: int = 1
    # The number of the layer, from 0.
    layer: int | None = None


# 1: development in production.
DEV_DISTRIBUTION = Rule(
    "LS101",
    "Distribution of the dev group",
    "The metadata or an archive of a distribution that only the dev group has is in the image.",
    "The dev environment was copied, or a step installs packages beside the lock.",
    "Copy by name what production needs, from a stage that dev does not precede.",
)
UNLOCKED_DISTRIBUTION = Rule(
    "LS102",
    "Distribution outside the lock's main group",
    "The metadata or an archive of a distribution that the lock's main group does not have is in the image.",
    "A step installs packages beside the lock, or the base image's own packages were copied.",
    "Add the dependency and lock again, for example with `inv poetry -- add --lock NAME` or `inv uv -- add NAME`, or "
    "remove the step that installs it.",
)
SECOND_VERSION = Rule(
    "LS103",
    "Second version of a locked distribution",
    "Two versions of one distribution are in the image, and only one of them is locked.",
    "A step installs over what the lock installed.",
    "Remove the step, or lock the version that is needed.",
)
DEV_IMPORT = Rule(
    "LS104",
    "Importable module of a dev distribution",
    "A package or a module that only the dev group provides can be imported in the image.",
    "Part of the dev environment was copied, or a step installs packages beside the lock.",
    "Copy by name what production needs; if the service imports it, move it to the main group.",
)
DEV_COMMAND = Rule(
    "LS105",
    "Command of a dev distribution",
    "A script or a link in the image starts a tool of the dev group.",
    "A script for development was copied, or its link was left behind.",
    "Copy by name what production needs.",
)
DEV_CONTENT = Rule(
    "LS106",
    "Content of a file of the dev image",
    "A file equals, byte for byte, one of a distribution that only the dev group has, or one of this project's tests.",
    "A file of the dev image was copied, perhaps under another name.",
    "Remove the COPY or RUN that brings it, in the layer that brings it.",
)
PROJECT_FILE = Rule(
    "LS107",
    "Project file that is not part of the service",
    "A file of this project that is not among the sources, such as a test, is in the image.",
    "`COPY . .` in the production stage.",
    "Copy the sources by name (`COPY app /srv/app`).",
)
PRIVATE_FILE = Rule(
    "LS108",
    "Repository or environment file",
    "A git repository or a file of variables is in the image, where everyone who has the image can read it.",
    "`COPY . .` without an allow-list in .dockerignore.",
    "Copy the sources by name, and replace every secret that was in the file.",
)
TOOL_TRACE = Rule(
    "LS109",
    "Configuration or cache of a dev tool",
    "A file, a folder or a variable has a name that only a dev tool uses, and no locked main wheel contains it.",
    "A tool ran in a stage that production takes files from, or its settings were copied with the sources.",
    "Keep it out of the sources (tests beside them, not in them), and set variables in the dev stage only.",
)
DEV_PROCESS = Rule(
    "LS110",
    "Command of the image that starts a dev tool",
    "CMD, ENTRYPOINT, HEALTHCHECK, ONBUILD or SHELL names a tool of the dev group.",
    "The image was built on top of the dev stage, or its instruction was copied from it.",
    "Name the service's own command in the production stage.",
)
SECRET = Rule(
    "LS111",
    "Secret that everyone who has the image can read",
    "A variable, a label, a build argument, an instruction or a file has a password, a token or a private key in it.",
    "It was passed as ENV or ARG, written into a RUN, or copied with the sources.",
    "Pass it as a build secret (`RUN --mount=type=secret`) or at run time, and replace the secret.",
)
DENIED = Rule(
    "LS112",
    "Denied distribution in the main group",
    "The lock's main group has a distribution that pyproject.toml lists in `denied-in-main`.",
    "It was added without a group of development, or a dependency needs it.",
    "Move it to the dev group: `inv poetry -- remove --lock NAME`, `inv poetry -- add --lock --group dev NAME`; with "
    "uv `inv uv -- remove NAME`, `inv uv -- add --dev NAME`.",
)
DEV_ONLY_IMPORT = Rule(
    "LS113",
    "Import that only the dev group provides",
    "A Python file imports a module that only a distribution of the dev group has: in production the import fails.",
    "The tests pass because dev has the distribution, or a test was put among the sources.",
    "Move the distribution to the main group, handle `ImportError`, or move the file out of the sources.",
)

# 2: the closed world.
UNACCOUNTED = Rule(
    "LS201",
    "File that no source accounts for",
    "Neither a locked wheel, nor the sources, nor the base image, nor the build accounts for the file.",
    "A COPY or a RUN too many in the production stage.",
    "Copy by name what production needs.",
)
UNACCOUNTED_SOURCE = Rule(
    "LS202",
    "Source that the commit does not have",
    "A file is among the service's sources in the image, and git does not have it.",
    "The file was not committed, or git ignores it.",
    "Commit the file, or remove it and run `inv build`.",
)
UNACCOUNTED_MODULE = Rule(
    "LS203",
    "File in site-packages that no locked wheel has",
    "A file is where packages are imported from, and no locked wheel contains it.",
    "A step installs packages beside the lock, or changes what was installed.",
    "Remove the step, or lock what it installs.",
)
UNACCOUNTED_CACHE = Rule(
    "LS204",
    "Cache or home folder of a tool",
    "A folder in which tools keep caches and settings is in the image.",
    "A tool ran in a stage that production takes files from.",
    "Use a cache mount (`RUN --mount=type=cache`), in a stage that production does not descend from.",
)
UNACCOUNTED_BYTECODE = Rule(
    "LS205",
    "Bytecode that no build step makes",
    "Bytecode is in the image that does not belong to an accounted source, or is not the compilation of it.",
    "Its source differs as well (LS209), or a step ran Python in the image.",
    "Follow the remedy of the source where that is a finding; else set PYTHONDONTWRITEBYTECODE=1 in the step.",
)
WRONG_KIND = Rule(
    "LS206",
    "Entry of another type",
    "A path is a folder, a link or a file where its source has another of these.",
    "A step replaced the path, or the image is older than the commit.",
    "Run `inv build`; if that does not help, remove the step that replaces the path.",
)
WRONG_LINK = Rule(
    "LS207",
    "Link with another target",
    "A symbolic link points to another path than in its source.",
    "A step replaced the link.",
    "Remove the step.",
)
CHANGED = Rule(
    "LS208",
    "File with another content",
    "A file is not, byte for byte, what its source has at this path.",
    "The image is older than the lock or the base image, or a step edits the file.",
    "Run `inv build`; to change a package, lock a wheel of your own.",
)
CHANGED_SOURCE = Rule(
    "LS209",
    "Source with another content",
    "A source of the service is not, byte for byte, what the commit has.",
    "Changes are not committed, or the image is older than the commit.",
    "Commit the changes, and run `inv build`.",
)
WRONG_MODE = Rule(
    "LS210",
    "Entry with other permissions",
    "The permissions of a path are not those of its source.",
    "COPY keeps the permissions of the file that it copies, or a step changes them.",
    "Set them with `COPY --chmod`, or remove the step.",
)
WRONG_OWNER = Rule(
    "LS211",
    "Entry with another owner",
    "A path belongs to another user or group than in its source: the service could change the files that it owns.",
    "`COPY --chown`, or a step that changes the owner.",
    "Leave the files to root.",
)
EXTRA_DATA = Rule(
    "LS212",
    "Entry that carries more than its content",
    "A device, an extended attribute, or bytes that no unpacking shows.",
    "A step sets attributes, or the archive was changed after the build.",
    "Run `inv build`; if that does not help, remove the step that sets them.",
)
DELETED = Rule(
    "LS213",
    "Deleted file that still ships",
    "A later layer deletes a path, and the layer below still contains it.",
    "`RUN rm` in an instruction of its own.",
    "Remove the file in the instruction that makes it, or copy by name what is needed.",
)
MISSING = Rule(
    "LS214",
    "Missing file",
    "The lock, the sources or the base image have a file, and the image does not.",
    "The image is older than the commit, the lock or the base image.",
    "Run `inv build`.",
)
UNTESTED = Rule(
    "LS215",
    "File that differs between dev and production",
    "Both images have the path with different contents: what was tested is not what ships.",
    "One of the two images is older than the other.",
    "Run `inv build`.",
)
OTHER_LAYERS = Rule(
    "LS216",
    "Layers that a bare build does not give",
    "The files are the same, and the digests of the layers are not: times or an archive's headers differ.",
    "The image was built by other tools, or a step depends on the time.",
    "Run `inv build`; a step that depends on the time must not.",
)
OVER_BUDGET = Rule(
    "LS217",
    "Size budget exceeded",
    "The files of the image add up to more than `size-budget-mb` under [tool.prodlock] in pyproject.toml.",
    "A dependency was added or has grown.",
    "Raise `size-budget-mb` to accept the size, or do without the dependency.",
)

# 3: the configuration of the image.
SETTING = Rule(
    "LS301",
    "Setting that the Dockerfile does not declare",
    "A setting of the image's configuration is not what a bare `docker build .` of this commit gives.",
    "The image is of another Dockerfile or commit, or was built on top of production.",
    "Run `inv build`.",
)
INSTRUCTION = Rule(
    "LS302",
    "History that the Dockerfile does not give",
    "An instruction in the image's history is missing, additional, in another place, or recorded otherwise.",
    "The image is of another Dockerfile or commit, or was built on top of production.",
    "Run `inv build`.",
)
UNKNOWN_FIELD = Rule(
    "LS303",
    "Field that no build writes",
    "The configuration contains a field, or a value of a field, that the image specification does not have.",
    "The image's configuration was changed after the build.",
    "Run `inv build`.",
)
PLATFORM = Rule(
    "LS304",
    "Image of another platform",
    "Architecture, operating system or time of the image are not those of a bare `docker build .` of this commit.",
    "The image was built for another platform, or its configuration was changed after the build.",
    "Run `inv build`, with DOCKER_DEFAULT_PLATFORM set for the check as for the build.",
)

# 4: what Compose runs.
COMPOSE_IMAGE = Rule(
    "LS401",
    "Service that runs another image",
    "A service of the profile prod is built here or runs an image of this project, and it is not the image that is "
    "checked: another target, tag, folder, Dockerfile, argument or cache.",
    "An override file, or a service for development in the profile prod.",
    "Build the target prod, name its image, and put services for development into the profile dev.",
)
COMPOSE_KEY = Rule(
    "LS402",
    "Compose key that may change what runs",
    "A service of the profile prod has a key, or a value of one, that is not on the list of those that do not change "
    "what runs (`KEYS` in prodlock/proof/judges/compose.py).",
    "An override file for development in the working folder.",
    "Remove the key, or set it in the image.",
)
COMPOSE_MOUNT = Rule(
    "LS403",
    "Mount over the image's files",
    "A volume, secret or config of a service in the profile prod hides files of the image, adds code to it, or shows "
    "the working tree.",
    "A bind mount for development.",
    "Mount data where the image has no code, outside of /srv, /opt, /usr and /etc, from outside of the working tree.",
)
COMPOSE_VARIABLE = Rule(
    "LS404",
    "Variable that is not a setting of the service",
    "Compose sets a variable that neither the settings of the service nor the server list, nor pyproject.toml allows.",
    "A variable for development, or a new one that was not listed.",
    "Add a field to `Settings`, or the name to `environment` under [tool.prodlock] in pyproject.toml; variables that "
    "decide which code runs can't be allowed.",
)
COMPOSE_REACH = Rule(
    "LS405",
    "Other image that can reach production's code",
    "A service of the profile prod runs an image that is not built here, and has the means to change what others run: "
    "the sources, the Engine, the machine, or their processes.",
    "A tool for monitoring or a proxy that reads the Engine's socket.",
    "Take the means from the service, or run it in a Compose project of its own.",
)

# 5: the bill of materials.
BILL_COMPONENT = Rule(
    "LS501",
    "Component that differs from the bill of materials",
    "The image has a component that the bill of materials does not list, or lists in another version or file.",
    "The bill of materials is of another build.",
    "Write a new one with `inv sbom`.",
)
BILL_IMAGE = Rule(
    "LS502",
    "Bill of materials of another image",
    "The digests in the bill of materials are not those of the image.",
    "The bill of materials is of another build.",
    "Write a new one with `inv sbom`.",
)

RULES = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
