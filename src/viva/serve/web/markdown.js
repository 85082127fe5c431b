// Markdown as elements: marked reads it, and each element is made here. What the text says goes in as text: HTML in an
// answer is shown, never read.

import { element } from "./element.js";
import { spaced, unspaced } from "./spaces.js";
import { Marked } from "./vendor/marked.js";

const SAFE = ["http:", "https:", "mailto:"]; // an address of another kind is shown, and leads nowhere
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };
const ENTITY = /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi;
const reader = new Marked({ gfm: true }, { tokenizer: { html: () => undefined, tag: () => undefined } }); // no HTML

/** The elements of a text. `code` frames each block of code: from (element, text, language) to an element. */
export function markdown(text, code = (pre) => pre) {
  try {
    return blocks(reader.lexer(spaced(text)), code);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [element("p", {}, text)]; // quotes in quotes, deeper than a browser can go
  }
}

function blocks(tokens, code) {
  const within = (inner) => blocks(inner, code);
  return tokens.flatMap((token) => (BLOCKS[token.type] ?? inline)(token, within, code));
}

function spans(tokens) {
  return tokens.flatMap((token) => (SPANS[token.type] ?? shown)(token));
}

const BLOCKS = {
  space: () => [],
  def: () => [],
  hr: () => element("hr"),
  heading: ({ depth, tokens }) => element(`h${depth}`, {}, ...spans(tokens)),
  paragraph: ({ tokens }) => element("p", {}, ...spans(tokens)),
  blockquote: ({ tokens }, within) => element("blockquote", {}, ...within(tokens)),
  code: ({ text, lang }, within, code) => framed(unspaced(text) + "\n", decoded(lang ?? "").split(/\s/)[0], code),
  list,
  checkbox: ({ checked }) => element("input", { type: "checkbox", disabled: "", checked: checked || null }),
  table,
};

/** What stands in an item without a block of its own. */
function inline(token) {
  return spans(token.tokens ?? [token]);
}

const SPANS = {
  br: () => [element("br"), "\n"],
  strong: ({ tokens }) => element("strong", {}, ...spans(tokens)),
  em: ({ tokens }) => element("em", {}, ...spans(tokens)),
  del: ({ tokens }) => element("del", {}, ...spans(tokens)),
  codespan: ({ text }) => element("code", {}, unspaced(text)),
  escape: ({ text }) => text,
  text: ({ text }) => decoded(text),
  link: ({ href, title, tokens }) => leading(decoded(href), spans(tokens), title),
  image: ({ href, text }) => leading(decoded(href), [text || href]), // the picture would let its server know who reads
};

/** What is not known here, as it was written. */
function shown({ raw }) {
  return unspaced(raw);
}

function framed(text, language, code) {
  const inside = element("code", language ? { class: `language-${language}` } : {}, text);
  return code(element("pre", {}, inside), text, language);
}

function list({ ordered, start, items }, within) {
  const rows = items.map(({ tokens }) => element("li", {}, ...within(tokens)));
  return element(ordered ? "ol" : "ul", ordered && start !== 1 ? { start } : {}, ...rows);
}

function table({ header, rows }) {
  const row = (tag, cells) =>
    element("tr", {}, ...cells.map(({ align, tokens }) => element(tag, { "data-align": align }, ...spans(tokens))));
  const head = element("thead", {}, row("th", header));
  return element("table", {}, head, element("tbody", {}, ...rows.map((cells) => row("td", cells))));
}

/** A link, if its address is one that is safe to follow; else what it says, with the address. */
function leading(address, label, title) {
  if (!isSafe(address)) return element("span", {}, ...label, ` (${address})`);
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer", title }, ...label);
}

function isSafe(address) {
  try {
    return SAFE.includes(new URL(address).protocol);
  } catch {
    return false; // it has no protocol, and would lead into this server
  }
}

/** A text with its entities as the characters they stand for. */
function decoded(text) {
  const character = (whole, decimal, hex, named) => {
    if (named) return Object.hasOwn(NAMED, named) ? NAMED[named] : whole;
    const point = decimal ? Number(decimal) : parseInt(hex, 16);
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : "\ufffd";
  };
  return unspaced(text).replace(ENTITY, character);
}
