"""The language of a row, for its label: by the script, or by the words and letters that its sentences cannot do without."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNDETERMINED = "und"

_WORDS = {
    "en": "the and of to is that it you with for this what how are not have can be was a in on or",
    "pl": "i w na się nie że jest z do jak co czy to dla od są był być ale o po za tego jego ich może",
    "fr": "le la les des est et un une que pour dans pas vous je qui sur avec ce du au ne en il ou de à",
    "de": "der die das und ist nicht ein eine ich zu den mit wie auf für sie es was von kann dem im oder in",
    "es": "el los las que y en un una por con para es no se lo del como qué está la de cuál",
    "it": "il di che è e un una per non sono con del della come gli questo cosa mi la si tra",
    "pt": "o os as que e um uma para com não é do da em por como você isso são no a de qual",
    "nl": "de het een en van is niet dat ik je te met voor op zijn wat hoe maar in of",
}
_OWN_LETTERS = {"pl": "ąćęłńśźż", "de": "ß", "es": "ñ", "pt": "ãõ", "fr": "œ"}
_SCRIPTS = {"ja": r"[\u3040-\u30ff]", "ko": r"[\uac00-\ud7af]", "zh": r"[\u4e00-\u9fff]", "el": r"[\u0370-\u03ff]"}
_SCRIPTS |= {"he": r"[\u0590-\u05ff]", "th": r"[\u0e00-\u0e7f]"}
LANGUAGES = (*_WORDS, *_SCRIPTS)

_OF_WORD = {
    word: [tag for tag, words in _WORDS.items() if word in words.split()]
    for words in _WORDS.values()
    for word in words.split()
}
_OF_LETTER = {letter: tag for tag, letters in _OWN_LETTERS.items() for letter in letters}
_LETTERS = re.compile(r"[^\W\d_]+")
_LEFT_OUT = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\[[A-Z_]+_\d+\]", re.DOTALL)
_LONGEST = 20_000  # characters that are looked at
_FEWEST = 3  # of its words
_ENOUGH = 0.2  # of all letters, for a script


def language_of(texts: Sequence[str]) -> str:
    """The tag (BCP 47) of what the texts are written in, code left out; `UNDETERMINED` where that is too little to tell."""
    text = _LEFT_OUT.sub(" ", "\n".join(texts)[:_LONGEST])
    words = _LETTERS.findall(text.lower())
    letters = sum(map(len, words))
    for tag, script in _SCRIPTS.items():
        if letters and len(re.findall(script, text)) >= _ENOUGH * letters:
            return tag
    hits = dict.fromkeys(_WORDS, 0)
    for word in words:
        for tag in {*_OF_WORD.get(word, ()), *(_OF_LETTER[letter] for letter in word if letter in _OF_LETTER)}:
            hits[tag] += 1
    (best, most), (_, second) = sorted(hits.items(), key=lambda hit: -hit[1])[:2]
    return best if most >= _FEWEST and most > second else UNDETERMINED
