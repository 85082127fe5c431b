"""Rows in other languages than those that are wanted, told by the library py3langid (Lui and Baldwin 2012,
"langid.py"), whose model comes with it.
"""

from pydantic import Field

from viva.base.errors import Refusal
from viva.text.rows.row import Row
from viva.text.rows.sift import Filter, Judge


class Config(Filter):
    """languages: their ISO 639-1 codes, such as [en, zh]. A row goes if the likeliest language is none of them; `sure`:
    only where the probability of that is at least this. Short texts are told badly. Needs the extra `filters`.
    """

    languages: tuple[str, ...] = Field(min_length=1)
    sure: float = Field(0.0, ge=0, le=1)

    def judge(self) -> Judge:
        identifier = _identifier()
        known = sorted(map(str, identifier.labels))
        for language in self.languages:
            if language not in known:
                must = "filter.languages must be codes of languages that can be told"
                raise Refusal(must, repr(language), f"use some of: {', '.join(known)}")

        def foreign(row: Row) -> str | None:
            text = self.text(row)
            if not text.strip():
                return None
            language, probability = identifier.classify(text)
            return None if language in self.languages or probability < self.sure else f"{language}, {probability:.2f}"

        return foreign


def _identifier():
    try:
        from py3langid import langid
    except ImportError as error:
        fix = "pip install 'viva[filters]', or use the filter script"
        raise Refusal("the filter language must have the library py3langid", error, fix) from None
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
