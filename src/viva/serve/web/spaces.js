// Chinese, Japanese and Korean part words by no space, on which Markdown's rules rely: **重点：**是 would show its stars,
// and an address would go on through a 。 So a space that nobody sees is put where one is missing, and taken out again.

const SPACE = "\ufeff"; // \s to a regular expression, of no width to a reader
const LETTER = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/u;
const SIGN = /[\p{P}\p{S}]/u;
const STARS = /(?<!\*)(\*{1,3})(?![\s*])([^*\n]+)(?<!\s)\1(?!\*)/g; // around a text, and as many at its end
const ADDRESS = /(?<![(<])(https?:\/\/[^\s<，。；：！？、（）《》「」【】]+)(?=[，。；：！？、（）《》「」【】])/g;

/** A text with the spaces. */
export function spaced(text) {
  const around = (whole, stars, inside, at) => {
    const before = between(text[at - 1], inside[0]);
    return before + whole + between(text[at + whole.length], inside.at(-1));
  };
  return text.replace(STARS, around).replace(ADDRESS, `$1${SPACE}`);
}

/** A text without them. */
export function unspaced(text) {
  return text.replaceAll(SPACE, "");
}

/** What is missing between a letter and stars that have a sign on their other side. */
function between(letter, sign) {
  return LETTER.test(letter ?? "") && SIGN.test(sign) ? SPACE : "";
}
