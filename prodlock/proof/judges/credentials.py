"""Recognize secrets in texts, and mask them.

A secret is recognized by its name (`DB_PASS=...`), by its place (`Authorization: Bearer ...`,
`https://user:password@host`), or by its format (`ghp_...`, a private key). All that is recognized is masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from prodlock.image.records import WIDE

MASK = "***"
# How much of a text is searched or printed in one piece.
_LONGEST = 8192
# How much of a file must have no NUL to be text.
_TEXT_HEAD = 1024

# Formats that only credentials have, with the text that all of a format contain, for a quick search.
_FORMATS = (
    ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[opusr]_[A-Za-z0-9]{20,255}"),
    ("a GitHub token", ("github_pat_",), r"github_pat_\w{22,255}"),
    ("a GitLab token", ("glpat-",), r"glpat-[\w.-]{20,255}"),
    (
        "a GitLab machine token",
        ("gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glsoat-", "glft-", "glimt-", "glagent-", "gloas-", "glffct-"),
        r"gl(?:dt|rtr?|cbt|ptt|soat|ft|imt|agent|oas|ffct)-[\w.-]{20,255}",
    ),
    ("a GitLab machine token", ("GR1348941",), r"GR1348941[\w-]{20}"),
    # The last is the example of the documentation.
    ("an AWS access key", ("AKIA", "ASIA"), r"A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])(?<!EXAMPLE)"),
    (
        "a Slack token", ("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
        r"(?:xox[abcdeoprs]|xapp)-[A-Za-z0-9%-]{10,255}",
    ),
    ("a Slack webhook", ("hooks.slack.com/",), r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]{20,255}"),
    ("a Discord webhook", ("/api/webhooks/",), r"/api/webhooks/\d{17,20}/[\w-]{60,100}"),
    ("a Google API key", ("AIza",), r"AIza[\w-]{35}(?![\w-])"),
    ("a Google OAuth secret", ("GOCSPX-", "ya29."), r"(?:GOCSPX-|ya29\.)[\w-]{20,255}"),
    (
        "a Stripe key", ("sk_live_", "rk_live_", "sk_org_live_", "whsec_"),
        r"(?:[rs]k_(?:org_)?live|whsec)_[A-Za-z0-9+/=]{16,255}",
    ),
    ("an npm token", ("npm_",), r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    ("an npm token", (":_auth",), r"(?<=:)_auth(?:Token)?=[^\s$\"']{8,255}"),
    ("a PyPI token", ("pypi-Ag",), r"pypi-Ag[\w-]{50,2000}"),
    ("a Docker Hub token", ("dckr_pat_", "dckr_oat_"), r"dckr_[op]at_[\w-]{20,255}"),
    ("a Hugging Face token", ("hf_",), r"hf_[A-Za-z]{34}(?![A-Za-z0-9])"),
    ("an Anthropic key", ("sk-ant-",), r"sk-ant-[\w-]{20,255}"),
    ("an OpenAI key", ("sk-",), r"sk-(?:proj-|svcacct-|admin-)?[\w-]{0,100}T3BlbkFJ[\w-]{20,255}"),
    ("a SendGrid key", ("SG.",), r"SG\.[\w-]{16,32}\.[\w-]{16,64}"),
    ("a Twilio key", ("SK",), r"SK[0-9a-f]{32}(?![0-9A-Za-z])"),
    ("a DigitalOcean token", ("dop_v1_", "doo_v1_", "dor_v1_"), r"do[opr]_v1_[0-9a-f]{64}"),
    ("a HashiCorp Vault token", ("hvs.", "hvb.", "hvr."), r"hv[bsr]\.[\w-]{24,255}"),
    ("a Databricks token", ("dapi",), r"dapi[0-9a-f]{32}(?![0-9A-Za-z])"),
    ("a Shopify token", ("shpat_", "shpca_", "shppa_", "shpss_"), r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("an age key", ("AGE-SECRET-KEY-",), r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    (
        "an Azure storage key", ("AccountKey=", "SharedAccessKey="),
        r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{40,90}={0,2}",
    ),
    ("a Linear key", ("lin_api_",), r"lin_api_[A-Za-z0-9]{40}"),
    ("a Figma token", ("figd_",), r"figd_[\w-]{40}"),
    ("a New Relic key", ("NRAK-",), r"NRAK-[A-Z0-9]{27}"),
    ("a RubyGems key", ("rubygems_",), r"rubygems_[0-9a-f]{48}"),
    ("a Pulumi token", ("pul-",), r"pul-[0-9a-f]{40}"),
    ("a Sentry token", ("sntrys_", "sntryu_"), r"sntry[su]_[\w+/=]{40,500}"),
    ("a Grafana token", ("glsa_", "glc_"), r"(?:glsa|glc)_[\w+/=]{32,400}"),
    ("an Atlassian token", ("ATATT3xFfG", "ATCTT3xFfG"), r"AT[AC]TT3xFfG[FN]0[\w=-]{20,255}"),
    ("a Tailscale key", ("tskey-",), r"tskey-(?:auth|api|client|scim|webhook)-[\w-]{12,255}"),
    ("a Postman key", ("PMAK-",), r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("a Doppler token", ("dp.",), r"dp\.(?:audit|ct|pt|sa|scim|st)\.[\w.-]{40,80}"),
    ("a Groq key", ("gsk_",), r"gsk_[A-Za-z0-9]{52}"),
    ("a Replicate token", ("r8_",), r"r8_[A-Za-z0-9]{37}"),
    ("a Mailgun key", ("key-",), r"key-[0-9a-f]{32}(?![0-9A-Za-z])"),
    ("a Brevo key", ("xkeysib-",), r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    ("a Square token", ("sq0atp-", "sq0csp-"), r"sq0(?:at|cs)p-[\w-]{22,60}"),
    ("a 1Password token", ("ops_eyJ",), r"ops_eyJ[\w=-]{50,2000}"),
    ("an NVIDIA key", ("nvapi-",), r"nvapi-[\w-]{60,80}"),
    ("a Supabase token", ("sbp_",), r"sbp_[0-9a-f]{40}"),
    ("a PlanetScale token", ("pscale_",), r"pscale_(?:oauth|pw|tkn)_[\w.=-]{32,80}"),
    ("a Buildkite token", ("bkua_",), r"bkua_[0-9a-f]{40}"),
    ("a CircleCI token", ("CCIPAT_", "CCIPRJ_"), r"CCIP(?:AT|RJ)_\w{10,30}_[0-9a-f]{40}"),
    ("an OpenRouter key", ("sk-or-",), r"sk-or-v1-[0-9a-f]{64}"),
    ("an xAI key", ("xai-",), r"xai-[A-Za-z0-9_]{70,90}"),
    ("a Perplexity key", ("pplx-",), r"pplx-[A-Za-z0-9]{48}"),
    ("an Amazon Bedrock key", ("ABSK",), r"ABSK[A-Za-z0-9+/]{100,200}={0,2}"),
    # Behind three characters and a digit.
    ("an Azure client secret", ("Q~",), r"(?<![\w~.-])[\w~.-]{3}\dQ~[\w~.-]{31,34}(?![\w~.-])"),
    ("a Terraform token", (".atlasv1.",), r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}"),
    ("a Heroku key", ("HRKU-",), r"HRKU-AA[\w-]{58}"),
    ("a Netlify token", ("nfp_",), r"nfp_[A-Za-z0-9]{36}"),
    ("a Fly.io token", ("fm1_", "fm2_"), r"fm[12][ar]?_[\w+/=-]{90,2000}"),
    ("a SonarQube token", ("squ_", "sqp_", "sqa_"), r"sq[aup]_[0-9a-f]{40}"),
    ("a Dynatrace token", ("dt0c01.", "dt0s01.", "dt0s02."), r"dt0[cs]0[12]\.[A-Z0-9]{8,24}\.[A-Z0-9]{64}"),
    ("a Mapbox token", ("sk.eyJ",), r"sk\.eyJ[\w-]{20,200}\.[\w-]{20,40}"),
    ("a LangSmith key", ("lsv2_",), r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    ("a Notion token", ("ntn_",), r"ntn_[A-Za-z0-9]{43,50}"),
    ("an Airtable token", ("pat",), r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    ("a Teams webhook", (".webhook.office.com/",), r"\.webhook\.office\.com/webhookb2/[\w@/-]{30,255}"),
    # `-----BEGIN ... PRIVATE KEY` in base64, as in a kubeconfig: its algorithm decides on the letters.
    (
        "a private key in base64", ("LS0tLS1CRUdJTi",),
        r"LS0tLS1CRUdJTiB(?:QUklWQVRF|FQyBQUklWQVRF|SU0EgUFJJVkFUR|EU0EgUFJJVkFUR|QR1AgUFJJVkFUR|FTkNSWVBURUQgUFJJVkFUR"
        r"|PUEVOU1NIIFBSSVZBVE)[A-Za-z0-9+/]*={0,2}",
    ),
    # With the bot's number before it.
    ("a Telegram token", (":AA",), r"\d{8,10}:AA[\w-]{33}(?![\w-])"),
    ("a signed address", ("sig=", "X-Amz-Signature="), r"[?&](?:sig|X-Amz-Signature)=[\w%+/=-]{30,255}"),
    # Header and payload of a JSON Web Token are JSON objects, in base64 (RFC 7519).
    ("a JSON Web Token", (".eyJ",), r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"),
)  # fmt: skip
# A private key as text (RFC 7468, OpenPGP, RFC 4716, PuTTY), also in code: its label and its content.
_KEY = (
    r"----[- ]BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?[- ]----(?:\s|\\n|\\r|[\"'+,]){0,40}"
    r"(?:[\w-]{1,40}: [^\n]{0,200}\s{1,4}){0,8}[A-Za-z0-9+/=]{16}"
    r"(?:(?!-----BEGIN)[^-]|-(?!---))*(?:----[- ]END [A-Z0-9 ]*[- ]----)?"
    r"|PuTTY-User-Key-File-\d: [^\n]{0,200}(?:\n[^\n]{0,200}){0,60}?\nPrivate-Lines: \d+\n[A-Za-z0-9+/=\n]*"
)
_KEY_MARKERS = ("PRIVATE KEY", "PuTTY-User-Key-File-")

# Files that contain one of these are judged: the most common ones, since each takes time.
MARKERS = (
    b"PRIVATE KEY", b"PuTTY-User-Key-File-", b"ghp_", b"gho_", b"ghs_", b"github_pat_", b"glpat-", b"AKIA", b"ASIA",
    b"xox", b"AIza", b"GOCSPX-", b"_live_", b"npm_", b":_auth", b"pypi-Ag", b"dckr_",
    b"hooks.slack.com/", b"sk-ant-", b"T3BlbkFJ", b"SG.", b"hvs.", b".eyJ", b"AGE-SECRET-KEY-", b"AccountKey=",
    b":AA", b"LS0tLS1CRUdJTi",
)  # fmt: skip

# A password, or on its own a token, before the host of an address (RFC 3986, 3.2.1). Letters alone are a user's name.
_IN_URL = re.compile(
    r"(?<=://)(?:[^/\s:@\"']*:[^/\s@\"']+"
    r"|(?<=https://)(?!(?:[A-Za-z.-]{1,20}|oauth2(?:accesstoken)?|__token__)@)[^/\s@\"'$]+)(?=@)"
    # The key of a DSN of Sentry is public: programs of users contain it. An image's tag may stand before its digest.
    r"(?!@(?:o\d+\.ingest\.|sha256:))"
)
_SCHEMES = ("basic", "bearer", "digest", "negotiate", "token", "apikey", "aws4-hmac-sha256")
# What a request proves itself with (RFC 9110, 11.6.2), wherever it is passed to a client.
_IN_HEADER = re.compile(
    r"\bauthorization[\"']?\s{0,5}[:=]\s{0,5}[\"']?"
    r"(?:(?:basic|bearer|digest|negotiate|token|apikey|aws4-hmac-sha256)\s+)?"
    r"(?P<value>[^\s\"'\\]+)"
    r"|\bbearer\s+(?P<bearer>(?=[^\s\"']*\d)[\w.~+/=-]{8,})"
    r"|(?:\bcookie:\s{0,5}|\bcurl\b[^\n;&|]{0,2000}?\s(?:-b|--cookie)[\s=]{1,5}[\"']?)[\w.-]{1,100}=(?P<cookie>[^\s;\"']{8,})",
    re.IGNORECASE,
)
# Options that take a user and a password, or a password, whatever they are called.
_IN_OPTION = re.compile(
    r"\bcurl\b[^\n;&|]{0,2000}?[\s\"'](?:-[A-Za-z]{0,10}[uU]|--user|--proxy-user)(?:[\s=]*|[\"'],?\s{0,5})[\"']?"
    r"(?P<value>[^\s:\"'-][^\s:\"']*:(?!//)[^\s\"']+)"
    r"|(?<![\w./:-])https?\s[^\n;&|]{0,2000}?(?<=\s)(?:-a|--auth)[\s=]+[\"']?(?P<httpie>[^\s:\"']+:[^\s\"']+)"
    r"|\bsshpass\s+-p\s*[\"']?(?P<password>[^\s\"']+)"
    r"|\bdocker\s+login\b[^\n;&|]{0,2000}?[\s\"']-p(?:[\s=]*|[\"'],?\s{0,5})[\"']?(?P<login>[^\s\"']+)"
    r"|\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n;&|]{0,2000}?[\s\"']-p(?P<sql>[^\s\"']+)"
    r"|\b(?:az\s+login|mongo(?:sh|dump|restore|import|export)?|twine\s+upload|useradd|usermod)\b[^\n;&|]{0,2000}?[\s\"']-p[\s=]*[\"']?(?P<upload>[^\s\"']+)"
    r"|\b(?:sqlcmd|bcp|unzip|zip)\b[^\n;&|]{0,2000}?\s-P\s*[\"']?(?P<sqlserver>[^\s\"']+)"
    r"|\bldap(?:add|delete|modify|passwd|search|whoami)\b[^\n;&|]{0,2000}?\s-w\s*[\"']?(?P<ldap>[^\s\"']+)"
    r"|\b(?:smbclient|smbget|rpcclient)\b[^\n;&|]{0,2000}?\s-U[\s=]*[\"']?(?P<smb>[^\s%\"']+%[^\s\"']+)"
    r"|\bsqlplus\s+(?:-\S+\s+){0,5}[\"']?(?P<oracle>[^\s/\"'-][^\s/\"']*/[^\s@\"']+)@"
    r"|\bopenssl\s+enc\b[^\n;&|]{0,2000}?\s-k\s+[\"']?(?P<openssl>[^\s\"']+)"
    r"|\bnpm\s+config\s+set\s+_auth[\s=]+[\"']?(?P<registry>[^\s\"']{8,})"
    r"|\bredis-cli\b[^\n;&|]{0,2000}?\s-a\s*[\"']?(?P<redis>[^\s\"']+)"
    r"|\bhtpasswd\s+-\w*b\w*\s+(?:-\S+\s+){0,5}\S+\s+\S+\s+[\"']?(?P<web>[^\s\"']+)"
    r"|\bpoetry\s+config\s+(?:http-basic\.\S+\s+\S+|pypi-token\.\S+)\s+[\"']?(?P<poetry>[^\s\"']+)"
    r"|\baws\s+configure\s+set\s+\S*secret_access_key\s+[\"']?(?P<aws>[^\s\"']+)"
    r"|:_(?:authToken|auth|password)[\s=]+[\"']?(?P<npm>[^\s\"']{8,})"
    r"|\bmachine(?:\s|\\n)+\S+?(?:\s|\\n)+login(?:\s|\\n)+\S+?(?:\s|\\n)+password\s+(?P<machine>[^\s\"'\\]+)"
    r"|\brabbitmqctl\b[^\n;&|]{0,2000}?\s(?:add_user|change_password)\s+\S+\s+[\"']?(?P<rabbit>[^\s\"']+)"
    r"|\b(?:vault\s+login|snyk\s+auth)\s+(?!-)[\"']?(?P<token>[^\s\"'=]+)(?!\S)"
    # What is written to a program's standard input.
    r"|\b(?:echo|printf)\s+(?:-\w+\s+)?[\"']?(?P<input>[^\s\"'|]+)[\"']?\s*\|\s*(?:sudo\s+)?"
    r"(?:chpasswd|passwd\s+--stdin|docker\s+login\b[^\n;&|]{0,2000}--password-stdin)"
)

# A name, and what stands between it and its value: `NAME=`, `"name": `, `name: `, `--name `, `"--name", `.
_NAMED = re.compile(
    r"(?<![\w.$-])(?<!\$\{)(?P<option>--?)?(?P<name>[A-Za-z_][\w.-]*)"
    r"(?:\\?[\"']?(?P<sign>=|:\s{0,5}|\s{1,5}[=:]\s{1,5})|(?P<space>[\"']?,?\s{1,5}|[\"'],(?=[\"'])))"
)
# A distribution with its version (PEP 508).
_PIN = re.compile(r"[a-z][\w.-]*==\d+(?:\.\w+)*(?![\w=+/-])")
_QUOTED = re.compile(r"(?P<quote>\\?[\"'])(?P<value>.*?)(?<!\\)(?P=quote)", re.DOTALL)
_BARE = re.compile(r"[^\s\"'`]+")
# In these instructions a history has values without their quotation marks: one ends where the next name begins.
_SETTING = re.compile(r"(?:/bin/sh -c #\(nop\)\s+)?(?:ENV|LABEL|ARG)\s")
_ARGUMENTS = re.compile(r"(?:RUN )?\|\d+ (?P<given>.*?) (?=/bin/|[\"']?/\S+sh -c|cmd /S)", re.DOTALL)
_UNQUOTED = re.compile(r".*?(?=\s[\w.-]+=|$)", re.DOTALL)

# Words that make a secret of a name's value wherever they are.
_SECRET = frozenset(
    {
        "AUTHTOKEN", "BEARER", "CREDENTIAL", "CREDENTIALS", "CREDS", "MNEMONIC", "PASS", "PASSCODE", "PASSPHRASE",
        "PASSWD", "PASSWORD", "PASSWORDS", "PASSWRD", "PAT", "PSK", "PSWD", "PW", "PWD", "PWORD", "SECRET", "SECRETS",
        "TOKEN", "TOKENS",
    }
)  # fmt: skip
# The same, as the end of a longer word: PGPASSWORD, accesstoken.
_SECRET_ENDS = (
    "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY", "SECRETKEY", "PRIVATEKEY", "ACCESSKEY",
    "SIGNINGKEY", "ENCRYPTIONKEY", "MASTERKEY", "SSHKEY", "AUTHKEY", "SIGNKEY", "PRIVKEY",
    "DBPASS", "USERPASS", "ROOTPASS", "STOREPASS", "KEYPASS", "CREDENTIALS",
)  # fmt: skip
# Words that do only at the end of a name, and only if the value is not a plain word.
_SECRET_LAST = frozenset({"AUTH", "FERNET", "KEY", "KEYS", "PEPPER", "SALT"})
# Words before KEY that make a secret of any value.
_SECRET_KEY = frozenset(
    {
        "ACCESS", "ACCOUNT", "ADMIN", "AES", "API", "APP", "AUTH", "CLIENT", "COOKIE", "CRYPTO", "DECRYPTION",
        "DEPLOY", "ENCRYPT", "ENCRYPTION", "FERNET", "HMAC", "JWE", "JWK", "JWT", "LICENCE", "LICENSE", "MASTER",
        "PRIVATE", "ROOT", "RSA", "SECRET", "SERVICE", "SESSION", "SHARED", "SIGN", "SIGNATURE", "SIGNING", "SSH",
        "SSL", "STORAGE", "TLS", "WEBHOOK",
    }
)  # fmt: skip
# Words before KEY: such a key is public, or identifies a row of a table.
_PUBLIC_KEY = frozenset(
    {
        "ANSWER", "APT", "AUTHORIZED", "CACHE", "COMPOSITE", "COMPOUND", "FOREIGN", "GPG", "GROUP", "HOST",
        "IDEMPOTENCY", "INDEX", "LOOKUP", "OBJECT", "PARTITION", "PGP", "PRIMARY", "PUB", "PUBLIC", "PUBLISHABLE",
        "RANGE", "RECV", "RELEASE", "ROUTING", "SHARD", "SITE", "SORT", "TRUSTED", "UNIQUE", "VERIFICATION", "VERIFY",
        "VERIFYING",
    }
)  # fmt: skip
# Words at the end of a name: the value describes a secret, names one, or is its location.
_ABOUT = frozenset(
    {
        "AGE", "ALG", "ALGO", "ALGORITHM", "ALGORITHMS", "ALLOWED", "ARN", "AUDIENCE", "BACKEND", "BITS", "BUCKET",
        "BYTES", "CHARS", "CLASS", "COLUMN", "COMPLEXITY", "CONTEXT", "COOKIE", "COUNT", "DAYS", "DIGITS", "DIR",
        "DIRECTORY", "DISABLED", "DURATION", "ENABLED", "ENCODER", "ENDPOINT", "ENGINE", "ENV", "EXP", "EXPIRATION",
        "EXPIRE", "EXPIRES", "EXPIRY", "FIELD", "FILE", "FILENAME", "FILES", "FILTER", "FINGERPRINT", "FOLDER",
        "FORMAT", "GRACE", "GRANT", "HASHER", "HASHERS", "HASHING", "HEADER", "HELPER", "HISTORY", "HOST", "HOUR",
        "HOURS", "HTTPONLY", "ID", "IDS", "INTERVAL", "ISSUER", "ITERATIONS", "KIND", "LEEWAY", "LEN", "LENGTH",
        "LEVEL", "LIFETIME", "LIMIT", "LIMITS", "LOCATION", "MANAGER", "MARGIN", "MAX", "METHOD", "MIN", "MINUTE",
        "MINUTES", "MODE", "MODEL", "MODULE", "MOUNT", "NAME", "NAMES", "NAMESPACE", "OPTIONS", "PARALLELISM", "PARAM",
        "PATH", "PATHS", "POLICY", "PORT", "PREFIX", "PROJECT", "PROVIDER", "RATE", "REF", "REGEX", "REGION",
        "REQUIRED", "RETRIES", "ROTATION", "ROUNDS", "SAMESITE", "SAMPLE", "SCHEME", "SCOPE", "SCOPES", "SECOND",
        "SECONDS", "SERVER", "SIZE", "SKEW", "SOURCE", "STDIN", "STORE", "STRATEGY", "STRENGTH", "SUFFIX", "THRESHOLD",
        "THROUGH", "TIMEOUT", "TRIES", "TTL", "TYPE", "TYPES", "URI", "URL", "USER", "USERNAME", "VALIDATORS",
        "VALIDITY", "VERSION", "WINDOW",
    }
)  # fmt: skip
# Words at the beginning of a name: a switch. `--disabled-password`.
_SWITCHING = frozenset({"ALLOW", "DISABLE", "DISABLED", "NO", "SKIP", "WITHOUT"})
# Values that are not secrets under any name: nothing, a reference, a switch, a placeholder.
_HARMLESS = re.compile(
    r"|[*!]+|\.\*.*|x{3,}|\.{3}|-+|<[^<>]*>|\[[a-z]+\]|\$?\{\{.*\}\}|%\w+%|%s|\{\w+\}|%\(\w+\)s|__\w+__|@@?\w+@@?|\$\(.*|\\+\$.*|`.*"
    # References of a shell, without a default, and what ends a command behind them.
    r"|(?:(?:basic|bearer|token)\s+)?(?:\$+\w+|(?:\$\{\w+(?::?\?[^}]*|:?[-=+]|(?::\d|[#%/^,@])[^}]*)?\})+)[\\,)}\]]*(?:[;&|].*)?"
    r"|os\.(?:environ|getenv)\b.*|process\.env\b.*"
    r"|(?:id|type|src|source|env)=\S*|[01]"
    r"|(?:file://)?/(?:var/)?(?:run/)?secrets(?:/.*)?|(?:vault|arn|ssm|op|awssm|gcpsm|sm):\S*"
    r"|(?:dummy|fake|not|placeholder|unused|your)(?:[-_ ][a-z]+)*"
    # Keys of clients, which are public.
    r"|pk_(?:live|test)_\w+|pk\.eyJ\S*"
    r"|(?:true|false|yes|no|on|off|none|null|undefined|nil|n/a|unset|redacted)[,;)\]}]*",
    re.IGNORECASE | re.DOTALL,
)
# Values that describe something: a number, a location, a plain word, a fingerprint of OpenPGP.
_PLAIN = re.compile(
    r"-?\d{1,6}(?:\.\d+)?[a-z]{0,2}|[a-z]{1,12}|\.{0,2}/\S*|https?://\S*|alias/\S*|(?-i:[0-9A-F]{40})", re.IGNORECASE
)
_PLACE = re.compile(r"\.{0,2}/\S*|https?://\S*")
# Values that are not secrets under names with these last words.
_HARMLESS_FOR = {
    frozenset({"PASS", "PAT", "TOKEN", "TOKENS"}): re.compile(r"-?\d{1,6}"),
    frozenset({"CREDENTIAL", "CREDENTIALS", "CREDS", "PWD"}): _PLACE,
}

# Files that contain credentials and little else, by the end of their path.
FILES = re.compile(
    r"/(?:\.aws/credentials|\.azure/[^/]*(?:token|profile)[^/]*|\.docker/config\.json|\.dockercfg|\.git-credentials"
    r"|\.htpasswd|\.kube/config|\.my\.cnf|\.netrc|\.pgpass|\.pypirc|\.ssh/id_[^/.]+|id_(?:rsa|dsa|ecdsa|ed25519)"
    r"|application_default_credentials\.json|apt/auth\.conf(?:\.d/[^/]+)?|pypoetry/auth\.toml|\.config/gh/hosts\.yml"
    r"|containers/auth\.json|\.cargo/credentials(?:\.toml)?|gcloud/(?:credentials|access_tokens)\.db|\.vault-token|\.s3cfg"
    r"|\.boto|rclone\.conf|\.terraform\.d/credentials\.tfrc\.json|huggingface/token|\.gem/credentials|\.databrickscfg"
    r"|[^/]+\.(?:p12|pfx|jks|ppk|kdbx))$"
)
# What ends the name of a file that shows which variables there are.
EXAMPLE = r"(?:dist|example|sample|template)"
# Settings of installers and clients, in which an address may have a login, lists of variables, and typed commands.
SETTINGS = re.compile(
    r"/(?:pip\.conf|uv\.toml|poetry\.toml|pypoetry/[^/]+\.toml|pdm\.toml|\.condarc|sources\.list(?:\.d/[^/]+)?|netrc"
    r"|\.?npmrc|\.yarnrc(?:\.yml)?|\.?gitconfig|\.git/config|git/config|\.?wgetrc|\.curlrc|apt\.conf(?:\.d/[^/]+)?|secrets\.toml"
    r"|etc/(?:environment|default/[^/]+|profile(?:\.d/[^/]+)?)|\.profile|\.(?:ba|z)sh(?:rc|env)|\.(?:bash_|z)profile"
    rf"|\.(?:ba|z)?sh_history|\.envrc|[^/]+\.env|\.(?:flask)?env(?:[-_.~](?!{EXAMPLE}$)[^/]*)?)$"
)


class _Span(NamedTuple):
    """A secret in a text, by its place, and its name or its format."""

    start: int
    end: int
    what: str


_PATTERNS = (
    ("a private key", _KEY_MARKERS, _KEY),
    *(
        (what, marks, rf"(?<![A-Za-z0-9_]){pattern}" if pattern[0].isalnum() else pattern)
        for what, marks, pattern in _FORMATS
    ),
)


def is_named(name: str, value: str | None) -> bool:
    """Return whether a value is a secret because of its name. None is an unknown value."""
    words = _words(name)
    if not words or words[-1] in _ABOUT or words[0] in _SWITCHING:
        return False
    given = value.strip().strip("\"'") if value is not None else None
    if given is not None and _HARMLESS.fullmatch(given):
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    harmless: re.Pattern[str] | None
    if last in {"KEY", "KEYS"}:
        harmless = _PLACE if before in _SECRET_KEY or before in _SECRET else _PLAIN
        secret = before not in _PUBLIC_KEY
    elif any(word in _SECRET or word.endswith(_SECRET_ENDS) for word in words):
        harmless = next((form for known, form in _HARMLESS_FOR.items() if last in known), None)
        # PWD alone is the working directory; Pwd is in connection strings.
        secret = name != "PWD"
    else:
        harmless, secret = _PLAIN, last in _SECRET_LAST
    # An unknown value counts as a plain word where the name may have one.
    plain = harmless is _PLAIN if given is None else bool(harmless and harmless.fullmatch(given))
    return secret and not plain


def found(text: str) -> list[str]:
    """Return the names or formats of the secrets in a text, each once."""
    # In pieces that overlap: some patterns take the square of the time that the length takes.
    pieces = (text[at : at + _LONGEST] for at in range(0, max(1, len(text)), _LONGEST // 2))
    return list(dict.fromkeys(span.what for piece in pieces for span in sorted(_spans(piece))))


def masked(text: str) -> str:
    """Return a text with its secrets masked; the beginning of a very long one."""
    shown, at = [], 0
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    for span in sorted(_spans(text)):
        if span.end > at:
            shown += [text[at : max(at, span.start)], MASK if span.start >= at else ""]
            at = span.end
    return "".join([*shown, text[at:]])


def shown(name: str, value: str) -> str:
    """Return a setting in a form that may be printed: without a secret value."""
    return f"{name}={MASK}" if is_named(name, value) else f"{name}={masked(value)}"


def formatted(content: bytes) -> list[str]:
    """Return the kinds of credentials in a file, by their formats alone: code is full of names of variables."""
    searched = _narrow(content)
    if b"\0" in searched[:_TEXT_HEAD] or not may_have(searched):
        return []
    kinds = (span.what for span in _in_format(searched.decode("latin-1")))
    return [kind for kind in dict.fromkeys(kinds) if kind != "a signed address"]


def may_have(content: bytes) -> bool:
    """Return whether a file may have credentials of one of the most common formats."""
    searched = _narrow(content)
    return any(marker in searched for marker in MARKERS)


def _narrow(content: bytes) -> bytes:
    return decoded(content).encode() if content.startswith(WIDE) else content


def decoded(content: bytes) -> str:
    """Return the text of a file, or an empty one where it is not a text."""
    text = content.decode("utf-16" if content.startswith(WIDE) else "utf-8", errors="replace")
    return "" if "\0" in text[:_TEXT_HEAD] else text


def _words(name: str) -> list[str]:
    """Return the words of a name, in capitals and without numbers at their end: `dbPassword1` is DB and PASSWORD."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    joined = re.split(r"[^A-Za-z0-9]+", name.upper())
    words = [part.upper() for part in parts] if name.upper() != name else [word.rstrip("0123456789") for word in joined]
    return [word for word in words if word and not word.isdecimal()]


