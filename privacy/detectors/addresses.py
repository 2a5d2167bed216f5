"""Where somebody, or a machine, is reached: e-mail addresses, also as people spell them out, and IP addresses."""

from __future__ import annotations

import ipaddress

from privacy.detectors.matching import Budget, Detector, matching

_LOCAL = r"[A-Za-z0-9\xe9_+](?:[A-Za-z0-9\xe9!#$%&'*+/=?^_`{|}~.-]{0,62}[A-Za-z0-9\xe9_+-])?"
_DOMAIN = r"(?:[A-Za-z0-9\xe9](?:[A-Za-z0-9\xe9-]{0,61}[A-Za-z0-9\xe9])?\.){1,6}[A-Za-z\xe9][A-Za-z0-9\xe9-]{1,23}"
EMAIL = rf"{_LOCAL}(?:@|%40){_DOMAIN}"
# "name (at) example dot org", as people write it for other people.
SPOKEN = r"(?i:[A-Za-z0-9\xe9._+-]{1,64}\s?(?:\(at\)|\{at\}|<at>| at )\s?(?:[A-Za-z0-9\xe9-]{1,40}\s?(?:\(dot\)|\{dot\}|<dot>| dot )\s?){1,3}[a-z]{2,12}\b)"
IPV4 = r"\b((?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3})\b"
IPV6 = r"\b[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?(?::(?:[0-9]{1,3}\.){3}[0-9]{1,3})?"


def _ip(value: str, _: Budget) -> str:
    try:
        address = ipaddress.ip_address(value.removesuffix("::") if value.count("::") > 1 else value)
    except ValueError:
        return ""
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return ""
    if address.version == 4 and (value.startswith(("0.", "255.")) or value.endswith(".0.0.0")):
        return ""  # no host: a mask, a network, or a version
    if address.version == 6 and value.count(":") < 3:
        return ""  # too little to tell from a slice or a scope
    return address.compressed


EMAILS: tuple[Detector, ...] = (matching("EMAIL", EMAIL), matching("EMAIL", SPOKEN))
IPS: tuple[Detector, ...] = (
    matching("IP", IPV6, _ip, before=":._", after=":_"),
    matching("IP", IPV4, _ip, before="v._-=", after="_"),
)
