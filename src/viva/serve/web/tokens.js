// A reply token by token: the less likely one was, the stronger its colour; pointed at, it tells what else might have
// stood there.

import { element } from "./element.js";
import { say } from "./words.js";

const tip = document.querySelector("#tip");

/** What is kept of the log-probabilities of an event: {token, bytes, logprob, top}. */
export function told(logprobs) {
  const content = logprobs?.content ?? [];
  return content.map(({ token, bytes, logprob, top_logprobs: top }) => ({ token, bytes, logprob, top }));
}

/** The element that shows tokens. The arrow keys go from one to the next. */
export function tokensView(tokens) {
  const spans = characters(tokens).map(({ text, tokens: own }) => {
    const surprise = 1 - Math.exp(Math.min(...own.map((token) => token.logprob)));
    const named = text.startsWith("\n") ? "token line" : "token"; // which has no width of its own
    const span = element("span", { class: named, tabindex: -1, "aria-describedby": "tip" }, text);
    span.style.setProperty("--surprise", surprise.toFixed(3));
    span.addEventListener("pointerenter", () => show(span, own));
    span.addEventListener("focus", () => show(span, own));
    for (const leave of ["pointerleave", "blur"]) span.addEventListener(leave, () => (tip.hidden = true));
    return span;
  });
  spans[0]?.setAttribute("tabindex", 0);
  const view = element("div", { class: "tokens" }, ...spans);
  view.addEventListener("keydown", (event) => walk(event, spans));
  return view;
}

/** Tokens by the text they make: several that spell one character stand together. */
export function characters(tokens) {
  const decoder = new TextDecoder();
  const made = [];
  let open = [];
  for (const token of tokens) {
    open.push(token);
    const text = decoder.decode(new Uint8Array(token.bytes ?? new TextEncoder().encode(token.token)), { stream: true });
    if (text || !token.bytes?.length) {
      made.push({ text, tokens: open });
      open = [];
    }
  }
  const rest = decoder.decode();
  return open.length || rest ? [...made, { text: rest, tokens: open.length ? open : [tokens.at(-1)] }] : made;
}

function walk(event, spans) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const next = step && spans[spans.indexOf(document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

function show(span, tokens) {
  tip.replaceChildren(...tokens.map(table));
  tip.hidden = false;
  const { left, bottom, top } = span.getBoundingClientRect();
  const below = bottom + tip.offsetHeight + 8 < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${below ? bottom + 4 : top - tip.offsetHeight - 4}px`;
}

function table({ token, logprob, top }) {
  const others = top.filter((each) => each.token !== token);
  const rows = [{ token, logprob }, ...others].map((each) => {
    const percent = (100 * Math.exp(each.logprob)).toFixed(1);
    const bar = element("span", { class: "share" });
    bar.style.setProperty("--share", `${percent}%`);
    const number = element("td", {}, say("likely", { percent }));
    const code = element("code", {}, spelled(each.token));
    return element("tr", {}, element("td", {}, code), element("td", {}, bar), number);
  });
  rows[0].className = "drawn";
  return element("table", {}, ...rows);
}

/** A token with what cannot be seen made visible. */
function spelled(token) {
  return token.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥") || "∅";
}
