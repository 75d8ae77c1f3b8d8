"""What is a secret, and what is printed of it."""

from __future__ import annotations

import base64

import pytest

from prodlock.proof.judges import credentials

# In two parts: no scanner of this repository's own shall take it for one.
# The kinds of private keys.
KINDS = ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ")
KEY = "-----BEGIN {0}PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEA0123456789\nabc=\n-----END {0}PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASS", "PASS_DB", "DB_PASSWORD", "PGPASSWORD", "PASSWORD_1", "PASSWORD2", "MYSQL_PWD", "ROOT_PASSWD",
        "dbPassword", "KEY_PASSPHRASE", "GITHUB_PAT", "GH_TOKEN", "accesstoken", "NPM_TOKEN_PROD", "CLIENT_SECRET",
        "SECRET_KEY_BASE", "API_KEY", "APIKEY", "apiKey", "com.example.api-key", "SIGNING_KEY", "ENCRYPTION_KEY",
        "PRIVATE_KEY", "AWS_SECRET_ACCESS_KEY", "JWT_KEY", "FERNET_KEY", "SSH_KEY", "DB_CREDENTIALS", "DB_CREDS",
        "SMTP_PASSCODE", "BEARER", "WALLET_MNEMONIC", "SECRET",
    ],
)  # fmt: skip
def test_a_value_is_a_secret_by_its_name(name: str) -> None:
    """By its words, at any place; with the value unknown as well."""
    assert credentials.is_named(name, "abc")
    assert credentials.is_named(name, None)
    assert credentials.shown(name, "abc") == f"{name}=***"


@pytest.mark.parametrize(
    "name",
    [
        "COMPASS", "BYPASS", "PASSENGER", "PASS_THROUGH", "PATH", "PATTERN", "TOKENIZERS_PARALLELISM", "SECRETARY",
        "MONKEY", "GPG_KEY", "PUBLIC_KEY", "AUTHORIZED_KEYS", "KEYRING", "PARTITION_KEY", "AWS_ACCESS_KEY_ID",
        "DB_PASSWORD_FILE", "ACCESS_TOKEN_EXPIRE_MINUTES", "TOKEN_URL", "SECRET_NAME", "SECRET_ARN", "AUTH_MODE",
        "PASSWORD_MIN_LENGTH", "CSRF_TOKEN_HEADER", "SSH_ASKPASS", "PWD", "OLDPWD", "USER", "AUTHOR", "AUTHORITY",
        "KEYBOARD", "TURKEY", "SECRET_MANAGER_PROJECT",
        "TOKENS_PER_MINUTE", "DISABLE_PASSWORD", "", "1", "-", "PASSWORD_MAX_AGE", "PASSWORD_ITERATIONS",
        "PASSWORD_HASHING", "PASSWORD_ENCODER", "TOKEN_BUCKET_RATE", "TOKEN_CLOCK_SKEW", "CSRF_TOKEN_SAMESITE",
        "CSRF_TOKEN_COOKIE", "TOKEN_STRATEGY", "PASS_THRESHOLD", "LOW_PASS_FILTER", "API_KEY_ENV",
    ],
)  # fmt: skip
def test_a_similar_name_does_not_make_a_secret(name: str) -> None:
    """Longer words, public keys, descriptions and locations of secrets."""
    assert not credentials.is_named(name, "abcDEF123456")
    assert credentials.shown(name, "abcDEF123456") == f"{name}=abcDEF123456"


@pytest.mark.parametrize(
    "value",
    [
        "", "$TOKEN", "${TOKEN}", "${TOKEN:?unset}", "${TOKEN:-}", "$(cat /run/secrets/x)", "/run/secrets/db", "true",
        "no", "None", "***", "xxxx", "<your token>", "{{ token }}", "vault:secret/db", "arn:aws:x", "0", "REDACTED",
        '""', "dummy", "placeholder", "$TOKEN;", "${TOKEN})", "$TOKEN&&", "$$TOKEN", "${A}${B}", "${TOKEN:0:8}",
        "${TOKEN%%:*}", "Bearer ${TOKEN}", "${{ secrets.TOKEN }}", "__TOKEN__", "@TOKEN@", "[MASK]", "null,", "n/a",
        "unset", "not-set", "your-token-here", "dummy-key-for-build", "os.environ[", "os.getenv(", "process.env.TOKEN",
    ],
)  # fmt: skip
def test_a_placeholder_is_not_a_secret(value: str) -> None:
    """Nothing, a reference, a switch, a blank to fill in."""
    assert not credentials.is_named("DB_PASSWORD", value)
    assert credentials.found(f'export DB_PASSWORD="{value}"; make') == []


