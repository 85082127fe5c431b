// Elements, made one by one. Text goes in as text: nothing on this page ever reads HTML.

import { name, speak } from "./words.js";

/** An element. `word` and `name` are keys of words.js: what it says, and what it is called; functions are listeners. */
export function element(tag, properties = {}, ...children) {
  const { word, name: called, ...rest } = properties;
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(rest)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  if (word) speak(made, word);
  if (called) name(made, called);
  return made;
}

/** A button that says a word. */
export function button(word, click) {
  return element("button", { type: "button", class: "quiet", word, click });
}
