"""The rules of the proof, as data.

A rule states what is wrong in general; a finding states where, and refers to its rule. Codes are stable: a code that is
no longer used is not given to another rule.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A condition that an image must meet."""

    code: str
    title: str
    # What a finding of this rule means.
    meaning: str
    # The usual cause, and how to fix it.
    cause: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """A place where a rule is violated."""

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
    "A device, an extended attribute, or bytes that are lost when the archive is unpacked.",
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
    "Run `inv build`; make each step independent of the time.",
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
    "Remove the mount, key or capability from the service, or run it in a Compose project of its own.",
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

# 6: any image, by `prodlock verify`.
NOT_LOCKED = Rule(
    "LS601",
    "Distribution outside the lock",
    "The image has a distribution that the lock does not have.",
    "A step installs packages beside the lock, or the lock is of another commit than the image.",
    "Lock it, or remove the step that installs it.",
)
OTHER_VERSION = Rule(
    "LS602",
    "Distribution in another version",
    "The image has a distribution in another version than the lock.",
    "The image was built before the lock was changed, or a step installs without the lock.",
    "Build the image again from the lock: `uv sync --frozen`, `poetry sync`, `pip install --require-hashes`.",
)
DEVELOPMENT = Rule(
    "LS603",
    "Distribution of a group for development",
    "The image has a distribution that the lock has only for development.",
    "The installer takes all groups by default.",
    "Install without them: `uv sync --no-default-groups`, `poetry install --only main`; or name the group with "
    "--group.",
)
NOT_INSTALLED = Rule(
    "LS604",
    "Distribution that is missing",
    "The lock has a distribution, and the image does not.",
    "The image was built before the lock was changed, its metadata was removed, or the lock has further groups.",
    "Build the image again from the lock; name the groups and extras that it installs with --group and --extra.",
)
CHANGED_FILE = Rule(
    "LS605",
    "Changed file of a distribution",
    "A file is not, byte for byte, what the locked wheel has.",
    "A step edits installed packages, or copies a file over one.",
    "Remove the step; to change a package, lock a wheel of your own.",
)
ADDED_FILE = Rule(
    "LS606",
    "File in an environment that no distribution has",
    "A folder that Python imports from has a file that no locked wheel and no installer put there: every program of "
    "the environment may run it.",
    "A step copies modules into site-packages, or removes the metadata of a distribution and leaves its modules.",
    "Remove the step; install what is needed from the lock.",
)
MISSING_FILE = Rule(
    "LS607",
    "Missing file of a distribution",
    "A locked wheel has files that the image lacks.",
    "A step deletes tests, documentation or metadata to save space.",
    "Remove the step, or accept that what was tested is not what ships.",
)
TWO_VERSIONS = Rule(
    "LS608",
    "Distribution in two versions",
    "The image has a distribution in more than one version: which one is imported depends on the path.",
    "Packages were installed twice, into two environments or on top of each other.",
    "Install once, into one environment.",
)
NOT_FROM_WHEEL = Rule(
    "LS609",
    "Distribution that is not from a locked wheel",
    "The lock has the distribution in this version, and the image's was built from source or is from another wheel: "
    "the lock does not determine its bytes, or the wheel is for another platform.",
    "The lock has no wheel for this Python and platform, an option such as `--no-binary` makes the installer build, or "
    "the environment is copied from a stage of another platform.",
    "Lock a version that has a wheel, and install it on the image's platform; or build a wheel, publish it on an "
    "index of your own, and lock that.",
)
LEFT_CACHE = Rule(
    "LS610",
    "Cache or temporary file",
    "The image has what an installer or a build left: caches, lists of packages, downloads.",
    "A step installs without removing its cache in the same instruction.",
    "Use `RUN --mount=type=cache`, `pip install --no-cache-dir`, or remove the cache in the instruction that fills it.",
)
BUILD_TOOL = Rule(
    "LS611",
    "Build tool",
    "The image has a tool that is needed for the build only: everyone who gets into a container can install with it.",
    "The image is built in one stage, or the stage's whole environment is copied.",
    "Build in a stage of its own, and copy the environment from it.",
)
PROJECT_DATA = Rule(
    "LS612",
    "Repository data, tests or secret",
    "The image has what is not needed to run: git's data, tests, a file of settings or a key.",
    "`COPY . .` without a .dockerignore.",
    "Copy by name what is needed, or list what is not in .dockerignore; replace secrets that were published.",
)
STILL_SHIPS = Rule(
    "LS613",
    "Deleted file that still ships",
    "A later layer deletes files, and everyone who has the image can read them in the layer below.",
    "`RUN rm` or `pip uninstall` in an instruction of its own.",
    "Remove them in the instruction that makes them, or do not make them; replace secrets that were published.",
)
OTHER_BYTECODE = Rule(
    "LS614",
    "Bytecode that its source does not give",
    "A bytecode file is not what the image's interpreter compiles of the source: Python may run other code than can be "
    "read.",
    "The source was changed after it was compiled, or the bytecode was edited.",
    "Compile again in the last step that changes sources, or remove the bytecode.",
)
EDITABLE = Rule(
    "LS615",
    "Editable installation",
    "A distribution is imported from a folder whose contents the lock does not determine.",
    "`pip install --editable`, or a path dependency of the lock.",
    "Install a wheel, or copy the project's own sources that git has.",
)
UNKNOWN_COMMAND = Rule(
    "LS616",
    "Command that nothing accounts for",
    "A folder of commands has a script, program or link that no distribution declares.",
    "A step downloads or writes a program.",
    "Remove the step, or install the program as a locked or a Debian package.",
)
UNKNOWN_CODE = Rule(
    "LS617",
    "Code that nothing accounts for",
    "The image has a file that can be run or imported, and neither the lock, the repository nor the base image has it.",
    "The image was built from changes that are not committed, or a step writes or downloads code.",
    "Commit the sources, name their folder with --source, or remove the step.",
)
UNKNOWN_FILE = Rule(
    "LS618",
    "File that nothing accounts for",
    "With --strict: neither the lock, the repository nor the base image has this file.",
    "A step writes or downloads data.",
    "Commit the file, name its folder with --source, or remove the step.",
)