@pytest.mark.parametrize(
    "value",
    [
        "${TOKEN:-hunter2}",
        "0815",
        "changeme",
        "/a+b/c",
        "${A}hunter2",
        "nothing2",
        "your2cents",
        "[a1]",
        "not_hunter2",
        "$apr1$H6uskkkW$IgXLP6",
    ],
)
def test_other_values_are_secrets(value: str) -> None:
    """A default behind a reference, a number, a password that everyone uses."""
    assert credentials.is_named("DB_PASSWORD", value)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("FOO_KEY", "name", False),
        ("FOO_KEY", "8f2aB0cc9d3e", True),
        ("TLS_KEY", "/etc/tls/key.pem", False),
        ("SORT_KEY", "8f2aB0cc9d3e", False),
        ("MAX_TOKENS", "4096", False),
        ("MAX_TOKEN", "4096", False),
        ("MULTI_PASS", "2", False),
        ("DB_PWD", "/srv", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json", False),
        ("BASIC_AUTH", "user:pass1", True),
        ("BASIC_AUTH", "ldap", False),
        ("PASSWORD_SALT", "ab", True),
        ("HASH_SALT", "8f2aB0cc9d3e", True),
        ("key", "B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8", False),
        ("key", "b97b0afcaa1a47f044f244a07fcc7d46accc4cf8", True),
        ("KMS_KEY", "alias/app1", False),
        ("MAPBOX_TOKEN", "pk.eyJ1", False),
        ("STRIPE_KEY", "pk_live_8f2aB0cc9d3e", False),
    ],
)
def test_some_names_need_a_value_that_looks_like_a_secret(name: str, value: str, secret: bool) -> None:  # noqa: FBT001
    """Their words have other meanings as well."""
    assert credentials.is_named(name, value) is secret


def test_an_ambiguous_name_without_a_value_is_not_a_secret() -> None:
    """A build argument may be declared without one."""
    assert not credentials.is_named("CACHE_BUST_KEY", None)
    assert not credentials.is_named("AUTH", None)


