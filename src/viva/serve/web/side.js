// The conversations, in a list beside the one that is open.

import { element } from "./element.js";
import { say } from "./words.js";
import { title } from "./talks.js";

const list = document.querySelector("#talks");

/** Show the conversations; `does` has what is done with one: open, download, remove. */
export function show(talks, current, does) {
  list.replaceChildren(...talks.map((talk) => row(talk, talk === current, does)));
}

function row(talk, isCurrent, { open, download, remove }) {
  const called = title(talk) || say("untitled");
  const opens = element("button", { type: "button", class: "quiet talk", dir: "auto", title: called }, called);
  if (isCurrent) opens.setAttribute("aria-current", "true");
  opens.addEventListener("click", () => open(talk));
  const act = (name, sign, does) =>
    element("button", { type: "button", class: "quiet act", name, click: () => does(talk) }, sign);
  return element("li", {}, opens, act("export", "↓", download), act("delete", "✕", remove));
}