def _spans(text: str) -> Iterator[_Span]:
    yield from _in_format(text)
    for match in _IN_URL.finditer(text):
        if not _HARMLESS.fullmatch(match[0].rpartition(":")[2]):
            yield _Span(*match.span(), "a secret in an address")
    for pattern, what in ((_IN_HEADER, "a secret in a header"), (_IN_OPTION, "a secret in an option")):
        for match in pattern.finditer(text):
            group = match.lastgroup or ""
            given = match[group].rpartition(":")[2]
            if not (_HARMLESS.fullmatch(given) or given.lower() in _SCHEMES):
                yield _Span(*match.span(group), what)
    yield from _in_assignments(text)


def _in_format(text: str) -> Iterator[_Span]:
    for what, marks, pattern in _PATTERNS:
        if any(mark in text for mark in marks):
            # Compiled when needed: a clean image needs none.
            yield from (_Span(*match.span(), what) for match in re.finditer(pattern, text))


def _in_assignments(text: str) -> Iterator[_Span]:
    arguments = _ARGUMENTS.match(text)
    unquoted = len(text) if _SETTING.match(text) else arguments.end("given") if arguments else 0
    for match in _NAMED.finditer(text):
        start, sign = match.end(), (match["sign"] or "").strip()
        if not (sign or match["option"]):
            continue
        quoted = None
        if match.start() < unquoted and sign == "=":
            value = _UNQUOTED.match(text, start, unquoted)
        else:
            quoted = _QUOTED.match(text, start)
            value = quoted or _BARE.match(text, start)
        if not value or _PIN.match(text, match.start()):
            continue
        span = quoted.span("value") if quoted else value.span()
        given = text[slice(*span)]
        # In the settings of a connection, such as those of ODBC, and not the working directory.
        name = "Pwd" if match["name"] == "PWD" and text[: match.start()].endswith(";") else match["name"]
        # A colon and one plain word may be a sentence; behind an option another one may follow.
        prose = sign == ":" and not quoted and re.fullmatch(r"[A-Za-z]{1,12}[.,]?", given)
        if given and not prose and not (match["space"] and given.startswith("-")) and is_named(name, given):
            yield _Span(*span, match["name"])