TOKENS = {
    "a GitHub token": ["ghp_" + "a1" * 18, "gho_" + "a1" * 18, "ghs_" + "a1" * 18, "github_pat_" + "a1" * 41],
    "a GitLab token": ["glpat-" + "a1" * 10],
    "a GitLab machine token": [
        "glrt-t1_" + "a1" * 10,
        "glrtr-" + "a1" * 10,
        "glsoat-" + "a1" * 10,
        "glft-" + "a1" * 10,
        "glimt-" + "a1" * 12,
        "glagent-" + "a1" * 25,
        "gloas-" + "a1" * 32,
        "glffct-" + "a1" * 10,
        "GR1348941" + "a1" * 10,
    ],
    "an AWS access key": ["AKIA" + "A2" * 8, "ASIA" + "B3" * 8],
    "a Slack token": [
        "xoxb-123456789012-" + "abcdef",
        "xoxp-123456789012-" + "abcdef",
        "xoxc-123456789012-" + "abcdef",
        "xoxd-" + "a1" * 20,
    ],
    "a Slack webhook": ["hooks.slack.com/services/T00000000/B00000000/" + "X" * 24],
    "a Google API key": ["AIza" + "a" * 35],
    "a Stripe key": ["sk_live_" + "a1" * 12, "rk_live_" + "a1" * 12, "sk_org_live_" + "a1" * 12],
    "an npm token": ["npm_" + "a1" * 18, "//registry.example/:_authToken=abcdef123456"],
    "a PyPI token": ["pypi-AgEIcHlwaS5vcmc" + "a" * 60],
    "a Docker Hub token": ["dckr_pat_" + "a" * 27, "dckr_oat_" + "a" * 32],
    "a Telegram token": ["bot123456789:AA" + "a1_" * 11],
    "a SendGrid key": ["SG." + "a" * 22 + "." + "b" * 43],
    "a HashiCorp Vault token": ["hvs." + "a" * 24],
    "an Anthropic key": ["sk-ant-" + "a" * 30],
    "an OpenAI key": ["sk-" + "a" * 20 + "T3BlbkFJ" + "b" * 20],
    "an Azure storage key": ["AccountKey=" + "a" * 86 + "=="],
    "a JSON Web Token": ["eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0x.c2lnbmF0dXJl"],
    "a Linear key": ["lin_api_" + "a1" * 20],
    "a Figma token": ["figd_" + "a1" * 20],
    "a New Relic key": ["NRAK-" + "A1" * 13 + "B"],
    "a RubyGems key": ["rubygems_" + "a1" * 24],
    "a Pulumi token": ["pul-" + "a1" * 20],
    "a Sentry token": ["sntrys_eyJ" + "a1" * 20],
    "a Grafana token": ["glsa_" + "a1" * 16 + "_0123abcd"],
    "an Atlassian token": ["ATATT3xFfGF0" + "a1" * 20, "ATCTT3xFfGN0" + "a1" * 20],
    "a Tailscale key": ["tskey-auth-" + "a1" * 10],
    "a Postman key": ["PMAK-" + "a1" * 12 + "-" + "a1" * 17],
    "a Doppler token": ["dp.pt." + "a1" * 20],
    "a Groq key": ["gsk_" + "a1" * 26],
    "a Replicate token": ["r8_" + "a1" * 18 + "b"],
    "a Mailgun key": ["key-" + "a1" * 16],
    "a Brevo key": ["xkeysib-" + "a1" * 32 + "-" + "a1" * 8],
    "a Square token": ["sq0atp-" + "a1" * 11],
    "a 1Password token": ["ops_eyJ" + "a1" * 30],
    "an NVIDIA key": ["nvapi-" + "a1" * 32],
    "a Supabase token": ["sbp_" + "a1" * 20],
    "a PlanetScale token": ["pscale_tkn_" + "a1" * 20],
    "a Buildkite token": ["bkua_" + "a1" * 20],
    "a CircleCI token": ["CCIPAT_" + "a1" * 8 + "_" + "a1" * 20],
    "an OpenRouter key": ["sk-or-v1-" + "a1" * 32],
    "an xAI key": ["xai-" + "a1" * 40],
    "a Perplexity key": ["pplx-" + "a1" * 24],
    "an Amazon Bedrock key": ["ABSK" + "a1" * 60],
    "an Azure client secret": ["abc8Q~" + "a1" * 17],
    "a Terraform token": ["a1" * 7 + ".atlasv1." + "a1" * 34],
    "a Heroku key": ["HRKU-AA" + "a1" * 29],
    "a Netlify token": ["nfp_" + "a1" * 18],
    "a Fly.io token": ["fm2_" + "a1" * 50],
    "a SonarQube token": ["squ_" + "a1" * 20],
    "a Dynatrace token": ["dt0c01." + "A1" * 12 + "." + "A1" * 32],
    "a Mapbox token": ["sk.eyJ" + "a1" * 20 + "." + "a1" * 11],
    "a LangSmith key": ["lsv2_pt_" + "a1" * 16 + "_" + "a1" * 5],
    "a Notion token": ["ntn_" + "a1" * 23],
    "an Airtable token": ["pat" + "a1" * 7 + "." + "a1" * 32],
    "a Teams webhook": ["x.webhook.office.com/webhookb2/" + "a1" * 16],
    "a private key in base64": [base64.b64encode(KEY.format(kind).encode()).decode() for kind in KINDS],
    "a private key": [
        *(KEY.format(kind) for kind in KINDS),
        # As a text in code, and in the form of RFC 4716.
        KEY.format("").replace("\n", '\\n"\n    "'),
        KEY.format("SSH2 ENCRYPTED ").replace("-----\n", ' ----\nComment: "x"\n').replace("-----", "---- "),
    ],
}
# Of these kinds only instructions are searched: the search of files is limited to the most common ones.
RARE = {
    kind for kind, (token, *_) in TOKENS.items() if not any(marker.decode() in token for marker in credentials.MARKERS)
}


