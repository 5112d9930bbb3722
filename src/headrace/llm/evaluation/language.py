# ruff: noqa: RUF001  # letters of many scripts
"""A guess at the language of a text, by its script and its most frequent words.

A heuristic without a model, for how the mix of languages drifts over many texts. A text of a few words, of names, of code,
or of two languages is guessed badly or not at all. Languages that share a script and are not listed are taken for one of
those that are, or for none.
"""

from __future__ import annotations

import re

UNKNOWN = "und"  # undetermined, by BCP 47
LOOKED_AT = 5_000  # characters
SCRIPTS = (
    ("latin", re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ]")),
    ("cyrillic", re.compile(r"[\u0400-\u052f]")),
    ("arabic", re.compile(r"[\u0620-\u064a\u066e-\u06d3\u0750-\u077f]")),
    ("han", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")),
    ("kana", re.compile(r"[\u3041-\u30ff]")),
    ("ko", re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")),
    ("el", re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")),
    ("he", re.compile(r"[\u05d0-\u05ea]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("bn", re.compile(r"[\u0980-\u09ff]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("th", re.compile(r"[\u0e01-\u0e5b]")),
    ("ka", re.compile(r"[\u10a0-\u10ff]")),
    ("hy", re.compile(r"[\u0531-\u058f]")),
)
STOP_WORDS = {
    "latin": {
        "en": "the of and to in is that it for was with as on be this are by what how you which from have not",
        "de": "der die und das ist nicht ein eine zu den mit von auf für dem sich auch wie wird im sind was ich des",
        "fr": "le la les et des est un une du dans que pour qui pas sur au avec ce il sont nous quelle comment ne",
        "es": "el la los y de que en un una es por con no para las del se lo como más qué cuál su está",
        "it": "il di che e la un una è per non con del della sono le gli nel si come più cosa anche questo i",
        "pt": "o de que e do da em um uma não para com os no na se por mais as dos como é qual são",
        "nl": "de het een en van is dat niet op te zijn voor met die in wat hoe aan ook er maar ik wordt bij",
        "pl": "i w nie na się z do to jest że o jak co po od za przez czy dla jaki są ale tym lub",
        "sv": "och att det är en som i av för på med den till inte har jag om vad ett hur de var kan från",
        "da": "og at det er en som i af for på med den til ikke har jeg om hvad et hvordan de var kan fra",
        "no": "og at det er en som i av for på med den til ikke har jeg om hva et hvordan de var kan fra",
        "tr": "ve bir bu için ile da de ne olarak daha çok gibi en olan mi değil var nasıl nedir ben o kadar",
        "cs": "a v se na je že s z do to jak co pro jsou ale by o od které když jeho jsem si",
        "ro": "și de la în a cu este o un pe care nu din pentru că mai ce sunt se cum sau fi",
        "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada adalah juga ke apa saya bagaimana atau",
        "vi": "và của là có cho không các được một trong này với người những đã như thế nào để",
        "fi": "ja on ei se että oli hän mutta ovat kun mitä myös joka tai niin kuin miten mikä ole",
        "hu": "a az és hogy nem is egy van de mi ez meg csak már ha mint vagy el volt hogyan",
    },
    "cyrillic": {
        "ru": "и в не на что с как это по но из у за к то от для он так же бы есть был вы",
        "uk": "і в не на що з як це та до але від у за та для є він так чи був які його",
        "bg": "и в не на че с как това по но от за да се е са които той така ще бил към съм",
    },
    "arabic": {
        "ar": "في من على إلى أن هو هي ما لا هذا هذه التي الذي كان مع عن كيف هل أو",
        "fa": "در از به که این را با است آن برای چه چیست یک هم تا بر خود می‌شود شما",
        "ur": "میں کے کی ہے اور سے کا کو نے پر یہ ہیں کیا بھی نہیں تھا وہ ایک",
    },
}
WORDS = {
    script: {language: frozenset(words.split()) for language, words in languages.items()}
    for script, languages in STOP_WORDS.items()
}
NOT_LATIN = {"cyrillic": "ru", "arabic": "ar"}  # where no frequent word decides
LETTERS = re.compile(r"[^\W\d_]+(?:\u200c[^\W\d_]+)*")


def language(text: str) -> str:
    """The code of ISO 639-1 of a text's language, or `und` where it has no letters or no word decides."""
    start = text[:LOOKED_AT]
    counts = {script: len(letters.findall(start)) for script, letters in SCRIPTS}
    counts["kana"] = 0 if 10 * counts["kana"] < counts["han"] else counts["kana"] + counts["han"]
    script = max(counts, key=lambda each: counts[each])
    if counts[script] == 0:
        return UNKNOWN
    if script in ("han", "kana"):
        return "zh" if script == "han" else "ja"
    if script not in WORDS:
        return script
    present = LETTERS.findall(start.lower())
    scores = {code: sum(word in frequent for word in present) for code, frequent in WORDS[script].items()}
    best = max(scores, key=lambda code: scores[code])
    tied = sum(score == scores[best] for score in scores.values()) > 1
    return NOT_LATIN.get(script, UNKNOWN) if scores[best] == 0 or tied else best
