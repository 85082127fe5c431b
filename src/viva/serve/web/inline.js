// What stands within a paragraph of Markdown (CommonMark 0.31, section 6, with GitHub's ~~ and bare addresses).

import { element } from "./element.js";
import { emphasised, run } from "./emphasis.js";

const SAFE = ["http:", "https:", "mailto:"]; // an address of another kind is shown, and leads nowhere
const STOPS = /[\\`*_~[!<&\n]|https?:\/\/|$/g;
const BARE = /https?:\/\/[^\s<>，。；：！？、（）《》「」【】]+/y;
const ANGLED = /<([a-z][a-z\d+.-]{1,31}:[^\s<>]*|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/iy;
const TITLE = /(?:\s+(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'))?/;
const ADDRESS = /\(\s*(?:<([^<>\n]*)>|((?:\\.|[^\s\\()]|\([^\s()]*\))*))/;
const TARGET = new RegExp(`${ADDRESS.source}${TITLE.source}\\s*\\)`, "y");
const ENTITY = /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/iy;
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** The nodes of a text; within a link there is no other. */
export function inline(text, linked = false) {
  const parts = []; // nodes, and runs of * _ ~ that may turn out to be emphasis
  const closing = brackets(text);
  let plain = "";
  const flush = () => {
    if (plain) parts.push(document.createTextNode(plain));
    plain = "";
  };
  for (let at = 0; at < text.length; ) {
    const found = special(text, at, closing, linked);
    const next = found?.next ?? (text[at] === "\n" ? at + 1 : stop(text, at + 1));
    if (text[at] === "\n") {
      if (plain.endsWith("  ")) parts.push(document.createTextNode(plain.trimEnd()), element("br"));
      plain = plain.endsWith("  ") ? "\n" : plain.trimEnd() + "\n";
    } else if (typeof found?.part === "object") {
      flush();
      parts.push(found.part);
    } else {
      plain += found?.part ?? text.slice(at, next);
    }
    at = next;
  }
  flush();
  return emphasised(parts);
}

function stop(text, from) {
  STOPS.lastIndex = from;
  return STOPS.exec(text).index;
}

/** What begins at a place, and where it ends: a node, a run, or text; null if that is only a character. */
function special(text, at, closing, linked) {
  switch (text[at]) {
    case "\\":
      return escaped(text, at);
    case "`":
      return codeSpan(text, at);
    case "*":
    case "_":
    case "~":
      return run(text, at);
    case "[":
      return linked ? null : link(text, at, closing.get(at));
    case "!": // an image would let its server know who reads: it is a link
      return linked || text[at + 1] !== "[" ? null : link(text, at + 1, closing.get(at + 1));
    case "<":
      return linked ? null : angled(text, at);
    case "&":
      return entity(text, at);
    case "h":
      return linked ? null : bare(text, at);
    default:
      return null;
  }
}

function escaped(text, at) {
  if (text[at + 1] === "\n") return { part: element("br"), next: at + 1 };
  return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? { part: text[at + 1], next: at + 2 } : null;
}

function codeSpan(text, at) {
  const ticks = ticksAt(text, at);
  const end = spanEnd(text, at, ticks);
  if (end < 0) return { part: "`".repeat(ticks), next: at + ticks };
  const inside = text.slice(at + ticks, end - ticks).replaceAll("\n", " ");
  const padded = inside.startsWith(" ") && inside.endsWith(" ") && inside.trim();
  return { part: element("code", {}, padded ? inside.slice(1, -1) : inside), next: end };
}

function ticksAt(text, at) {
  let end = at;
  while (text[end] === "`") end += 1;
  return end - at;
}

/** Where a span of code ends, behind its ticks; -1 if it does not. */
function spanEnd(text, at, ticks) {
  const runs = /`+/g;
  runs.lastIndex = at + ticks;
  for (let found = runs.exec(text); found; found = runs.exec(text)) {
    if (found[0].length === ticks) return runs.lastIndex;
  }
  return -1;
}

/** For each [ the place of its ]. */
function brackets(text) {
  const open = [];
  const closing = new Map();
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "[") open.push(at);
    else if (text[at] === "]" && open.length) closing.set(open.pop(), at);
    else if (text[at] === "`") {
      const ticks = ticksAt(text, at);
      const end = spanEnd(text, at, ticks);
      at = (end < 0 ? at + ticks : end) - 1;
    }
  }
  return closing;
}

function link(text, open, close) {
  TARGET.lastIndex = close + 1;
  const found = close === undefined ? null : TARGET.exec(text);
  if (!found) return null;
  const address = plainOf(found[1] ?? found[2]);
  const label = inline(text.slice(open + 1, close), true);
  return { part: leading(address, label.length ? label : [address], found[3] ?? found[4]), next: TARGET.lastIndex };
}

/** A link, if its address is one that is safe to follow; else what it says, with the address. */
function leading(address, label, title) {
  if (!isSafe(address)) return element("span", {}, ...label, ` (${address})`);
  const told = title === undefined ? {} : { title: plainOf(title) };
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer", ...told }, ...label);
}

function isSafe(address) {
  try {
    return SAFE.includes(new URL(address).protocol);
  } catch {
    return false; // it has no protocol, and would lead into this server
  }
}

/** A text that has no form, such as an address: only escapes and entities are read. */
export function plainOf(text) {
  const spelled = (whole, sign) => sign ?? entity(whole, 0)?.part ?? whole;
  return text.replace(new RegExp(`\\\\([!-/:-@[-\`{-~])|${ENTITY.source}`, "gi"), spelled);
}

function angled(text, at) {
  ANGLED.lastIndex = at;
  const [whole, address] = ANGLED.exec(text) ?? [];
  if (!whole) return null;
  const full = address.includes(":") ? address : `mailto:${address}`;
  return isSafe(full) ? { part: leading(full, [address]), next: at + whole.length } : null;
}

function bare(text, at) {
  BARE.lastIndex = at;
  let [address] = BARE.exec(text) ?? [""];
  const unbalanced = () => address.endsWith(")") && address.split(")").length > address.split("(").length;
  while (/[?!.,:;*_~'"\]]$/.test(address) || unbalanced()) address = address.slice(0, -1);
  return isSafe(address) ? { part: leading(address, [address]), next: at + address.length } : null;
}

function entity(text, at) {
  ENTITY.lastIndex = at;
  const [whole, decimal, hex, named] = ENTITY.exec(text) ?? [];
  if (!whole) return null;
  if (named) return Object.hasOwn(NAMED, named) ? { part: NAMED[named], next: at + whole.length } : null;
  const point = decimal ? Number(decimal) : parseInt(hex, 16);
  const known = point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point < 0xe000);
  return { part: known ? String.fromCodePoint(point) : "\ufffd", next: at + whole.length };
}