@pytest.mark.parametrize(("kind", "token"), [(kind, token) for kind, tokens in TOKENS.items() for token in tokens])
def test_a_secret_is_recognized_by_its_format(kind: str, token: str) -> None:
    """In a command, in the content of a file, and never in print."""
    text = f"RUN echo first {token} last"
    assert kind in credentials.found(text)
    assert kind in RARE or kind in credentials.formatted(f"first\n{token}\nlast".encode())
    said = credentials.masked(text)
    assert token.rpartition("=a")[2] not in said
    assert "first" in said
    assert "***" in said


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_secret_is_found_in_each_encoding_of_text(encoding: str) -> None:
    """A shell of Windows writes UTF-16, with a mark of the byte order."""
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    content = mark + f"TOKEN=ghp_{'a1' * 18}\n".encode(encoding)
    assert credentials.formatted(content) == ["a GitHub token"]
    assert credentials.found(credentials.decoded(content)) == ["TOKEN", "a GitHub token"]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"\xff\xfea", b"\xfe\xff\xd8\x00", b"\x7fELF\0ghp_" + b"a1" * 18]
)
def test_a_program_has_no_secrets(content: bytes) -> None:
    """Bytes that are not text, also behind a mark of the byte order."""
    assert credentials.formatted(content) == []


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_short",
        KEY.format("").replace("PRIVATE", "PUBLIC"),
        KEY.format("").replace("PRIVATE KEY", "CERTIFICATE"),
        base64.b64encode(KEY.format("").replace("PRIVATE KEY", "CERTIFICATE").encode()).decode(),
        base64.b64encode(KEY.format("").replace("PRIVATE", "PUBLIC").encode()).decode(),
        "begins with -----BEGIN PRIVATE KEY----- and ends",
        "eyJhbGciOiJIUzI1NiJ9",
        "sha256:" + "a1" * 32,
        "password = os.environ['DB_PASSWORD']",
        "https://user:pass@host/",
    ],
)
def test_similar_texts_in_a_file_are_not_secrets(text: str) -> None:
    """Examples, public keys, labels in code; names and addresses are common in code, and no evidence there."""
    assert credentials.formatted(text.encode()) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('RUN curl -H "Authorization: Bearer abc" https://x', 'RUN curl -H "Authorization: Bearer ***" https://x'),
        ("curl -H 'authorization: token abc' x", "curl -H 'authorization: token ***' x"),
        ("curl -H 'Authorization: Basic dTpw' x", "curl -H 'Authorization: Basic ***' x"),
        ("curl -H 'X-Api-Key: abc123' x", "curl -H 'X-Api-Key: ***' x"),
        ("curl -H 'PRIVATE-TOKEN: abc123' x", "curl -H 'PRIVATE-TOKEN: ***' x"),
        ("curl -u me:hunter2 https://x", "curl -u *** https://x"),
        ("wget --password hunter2 x", "wget --password *** x"),
        ("wget --http-password=hunter2 x", "wget --http-password=*** x"),
        ("docker login -u me -p hunter2", "docker login -u me -p ***"),
        ("mysql -uroot -phunter2 db", "mysql -uroot -p*** db"),
        ("sshpass -p hunter2 ssh x", "sshpass -p *** ssh x"),
        ("openssl rsa -passin pass:hunter2", "openssl rsa -passin pass:***"),
        ("CMD ['serve', '--password', 'hunter2']", "CMD ['serve', '--password', '***']"),
        ('CMD ["serve","--password","hunter2"]', 'CMD ["serve","--password","***"]'),
        (
            'HEALTHCHECK &{["CMD" "serve" "--password" "hunter2"] "0s"}',
            'HEALTHCHECK &{["CMD" "serve" "--password" "***"] "0s"}',
        ),
        ("{'Test': ['CMD', 'curl', '-u', 'me:hunter2']}", "{'Test': ['CMD', 'curl', '-u', '***']}"),
        ('CMD ["curl","-H","Authorization: Bearer abc"]', 'CMD ["curl","-H","Authorization: Bearer ***"]'),
        ("java -Dkey.storePassword=hunter2 x", "java -Dkey.storePassword=*** x"),
        ("export A=1 DB_PASS=hunter2; make", "export A=1 DB_PASS=*** make"),
        ("export DB_PASS='hun ter'; make", "export DB_PASS='***'; make"),
        ('{"password": "hun ter", "a": 1}', '{"password": "***", "a": 1}'),
        ("password: hunter2", "password: ***"),
        ("host=x password=hunter2 user=y", "host=x password=*** user=y"),
        ("ENV A=b DB_PASS=hun ter C=d", "ENV A=b DB_PASS=*** C=d"),
        ("LABEL token=hun ter", "LABEL token=***"),
        ("RUN |2 A=x y DB_PASS=hun ter /bin/sh -c make", "RUN |2 A=x y DB_PASS=*** /bin/sh -c make"),
        ("/bin/sh -c #(nop)  ENV DB_PASS=hun ter", "/bin/sh -c #(nop)  ENV DB_PASS=***"),
        ("pip install -i https://u:hunter2@index.example/simple", "pip install -i https://***@index.example/simple"),
        ("https://hunter2@git.example/x", "https://***@git.example/x"),
        ("redis://:hunter2@redis:6379", "redis://***@redis:6379"),
        ("https://${U}:hunter2@x", "https://***@x"),
        ("twine upload -u __token__ -p hunter2 dist/*", "twine upload -u __token__ -p *** dist/*"),
        ("useradd -m -p '$6$ab$c' x", "useradd -m -p '***' x"),
        ("redis-cli -h r -a hunter2 ping", "redis-cli -h r -a *** ping"),
        ("htpasswd -bc /etc/users me hunter2", "htpasswd -bc /etc/users me ***"),
        ("poetry config http-basic.x me hunter2", "poetry config http-basic.x me ***"),
        ("poetry config pypi-token.pypi hunter2", "poetry config pypi-token.pypi ***"),
        ("aws configure set aws_secret_access_key a/b+c", "aws configure set aws_secret_access_key ***"),
        ("npm config set //npm.example/:_authToken 0f9e8d7c", "npm config set //npm.example/:_authToken ***"),
        ("echo 'machine x login y password z' > ~/.netrc", "echo 'machine x login y password ***' > ~/.netrc"),
        ("echo 'root:hunter2' | chpasswd", "echo '***' | chpasswd"),
        ("echo hunter2 | docker login -u me --password-stdin", "echo *** | docker login -u me --password-stdin"),
        ("ADMIN_PW=hunter2 make", "ADMIN_PW=*** make"),
        ("curl -sSfu me:hunter2 https://x", "curl -sSfu *** https://x"),
        ("curl -ume:hunter2 https://x", "curl -u*** https://x"),
        ("curl -b 'sid=0f9e8d7c6b5a' https://x", "curl -b 'sid=***' https://x"),
        ("curl -H 'Cookie: sid=0f9e8d7c6b5a' x", "curl -H 'Cookie: sid=***' x"),
        ("http -a me:hunter2 https://x", "http -a *** https://x"),
        ("az login --service-principal -u me -p hunter2", "az login --service-principal -u me -p ***"),
        ("sqlcmd -S db -U sa -P 'hunter2!'", "sqlcmd -S db -U sa -P '***'"),
        ("ldapsearch -x -D cn=me -w hunter2 -b dc=x", "ldapsearch -x -D cn=me -w *** -b dc=x"),
        ("smbclient //host/share -U me%hunter2", "smbclient //host/share -U ***"),
        ("sqlplus -S me/hunter2@db", "sqlplus -S ***@db"),
        ("openssl enc -aes-256-cbc -k hunter2 -in x", "openssl enc -aes-256-cbc -k *** -in x"),
        ("unzip -P hunter2 x.zip", "unzip -P *** x.zip"),
        ("npm config set _auth dTpodW50ZXIy", "npm config set _auth ***"),
        ("ENV FERNET=0f9e8d7c6b5a4", "ENV FERNET=***"),
        ("ENV CONN=Host=x;Username=a;Pwd=hunter2", "ENV CONN=Host=x;Username=a;Pwd=***"),
        ("ENV CONN=Driver={x};UID=sa;PWD=hunter2;", "ENV CONN=Driver={x};UID=sa;PWD=***"),
        ("mongodump -u me -p hunter2 --archive", "mongodump -u me -p *** --archive"),
        ("rabbitmqctl add_user me hunter2", "rabbitmqctl add_user me ***"),
        ("keytool -storepass hunter2 -list", "keytool -storepass *** -list"),
        ("vault login hunter2", "vault login ***"),
        ("export TOKEN=$T;DB_PASS=hunter2", "export TOKEN=$T;DB_PASS=***"),
        (r"printf 'machine x\nlogin me\npassword hunter2\n'", r"printf 'machine x\nlogin me\npassword ***\n'"),
    ],
)
def test_a_secret_is_found_and_masked_where_it_stands(text: str, shown: str) -> None:
    """Headers, options, assignments, addresses; and what is masked is masked once."""
    assert len(credentials.found(text)) == 1
    assert credentials.masked(text) == shown
    assert credentials.masked(shown) == shown
    assert credentials.found(shown) == []


