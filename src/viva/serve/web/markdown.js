// Markdown as elements (CommonMark 0.31's blocks, with GitHub's tables). Each element is made here, and what the text
// says goes in as text: HTML in an answer is shown, never read.

import { element } from "./element.js";
import { inline, plainOf } from "./inline.js";

const DEEPEST = 32; // quotes and lists within one another; what lies deeper is a paragraph
const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)(.*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|(\d{1,9})[.)])(?=[ \t]|$)([ \t]*)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** The elements of a text. `code` frames each block of code: from (pre element, its text) to an element. */
export function markdown(text, code = (pre) => pre) {
  return blocks(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), code, 0).nodes;
}

/** The elements of lines, and whether a blank line parts two of them. */
function blocks(lines, code, depth) {
  const kinds = depth < DEEPEST ? [indented, fenced, heading, rule, quote, list, table] : [];
  const nodes = [];
  let parted = false;
  for (let at = 0; at < lines.length; ) {
    if (blank(lines[at])) {
      at += 1;
      continue;
    }
    parted ||= nodes.length > 0 && blank(lines[at - 1]);
    const found = kinds.reduce((known, kind) => known ?? kind(lines, at, code, depth), null) ?? paragraph(lines, at);
    nodes.push(found.node);
    at = found.next;
  }
  return { nodes, parted };
}

function indented(lines, at, code) {
  if (!lines[at].startsWith("    ")) return null;
  let next = at + 1;
  while (next < lines.length && (blank(lines[next]) || lines[next].startsWith("    "))) next += 1;
  while (blank(lines[next - 1])) next -= 1;
  return { node: framed(lines.slice(at, next).map((line) => line.slice(4)), "", code), next };
}

function fenced(lines, at, code) {
  const [, fence, told] = FENCE.exec(lines[at]) ?? [];
  if (!fence) return null;
  const indent = lines[at].search(/\S/);
  const closes = (line) => indentOf(line) < 4 && line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0], "");
  let next = at + 1;
  while (next < lines.length && !closes(lines[next])) next += 1; // one that is still being written has no end
  const inside = lines.slice(at + 1, next).map((line) => line.slice(Math.min(indent, indentOf(line))));
  return { node: framed(inside, plainOf(told.trim().split(/\s+/)[0]), code), next: next + 1 };
}

function framed(lines, language, code) {
  const text = lines.length ? lines.join("\n") + "\n" : "";
  const inside = element("code", language ? { class: `language-${language}` } : {}, text);
  return code(element("pre", {}, inside), text, language);
}

function heading(lines, at) {
  const [, marks, text] = HEADING.exec(lines[at]) ?? [];
  if (!marks) return null;
  const told = text.trim().replace(/(^|[ \t])#+$/, "");
  return { node: element(`h${marks.length}`, {}, ...inline(told.trim())), next: at + 1 };
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? { node: element("hr"), next: at + 1 } : null;
}

function quote(lines, at, code, depth) {
  if (!QUOTE.test(lines[at])) return null;
  const inside = [];
  let next = at;
  while (next < lines.length && (QUOTE.test(lines[next]) || isLazy(lines, next, inside))) {
    inside.push(lines[next].replace(QUOTE, ""));
    next += 1;
  }
  return { node: element("blockquote", {}, ...blocks(inside, code, depth + 1).nodes), next };
}

function list(lines, at, code, depth) {
  const first = marker(lines[at]);
  if (!first) return null;
  const items = [];
  let next = at;
  let loose = false;
  for (let mark = first; mark?.kind === first.kind && !RULE.test(lines[next]); mark = marker(lines[next])) {
    loose ||= next > at && blank(lines[next - 1]);
    const inside = [lines[next].slice(mark.width)];
    next += 1;
    while (next < lines.length && belongs(lines, next, inside, mark.width)) {
      inside.push(lines[next].slice(Math.min(mark.width, indentOf(lines[next]))));
      next += 1;
    }
    items.push(blocks(inside, code, depth + 1));
  }
  while (blank(lines[next - 1])) next -= 1; // what stands behind may be a part of the item around this list
  loose ||= items.some(({ parted }) => parted);
  const start = first.number !== undefined && first.number !== 1 ? { start: first.number } : {};
  const rows = items.map(({ nodes }) => element("li", {}, ...(loose ? nodes : tight(nodes))));
  return { node: element(first.number === undefined ? "ul" : "ol", start, ...rows), next };
}

/** How a line begins an item: the kind of list, the number, and the width of what stands before the text. */
function marker(line) {
  const [whole, before, mark, number, space] = ITEM.exec(line ?? "") ?? [];
  if (!whole) return null;
  const text = line.length > whole.length;
  const width = text && space.length < 5 ? whole.length : before.length + mark.length + 1; // else code, or nothing yet
  return { kind: mark.at(-1), number: number && Number(number), width };
}

/** Whether a line is a part of the item before it. */
function belongs(lines, at, inside, width) {
  if (blank(lines[at])) return true;
  if (inside.length > 1 && inside.every(blank)) return false; // an item that begins with two blank lines is empty
  return indentOf(lines[at]) >= width || isLazy(lines, at, inside);
}

/** Whether a line goes on with a paragraph in a quote or an item without being marked as theirs. */
function isLazy(lines, at, inside) {
  const before = inside.at(-1).replace(/^(?:[ >]|[-*+](?: |$)|\d+[.)](?: |$))+/, "");
  const ended = [HEADING, RULE, FENCE].some((form) => form.test(before)) || isFenced(inside);
  return !ended && !marker(lines[at]) && goesOn(lines, at, before);
}

