"""Takes secrets out of texts that end up on screens, in logs, in databases and in datasets.

Libraries quote what they were given in their errors: a header with its token, an endpoint with its
password, a signed address. Every error of ours redacts its text when it is made (`errors.py`), so
whatever is taken over from a library is clean from there on. `clean_error` does the same for errors
that nobody took over, and for those that an error names as its cause.
"""

import base64
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, unquote

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|KEY|KEY_ID|AUTH|AUTH_STRING|HEADERS)$",
    re.IGNORECASE,
)
"""Environment variables whose whole value is secret."""
_MIN_SECRET_CHARS = 8
"""Shorter values stand in too many innocent words."""
_MIN_PASSWORD_CHARS = 4
"""The same for passwords within addresses, which are more certainly passwords."""
_SECRET_PARAMETER = r"[\w.-]*(?:sig|signature|token|secret|passw(?:or)?d|credentials?|key(?:id)?)"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_QUOTED = r"(?P<q>['\"])(?:\\.|(?!(?P=q)).)*(?P=q)?"
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ of an address
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/?#'\"<>]*@", re.IGNORECASE), rf"\1{REDACTED}@"),
    # ?sig=... and the like
    (
        re.compile(rf"([?&;]{_SECRET_PARAMETER}=)[^&;\s'\"<>#]+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    # what HTTP libraries say about a header that cannot be sent
    (re.compile(rf"(header value:? )b?{_QUOTED}", re.IGNORECASE | re.DOTALL), rf"\1{REDACTED}"),
    (
        re.compile(r"(authorization['\"]?\s*[:=,]\s*b?['\"]?)(?:\w+ +)?[^\s'\"]+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(Bearer) +[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\b(Credential=|Signature=)[^\s,&'\"]+"), rf"\1{REDACTED}"),
    # keys of AWS, Anthropic, Hugging Face and Prefect Cloud
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
    (re.compile(r"\b(?:sk-ant-[\w-]{8,}|hf_\w{16,}|pn[bu]_\w{16,})"), REDACTED),
)


def redact(text: str) -> str:
    """Return a text without the secrets of the environment, and without what looks like one."""
    # Read each time, as the environment may have changed; the cache makes that cheap.
    if known := _known_secrets(tuple(os.environ.items())):
        text = known.sub(REDACTED, text)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def holds_credentials(uri: str) -> bool:
    """Say whether an address names a password, a key or a signature."""
    return any(shape.search(uri) for shape, _ in _SHAPES[:2])


def clean_error(error: BaseException) -> BaseException:
    """Return an error that can be printed with all its causes.

    It is the error itself where there is no secret in its text. Otherwise a `RuntimeError` with the
    redacted text stands for it, with the same traceback. Its causes are replaced likewise.
    """
    return _clean(error, set())


def _clean(error: BaseException, seen: set[int]) -> BaseException:
    seen.add(id(error))
    texts = [str(error), *getattr(error, "__notes__", ())]
    texts += [str(each) for each in getattr(error, "exceptions", ())]  # a group's
    clean = error
    if any(redact(text) != text for text in texts):
        clean = RuntimeError(redact(f"{type(error).__name__}: {' '.join(texts)}"))
        clean.__traceback__ = error.__traceback__
        clean.__dict__.update({k: v for k, v in vars(error).items() if k == "stage"})
    cause, context = (
        None if each is None or id(each) in seen else _clean(each, seen)
        for each in (error.__cause__, error.__context__)
    )
    hides_context = error.__suppress_context__
    clean.__cause__, clean.__context__ = cause, context  # the first hides the second
    clean.__suppress_context__ = hides_context
    return clean


@lru_cache(maxsize=8)
def _known_secrets(environment: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """Return what finds the secrets of an environment in all the forms that errors quote them."""
    secrets = {each for name, value in environment for each in _secrets_in(name, value)}
    forms = {form for secret in secrets for form in _forms(secret)}
    if not forms:
        return None
    # Longest first: a secret that begins another must not leave the rest of it.
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


def _secrets_in(name: str, value: str) -> Iterator[str]:
    """Yield what is secret in an environment variable."""
    if _SECRET_NAME.search(name):
        yield from (each for each in (value, *value.splitlines()) if _is_long(each))
    url = _URL.match(value)
    rest = url["rest"] if url else value if name.upper().endswith(("URL", "PROXY")) else ""
    # a password may hold the very characters that should have been quoted in it
    userinfo = re.split("[/?#]", rest)[0].rpartition("@")[0] or rest.rpartition("@")[0]
    password = userinfo.partition(":")[2]
    if len(password) >= _MIN_PASSWORD_CHARS:
        yield password
    for parameter, secret in parse_qsl(rest.partition("?")[2]):
        if re.fullmatch(_SECRET_PARAMETER, parameter, re.IGNORECASE) and _is_long(secret):
            yield secret


def _is_long(secret: str) -> bool:
    return len(secret.strip()) >= _MIN_SECRET_CHARS


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as it stands in addresses, headers, JSON and Python literals."""
    raw = secret.encode(errors="surrogateescape")
    for text in (secret, secret.strip(), unquote(secret)):
        yield text
        yield from (repr(text)[1:-1], json.dumps(text)[1:-1])
        plus = quote_plus(text, errors="replace")
        for quoted in (quote(text, errors="replace"), plus.replace("+", "%20"), plus):
            yield quoted
            yield re.sub("%[0-9A-F]{2}", lambda digits: digits[0].lower(), quoted)
    yield repr(raw)[2:-1]
    yield repr(secret.encode("latin-1", "replace"))[2:-1]  # how http.client writes headers
    yield base64.b64encode(raw).decode()
