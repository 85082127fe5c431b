// Emphasis in Markdown: runs of *, _ and ~~ paired as CommonMark 0.31 does (section 6.2 and its appendix), but that
// Chinese, Japanese and Korean, which part words by no space, may stand beside a run as a space does.

import { element } from "./element.js";

const PUNCTUATION = /[\p{P}\p{S}]/u;
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/u;

/** The run of delimiters at a place: whether it may open emphasis, and whether it may close one. */
export function run(text, at) {
  const mark = text[at];
  let next = at;
  while (text[next] === mark) next += 1;
  const count = next - at;
  if (mark === "~" && count !== 2) return { part: mark.repeat(count), next };
  const [before, after] = [text[at - 1] ?? " ", text[next] ?? " "];
  const left = leans(after, before);
  const right = leans(before, after);
  const opens = left && (mark !== "_" || !right || PUNCTUATION.test(before));
  const closes = right && (mark !== "_" || !left || PUNCTUATION.test(after));
  return { part: { mark, count, size: count, opens, closes, at }, next };
}

/** Whether a run belongs to what stands on one side of it, seen from the other. */
function leans(near, far) {
  return /\S/.test(near) && (!PUNCTUATION.test(near) || [/\s/, PUNCTUATION, UNSPACED].some((kind) => kind.test(far)));
}

/** The nodes of a paragraph: runs that pair become elements around what lies between, the others text. */
export function emphasised(parts) {
  const bottom = new Map(); // for each kind of closing run: before this place there is none that opens it
  for (let i = 0; i < parts.length; i += 1) {
    const closer = parts[i];
    if (!closer.closes) continue;
    const kind = `${closer.mark}${closer.opens}${closer.size % 3}`;
    const j = openerOf(parts, i, bottom.get(kind) ?? -1);
    if (j < 0) {
      bottom.set(kind, closer.at - 1);
      continue;
    }
    const opener = parts[j];
    const size = Math.min(opener.count, closer.count, 2);
    const tag = closer.mark === "~" ? "del" : size === 2 ? "strong" : "em";
    const made = element(tag, {}, ...parts.slice(j + 1, i).map(nodeOf));
    opener.count -= size;
    closer.count -= size;
    const left = [...(opener.count ? [opener] : []), made];
    parts.splice(j, i - j + (closer.count ? 0 : 1), ...left);
    i = j + left.length - 1; // what stands next is the closer, if it has more to close
  }
  return parts.map(nodeOf);
}

function openerOf(parts, i, bottom) {
  for (let j = i - 1; j >= 0; j -= 1) {
    if (parts[j].at <= bottom) return -1;
    if (parts[j].opens && parts[j].mark === parts[i].mark && fit(parts[j], parts[i])) return j;
  }
  return -1;
}

/** CommonMark's rule of three, for runs that could both open and close. */
function fit(opener, closer) {
  const both = opener.closes || closer.opens;
  return !both || (opener.size + closer.size) % 3 !== 0 || (opener.size % 3 === 0 && closer.size % 3 === 0);
}

function nodeOf(part) {
  return part instanceof Node ? part : document.createTextNode(part.mark.repeat(part.count));
}
