// A message as one sees it.

import { copying } from "./copy.js";
import { button, element } from "./element.js";
import { markdown } from "./markdown.js";
import { tokensView } from "./tokens.js";
import { speak } from "./words.js";

const SAID = { length: "cut", stopped: "stopped" }; // else `finish` is a word itself, or stop, of which nothing is said

/** What a user wrote: {node}; `edit(text)` is called with what it is changed to. */
export function asked(message, edit) {
  const body = element("div", { class: "body plain", dir: "auto" }, message.content);
  const foot = element("div", { class: "foot" }, copying(() => message.content), button("edit", () => begin()));
  const node = element("li", { class: "message user" }, heard("you"), body, foot);
  const begin = () => {
    const form = editor(message.content, edit, () => form.replaceWith(body, foot));
    body.replaceWith(form);
    foot.remove();
    form.querySelector("textarea").focus();
  };
  return { node };
}

/** What the model wrote: {node, draw}, `draw()` after it has grown; `retry()` asks for another. */
export function answered(message, retry) {
  const body = element("div", { class: "body", dir: "auto" });
  const note = element("p", { class: "note" });
  const speed = element("span", { class: "speed" });
  const again = button("retry", retry);
  let shown = false;
  const tokens = button("tokens", () => {
    shown = !shown;
    draw();
  });
  const foot = element("div", { class: "foot" }, copying(() => message.content), again, tokens, speed);
  const node = element("li", { class: "message assistant" }, heard("assistant"), body, note, foot);
  const draw = () => {
    grow(body, shown ? [tokensView(message._tokens)] : markdown(message.content, framed));
    node.classList.toggle("writing", !message.finish);
    tokens.hidden = !message._tokens?.length;
    speak(tokens, shown ? "text" : "tokens");
    tokens.setAttribute("aria-pressed", shown);
    ending(note, message);
    measured(speed, message.speed);
    if (message.retryAfter) wait(again, message);
  };
  draw();
  return { node, draw };
}

function heard(word) {
  return element("span", { class: "unseen", word });
}

function editor(content, edit, leave) {
  const text = element("textarea", { rows: Math.min(12, content.split("\n").length + 1), dir: "auto" });
  text.value = content;
  const send = element("button", { type: "submit", word: "save" });
  const hint = element("span", { class: "hint", word: "editHint" });
  const foot = element("div", { class: "foot" }, send, button("cancel", leave), hint);
  const label = element("label", {}, element("span", { class: "unseen", word: "message" }), text);
  const form = element("form", { class: "editor" }, label, foot);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!text.value.trim()) return;
    leave();
    edit(text.value);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation(); // what is being written elsewhere goes on
      leave();
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === text) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return form;
}

/** Let a body have these nodes; those it has already stay, with what is selected in them. */
function grow(body, nodes) {
  nodes.forEach((node, i) => {
    const old = body.childNodes[i];
    if (!old) body.append(node);
    else if (!old.isEqualNode(node)) old.replaceWith(node);
  });
  while (body.childNodes.length > nodes.length) body.lastChild.remove();
}

/** A block of code under its language and a button that copies it. */
function framed(pre, text, language) {
  const bar = element("div", { class: "codebar" }, element("span", {}, language ?? ""), copying(() => text));
  pre.tabIndex = 0; // the keyboard scrolls it
  return element("div", { class: "code" }, bar, pre);
}

/** Say why a reply ended, where that was not of itself. */
function ending(note, { finish, detail }) {
  note.hidden = !finish || finish === "stop";
  if (note.hidden) return;
  note.classList.toggle("trouble", finish !== "stopped" && finish !== "length");
  note.setAttribute("role", "alert");
  speak(note, SAID[finish] ?? finish, { detail });
}

function measured(node, speed) {
  node.replaceChildren();
  if (!speed) return;
  const parts = [["count", { count: speed.tokens }], ["first", { seconds: speed.first.toFixed(2) }]];
  if (speed.rate) parts.unshift(["speed", { rate: speed.rate.toFixed(1) }]);
  for (const [word, values] of parts) {
    const part = element("span");
    speak(part, word, values);
    node.append(part);
  }
}

/** Hold a button back for the seconds after which the server may be asked again. */
function wait(again, message) {
  let seconds = message.retryAfter;
  delete message.retryAfter;
  again.disabled = true;
  const count = () => {
    again.disabled = seconds > 0;
    speak(again, seconds > 0 ? "retryIn" : "retry", { seconds });
    if (seconds > 0) setTimeout(count, 1000);
    seconds -= 1;
  };
  count();
}
