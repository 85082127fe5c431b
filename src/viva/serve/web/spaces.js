// Chinese, Japanese and Korean part words by no space, on which Markdown's rules rely: **重点：**是 would show its stars,
// and an address would go on through a 。 So a space that nobody sees is put where one is missing, and taken out again.

const SPACE = "\ufeff"; // \s to a regular expression, of no width to a reader
const LETTER = "[\\p{sc=Han}\\p{sc=Hiragana}\\p{sc=Katakana}\\p{sc=Hangul}]";
const SIGN = "[^\\P{P}*]"; // punctuation, but no star
const STARS = new RegExp(`(?<=${SIGN}\\*+)(?=${LETTER})|(?<=${LETTER})(?=\\*+${SIGN})`, "gu");
const ADDRESS = /(?<![(<])(https?:\/\/[^\s<，。；：！？、（）《》「」【】]+)(?=[，。；：！？、（）《》「」【】])/g;

/** A text with the spaces. */
export function spaced(text) {
  return text.replace(STARS, SPACE).replace(ADDRESS, `$1${SPACE}`);
}

/** A text without them. */
export function unspaced(text) {
  return text.replaceAll(SPACE, "");
}
