// What the page says, in the language that was chosen, or else the browser's. An element keeps the key of its word, so
// that a change of language finds it.

import { keep, recall } from "./kept.js";
import en from "./words/en.js";
import zh from "./words/zh.js";

const LANGUAGES = { en, zh };
const KEPT = "viva.language";

export let language = recall(KEPT, navigator.language.startsWith("zh") ? "zh" : "en");

/** The sentence of a key, with `{name}` replaced by values. */
export function say(key, values = {}) {
  return LANGUAGES[language][key].replace(/\{(\w+)\}/g, (_, field) => values[field]);
}

/** Let an element say a word, now and after a change of language. */
export function speak(node, key, values = {}) {
  node.dataset.word = key;
  node.dataset.values = JSON.stringify(values);
  node.textContent = say(key, values);
}

/** Call an element by a word, for those who hear the page and for those who point at it. */
export function name(node, key) {
  node.dataset.name = key;
  node.setAttribute("aria-label", say(key));
  node.title = say(key);
}

/** Say everything below a node in the present language. */
export function translate(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : language;
  for (const node of root.querySelectorAll("[data-word]")) {
    speak(node, node.dataset.word, JSON.parse(node.dataset.values ?? "{}"));
  }
  for (const node of root.querySelectorAll("[data-name]")) name(node, node.dataset.name);
  for (const node of root.querySelectorAll("[data-hint]")) node.placeholder = say(node.dataset.hint);
}

/** Change to the other language, and remember it. */
export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  keep(KEPT, language);
  translate();
}