/** Whether lines end within a block of code. */
function isFenced(lines) {
  let open = null;
  for (const line of lines) {
    const fence = FENCE.exec(line)?.[1];
    if (fence && (!open || fence.startsWith(open))) open = open ? null : fence;
  }
  return open !== null;
}

/** The blocks of an item of a tight list, in which paragraphs are no blocks of their own. */
function tight(nodes) {
  return nodes.flatMap((node) => (node.tagName === "P" ? [...node.childNodes] : [node]));
}

function table(lines, at) {
  if (!lines[at].includes("|") || !DELIMITERS.test(lines[at + 1] ?? "")) return null;
  const sides = cells(lines[at + 1]).map((cell) => [cell.startsWith(":"), cell.endsWith(":")]);
  const align = sides.map(([left, right]) => (right ? (left ? "center" : "right") : left ? "left" : undefined));
  const head = cells(lines[at]);
  if (head.length !== align.length) return null;
  let next = at + 2;
  while (next < lines.length && !blank(lines[next]) && !begins(lines, next)) next += 1;
  const row = (tag, told) =>
    element("tr", {}, ...align.map((side, i) => element(tag, { "data-align": side }, ...inline(told[i] ?? ""))));
  const body = lines.slice(at + 2, next).map((line) => row("td", cells(line)));
  const parts = [element("thead", {}, row("th", head)), ...(body.length ? [element("tbody", {}, ...body)] : [])];
  return { node: element("table", {}, ...parts), next };
}

function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraph(lines, at) {
  let next = at + 1;
  while (next < lines.length && goesOn(lines, next, lines[next - 1])) {
    if (UNDERLINE.test(lines[next])) break;
    next += 1;
  }
  const text = lines.slice(at, next).map((line) => line.trimStart()).join("\n").trimEnd();
  const [, under] = UNDERLINE.exec(lines[next] ?? "") ?? [];
  if (under) return { node: element(under[0] === "=" ? "h1" : "h2", {}, ...inline(text)), next: next + 1 };
  return { node: element("p", {}, ...inline(text)), next };
}

/** Whether a line goes on with the paragraph of the line before it. */
function goesOn(lines, at, before) {
  return before !== undefined && !blank(before) && !blank(lines[at]) && !begins(lines, at);
}

/** Whether a line begins a block even within a paragraph: a list must begin with 1 there, and have text. */
function begins(lines, at) {
  const mark = marker(lines[at]);
  const listed = mark && (mark.number ?? 1) === 1 && !blank(lines[at].slice(mark.width));
  return listed || [FENCE, HEADING, RULE, QUOTE].some((form) => form.test(lines[at]));
}

function blank(line) {
  return line.trim() === "";
}

function indentOf(line) {
  const first = line.search(/\S/);
  return first < 0 ? line.length : first;
}