@pytest.mark.parametrize(
    "text",
    [
        'gpg --batch --keyserver hkps://keys.openpgp.org --recv-keys "$GPG_KEY"',
        "RUN --mount=type=secret,id=token,target=/run/secrets/token cat /run/secrets/token",
        'curl -H "Authorization: Bearer $TOKEN" -u $USER:$PASS https://$TOKEN@x https://u:$P@y',
        "PASSWORD= make",
        "ENV TOKEN= A=b",
        "docker login --password-stdin x",
        'test "$TOKEN" = abc',
        "a bearer of arms",
        "Token: a library",
        "git clone ssh://git@github.com/x/y git@github.com:x/y",
        "mysql -p -u root",
        "PATH=/opt/venv/bin:/usr/bin",
        "http://proxy.example:3128 mailto:a@b.example",
        "pip install git+https://git@github.com/x/y",
        "pip install --index-url https://oauth2accesstoken@python.example/simple",
        "adduser --disabled-password app",
        "sed -i s/secret=.*// settings",
        "cat /run/secrets/x | docker login -u me --password-stdin",
        'echo "$PASS" | docker login -u me --password-stdin',
        "htpasswd -c users me",
        "redis-cli -h r ping",
        "",
        "RUN pip install google-auth==2.40.3 'azure-keyvault-secrets==4.9'",
        "ENV LOG_FORMAT=%(asctime)s token=%(token)s",
        f"LABEL org.opencontainers.image.base.name=docker://python:3.13@sha256:{'a1' * 32}",
        "ENV DATABASE=postgres://{user}:{password}@db OTHER=postgres://%s:%s@db",
        "export TOKEN=$T; make",
        "cd /srv;PWD=/srv make;PWD=$(pwd) make",
        'curl -u $U:$P; redis-cli -a $P; curl -H "Authorization: Bearer $T"; (PASS=$P) && make',
        """python -c "import os; load(token=os.environ['TOKEN'], password=None, secret=os.getenv('X'))\"""",
        "ENV SENTRY_DSN=https://0123456789abcdef@o447951.ingest.us.sentry.io/4506",
        "gpg --batch --recv-keys B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8",
        "vault login -method=oidc",
        "useradd --password '!' app",
    ],
)
def test_an_ordinary_text_is_not_changed(text: str) -> None:
    """References, mounts of build secrets, prose."""
    assert credentials.found(text) == []
    assert credentials.masked(text) == text


