"""What lets somebody in: private keys, keys and tokens by their form or the name they are given, passwords in addresses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from privacy.detectors.matching import Budget, Detector, Finding, compiled, matching

_BEGIN = compiled(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = compiled(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BODY = compiled(
    r"(?:[\s\"',+]|\\[nr]|[A-Za-z-]{4,20}: [^\n]{0,200}\n|[A-Za-z0-9+/]{16,200})*(?:[A-Za-z0-9+/]{0,76}={1,2})?"
)
_LONGEST_KEY = 20_000  # characters; an RSA key of 16,384 bits has 12,700


def private_keys(data: bytes, _: Budget) -> Iterator[Finding]:
    """From BEGIN to END; a block that was cut off ends where the text no longer looks like its body."""
    ends = deque(match.span() for match in _END.finditer(data))
    at = 0
    while (begin := _BEGIN.search(data, at)) is not None:
        at = begin.end()
        while ends and ends[0][0] < at:
            ends.popleft()
        stop = _BODY.match(data, at).end()
        if ends and ends[0][0] - at <= _LONGEST_KEY and b"\0" not in data[at : ends[0][0]]:
            stop = ends[0][1]
        if stop - at >= 16:
            yield Finding("PRIVATE_KEY", begin.start(), stop)
            at = stop


FORMATS = "|".join(
    (
        r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
        r"\bsk-[A-Za-z0-9_-]{20,}",
        r"\bgh[pousr]_[A-Za-z0-9]{36,}",
        r"\bgithub_pat_[A-Za-z0-9_]{50,}",
        r"\bglpat-[A-Za-z0-9_-]{20,}",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
        r"\bxox[abceoprs]-[A-Za-z0-9-]{10,}",
        r"\bxapp-[0-9]-[A-Za-z0-9-]{20,}",
        r"\bhooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{20,})",
        r"\bAIza[A-Za-z0-9_-]{35}",
        r"\bya29\.[A-Za-z0-9_-]{20,}",
        r"\bGOCSPX-[A-Za-z0-9_-]{20,}",
        r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",
        r"\bwhsec_[A-Za-z0-9+/=]{24,}",
        r"\bnpm_[A-Za-z0-9]{36}",
        r"\bpypi-[A-Za-z0-9_-]{50,}",
        r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}",
        r"\bdop_v1_[a-f0-9]{64}",
        r"\bnvapi-[A-Za-z0-9_-]{40,}",
        r"\bgsk_[A-Za-z0-9]{40,}",
        r"\br8_[A-Za-z0-9]{36,}",
        r"\bparley_[A-Za-z0-9_-]{30,}",
        r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
        r"\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
        r"\bkey-[0-9a-f]{32}\b",
        r"\bSK[0-9a-f]{32}\b",
        r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b",
        r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        r"(?i:\bbearer )([A-Za-z0-9._~+/-]{20,}=*)",
        r"(?i:\baws_?secret_?(?:access_?)?key[\"']?\s{0,3}[:=]\s{0,3}[\"']?)([A-Za-z0-9/+]{40})",
    )
)
# A secret by the name it is given, where it stands in quotes: in code a bare word after "=" is a variable.
NAMED = (
    r"(?i:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key|access_?key|private_?key|client_?secret)[\"']?\s{0,3}[:=]\s{0,3}"
    r"(?:\"([^\s\"\[\]\x00<>{}$]{8,200})\"|'([^\s'\[\]\x00<>{}$]{8,200})')"
)
# In a shell or an .env file: a name in capitals, no space around "=".
ASSIGNED = (
    r"\b[A-Z][A-Z0-9_]{0,60}_?(?:SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|PASSWORD|PASSWD|PASSPHRASE)[A-Z0-9_]{0,20}="
    r"([^\s\"'<>{}$()\[\]\x00]{12,200})"
)
URL_SECRET = r"(?i:[?&;](?:access_?token|auth_?token|token|api_?key|apikey|password|passwd|pwd|secret|client_secret|sig|signature|x-amz-signature|x-amz-credential)=)([^\s&#\"'<>\[\]\x00]{8,})"
CREDENTIALS = (
    r"(?i:\b[a-z][a-z0-9+.-]{1,20}://)([^\s/@:\"'<>\[\]\x00]{0,200}:[^\s/@\"'<>\[\]\x00]{1,200})@[A-Za-z0-9\xe9\[]"
)


def _looks_secret(value: str, _: Budget) -> str:
    """Letters and digits, or letters of both cases and a sign: what people and programs make up, not a word of a text."""
    kinds = (any(map(str.islower, value)), any(map(str.isupper, value)), any(map(str.isdigit, value)))
    signs = any(not letter.isalnum() and letter not in "_-. " for letter in value)
    return value if (kinds[2] and (kinds[0] or kinds[1])) or (signs and kinds[0] and kinds[1]) else ""


KEYS: tuple[Detector, ...] = (
    private_keys,
    matching("KEY", FORMATS),
    matching("KEY", NAMED, _looks_secret),
    matching("KEY", ASSIGNED, _looks_secret),
    matching("KEY", URL_SECRET, _looks_secret),
    matching("CREDENTIALS", CREDENTIALS),
)
