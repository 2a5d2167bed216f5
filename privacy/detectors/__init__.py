"""What is recognised: detectors by family, each over the plain copy that `redaction` makes."""

from __future__ import annotations

from privacy.detectors.addresses import EMAILS, IPS
from privacy.detectors.keys import KEYS
from privacy.detectors.matching import Budget, Detector, Finding
from privacy.detectors.money import MONEY
from privacy.detectors.national import NATIONAL
from privacy.detectors.phones import PHONES

__all__ = ["DETECTORS", "KINDS", "Budget", "Detector", "Finding"]

# The order matters: what contains another (a key with digits, an address with a name) comes first.
DETECTORS: tuple[Detector, ...] = (*KEYS, *EMAILS, *MONEY, *NATIONAL, *IPS, *PHONES)
KINDS = ("PRIVATE_KEY", "KEY", "CREDENTIALS", "EMAIL", "IBAN", "CARD", "NATIONAL_ID", "WALLET", "IP", "PHONE")