# 7: files for deployment.
DEPLOY_SCHEMA = Rule(
    "LS701",
    "Object that its schema does not allow",
    "A file of deploy/k8s has a field or a value that Kubernetes' schema of its kind does not have.",
    "A field is misspelled, or at another level.",
    "Correct what the finding names.",
)
DEPLOY_VARIABLE = Rule(
    "LS702",
    "Variable that differs between the files",
    "A file for deployment lacks a variable that another one hands on, sets it otherwise, or sets one that decides "
    "which code runs.",
    "A new field of `Settings`, or a variable that was added to one of the files.",
    "Run `prodlock upgrade`, or add the variable to the file that lacks it.",
)
DEPLOY_SETTING = Rule(
    "LS703",
    "Setting that differs from the Compose file's",
    "A file for deployment runs the service or a command with another port, user, path, limit, grace period, "
    "hardening or proxy than the Compose file does.",
    "One of the files was changed.",
    "Change one of the two, in [tool.prodlock] where it has the setting.",
)
DEPLOY_TAG = Rule(
    "LS704",
    "Image that is not named by its digest",
    "A file for deployment names the image by a tag, which may be another image tomorrow.",
    "The name was written by hand.",
    "Take the name that `inv publish` prints.",
)
DEPLOY_RESTRICTED = Rule(
    "LS705",
    "Pod that the restricted Pod Security Standard forbids",
    "A pod of the service or of a command has, or lacks, a setting, so that a cluster with the restricted standard "
    "refuses it.",
    "A key was removed, or a sidecar without a security context was added.",
    "See https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted.",
)
DEPLOY_REFERENCE = Rule(
    "LS706",
    "Object that refers to nothing",
    "An object of Kubernetes selects no pods, names what no file has, or lets no request in.",
    "A name or a label was changed in one of the files.",
    "Correct the name or the selector.",
)
DEPLOY_TOKEN = Rule(
    "LS707",
    "Token that gives access to the cluster's API",
    "A pod of the service or of a command mounts a token of its account.",
    "Kubernetes mounts it by default.",
    "Set automountServiceAccountToken to false.",
)
DEPLOY_PROGRAM = Rule(
    "LS708",
    "Key or mount by which other code runs",
    "A file for deployment mounts something over code, starts another program, or shares the service's processes.",
    "A mount or a hook for debugging.",
    "Remove the key, or set it in the image.",
)
DEPLOY_LAYER = Rule(
    "LS709",
    "Service that deploy/proxy.yml or deploy/release.yml changes",
    "A file that is added to the Compose file changes more than how often and in which networks the service runs.",
    "A setting was added there instead of in the Compose file.",
    "Set it in the Compose file.",
)
DEPLOY_RELEASE = Rule(
    "LS710",
    "Release that would not run the published image",
    "The release in deploy/release.yml builds a service, does not pull it, or runs another image for a command.",
    "A service was added without the settings of a release.",
    "Restore `<<: *release`.",
)
DEPLOY_COMMAND = Rule(
    "LS711",
    "Command that differs from its declaration",
    "A command of [tool.prodlock] has no counterpart in a file for deployment, or one with other words, image or "
    "hardening.",
    "The command was changed, or its counterpart was.",
    "Run `prodlock upgrade`.",
)
DEPLOY_UNDECLARED = Rule(
    "LS712",
    "Undeclared workload of the production image",
    "A workload runs the production image, and is neither the service nor one of `commands` in [tool.prodlock].",
    "It was added to one of the files by hand.",
    "Declare it in `commands`, or remove it.",
)

RULES = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