def test_a_long_text_is_searched_to_its_end_and_printed_in_part() -> None:
    """What follows the printed part is not printed at all."""
    text = "a " * 50_000 + "DB_PASS=hunter2"
    assert credentials.found(text) == ["DB_PASS"]
    assert credentials.masked(text).endswith("...")


@pytest.mark.parametrize(
    "path",
    [
        "/root/.netrc", "/root/.aws/credentials", "/home/x/.ssh/id_ed25519", "/srv/app/id_rsa", "/root/.pypirc",
        "/root/.docker/config.json", "/root/.git-credentials", "/root/.pgpass", "/root/.kube/config",
        "/root/.config/gh/hosts.yml", "/root/.config/containers/auth.json", "/root/.cargo/credentials.toml",
        "/root/.config/gcloud/credentials.db", "/root/.config/gcloud/access_tokens.db", "/root/.vault-token",
        "/root/.s3cfg", "/root/.boto", "/root/.config/rclone/rclone.conf", "/root/.terraform.d/credentials.tfrc.json",
        "/root/.cache/huggingface/token", "/root/.gem/credentials", "/root/.databrickscfg",
    ],
)  # fmt: skip
def test_a_file_of_credentials_is_recognized_by_its_name(path: str) -> None:
    """Wherever it lies; its example does not."""
    assert not credentials.FILES.search(f"{path}.example")
    assert credentials.FILES.search(path)


@pytest.mark.parametrize(
    "path",
    [
        "/root/.config/pip/pip.conf", "/root/.npmrc", "/srv/app/.yarnrc.yml", "/usr/local/etc/npmrc",
        "/srv/app/.streamlit/secrets.toml",
        "/root/.config/uv/uv.toml", "/srv/prod.env", "/srv/app/.git/config",
        "/root/.gitconfig", "/etc/gitconfig", "/root/.wgetrc", "/root/.curlrc",
        "/root/.bash_history", "/root/.condarc", "/etc/apt/apt.conf.d/01proxy",
    ],
)  # fmt: skip
def test_settings_in_which_an_installer_or_a_client_has_its_login_are_recognized(path: str) -> None:
    """Their names do not show whether there is one."""
    assert credentials.SETTINGS.search(path)


def test_what_is_printed_of_an_instruction_has_no_secrets() -> None:
    """A finding may stand in a public log."""
    said = "RUN |1 TOKEN=abc LEVEL=2 /bin/sh -c pip install -i https://u:p@index.example/simple x"
    shown = "RUN |1 TOKEN=*** LEVEL=2 /bin/sh -c pip install -i https://***@index.example/simple x"
    assert credentials.masked(said) == shown
